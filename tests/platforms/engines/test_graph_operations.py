from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.errors import InvalidArgument
from hotserve.platforms.engines.graph_operations import operations_of, read_graph, read_signature_defs
from hotserve.platforms.tensorflow import TensorFlowLoader
from hotserve.protos.messages import GraphDef, NodeDef, SignatureDef, TensorInfo


def test_signatures_are_those_that_tensorflow_reads(many_signatures: Path) -> None:
    servable = TensorFlowLoader().load(many_signatures)
    try:
        declared = {name: signature.declared for name, signature in servable.signatures.items()}
    finally:
        servable.unload()
    found = read_signature_defs(many_signatures, ["serve"])
    assert {name: SignatureDef.FromString(found[name]) for name in declared if declared[name]} == {
        name: SignatureDef.FromString(serialized) for name, serialized in declared.items() if serialized
    }
    assert declared.keys() <= found.keys()


def test_operations_are_found_in_functions_and_only_those_that_are_reached(many_signatures: Path) -> None:
    graph = read_graph(many_signatures, ["serve"])
    definitions = read_signature_defs(many_signatures, ["serve"])

    def reached(name: str) -> frozenset[str]:
        return operations_of(SignatureDef.FromString(definitions[name]), graph)

    assert {"MatMul", "ReadVariableOp"} <= reached("serving_default")
    assert "AssignAddVariableOp" in reached("add_to_count")
    assert "AssignAddVariableOp" not in reached("serving_default")


def test_a_walk_ends_where_the_graph_is_fed() -> None:
    graph = GraphDef(
        node=[
            NodeDef(name="parse", op="ParseExample"),
            NodeDef(name="x", op="Identity", input=["parse:1"]),
            NodeDef(name="y", op="Neg", input=["x", "^after"]),
            NodeDef(name="after", op="NoOp"),
        ]
    )
    signature = SignatureDef(inputs={"x": TensorInfo(name="x:0")}, outputs={"y": TensorInfo(name="y:0")})
    assert operations_of(signature, graph) == {"Identity", "Neg", "NoOp"}


def test_functions_that_call_each_other_are_walked_once() -> None:
    graph = GraphDef()
    graph.node.add(name="y", op="PartitionedCall").attr["f"].func.name = "f"
    for name, other in (("f", "g"), ("g", "f")):
        function = graph.library.function.add()
        function.signature.name = name
        function.node_def.add(name="call", op=other)
        branch = function.node_def.add(name="branch", op="Case").attr["branches"].list
        branch.func.add(name=other)
    assert operations_of(SignatureDef(outputs={"y": TensorInfo(name="y:0")}), graph) == {"PartitionedCall", "Case"}


def test_what_cannot_be_read_is_refused(many_signatures: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="Could not find meta graph def matching supplied tags"):
        read_signature_defs(many_signatures, ["gpu"])
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_graph(tmp_path, ["serve"])
