from __future__ import annotations

from hotserve.platforms.engines.graph_digest import digest_of
from hotserve.protos.messages import GraphDef, NodeDef
from hotserve.tensors import DType


def graph(prefix: str = "", factor: float = 2.0, source: str = "in_0") -> GraphDef:
    """`in_0` or `in_1` times a constant."""
    made = GraphDef()
    for name in ("in_0", "in_1"):
        made.node.add(name=name, op="Placeholder").attr["dtype"].type = DType.FLOAT
    made.node.add(name=f"{prefix}factor", op="Const").attr["value"].tensor.float_val.append(factor)
    made.node.add(name=f"{prefix}product", op="Mul", input=[source, f"{prefix}factor"])
    made.node.add(name="out_0", op="Identity", input=[f"{prefix}product:0"])
    return made


def digest(made: GraphDef) -> str:
    return digest_of(made, ["out_0"])


def test_names_and_remarks_and_what_nobody_reads_make_no_difference() -> None:
    other = graph("called/again/")
    other.node[0].attr["_class"].s = b"loc:@called"
    other.node.add(name="left_over", op="Identity", input=["in_1"])
    assert digest(other) == digest(graph())
    assert digest(graph())


def test_what_is_computed_makes_one() -> None:
    digests = {digest(graph()), digest(graph(factor=3.0)), digest(graph(source="in_1"))}
    other = graph()
    other.node[3].op = "Add"
    swapped = graph()
    swapped.node[3].input.reverse()
    control = graph()
    control.node[3].input.append("^in_1")
    with_function = graph()
    with_function.library.function.add().signature.name = "f"
    assert len(digests | {digest(made) for made in (other, swapped, control, with_function)}) == 7


def test_of_a_graph_that_goes_round_or_is_not_whole_nothing_is_said() -> None:
    round_about = graph()
    round_about.node[2].input.append("out_0")
    assert digest(round_about) == ""
    missing = graph()
    missing.node.append(NodeDef(name="more", op="Neg", input=["nowhere"]))
    assert digest(missing) == ""
