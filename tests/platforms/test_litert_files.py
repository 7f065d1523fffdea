from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.platforms.litert_files import LiteRtFiles, read_model
from hotserve.platforms.wire_format import MemoryBytes, WireError
from hotserve.tensors import DType
from support.litert_models import FileSignature, Graph, Tensor, adder, litert_model, picker, write_model

FILES = LiteRtFiles()
TWO_GRAPHS = litert_model(
    [adder(2.0), picker()],
    [
        FileSignature("add", 0, {"x": 0}, {"y": 2}),
        FileSignature("pick", 1, {"words": 0, "places": 1}, {"picked": 2}),
    ],
)


def test_a_model_is_read_as_far_as_its_inputs_outputs_and_signatures() -> None:
    model = read_model(MemoryBytes(TWO_GRAPHS))
    first, second = model.subgraphs
    assert [(t.name, t.dtype, t.shape) for t in first.inputs] == [("x:0", DType.FLOAT, (None, 32))]
    assert [(t.index, t.name, t.dtype, t.shape) for t in second.outputs] == [(2, "picked", DType.STRING, (None,))]
    assert first.operators == {0}
    assert [(s.name, s.subgraph, s.inputs) for s in model.signatures] == [
        ("add", 0, {"x": 0}),
        ("pick", 1, {"words": 0, "places": 1}),
    ]
    assert model.signature_metadata == b""


def test_a_scalar_has_no_sizes_and_an_unknown_rank_no_shape() -> None:
    graph = Graph([Tensor("s", ()), Tensor("u", None)], [0, 1], [0, 1], [])
    model = read_model(MemoryBytes(litert_model([graph])))
    assert [tensor.shape for tensor in model.subgraphs[0].inputs] == [(), None]


def test_a_file_that_ends_early_is_not_whole_wherever_it_ends(tmp_path: Path) -> None:
    for size in range(len(TWO_GRAPHS.rstrip(b"\0"))):
        with pytest.raises(WireError):
            read_model(MemoryBytes(TWO_GRAPHS[:size]))
    write_model(tmp_path, TWO_GRAPHS[:100])
    assert (FILES.missing_parts(tmp_path) or "").startswith("model.tflite is not whole: ")
    write_model(tmp_path, TWO_GRAPHS)
    assert FILES.missing_parts(tmp_path) is None


def test_weights_that_are_not_all_there_are_noticed() -> None:
    weights = Tensor("w", (256, 32), value=np.ones((256, 32), np.float32))
    graph = adder(1.0)
    content = litert_model([Graph([*graph.tensors, weights], [0], [2], graph.operators)])
    assert len(content) > weights.value.nbytes  # type: ignore[union-attr]
    for size in range(0, len(content.rstrip(b"\0")), 97):
        with pytest.raises(WireError):
            read_model(MemoryBytes(content[:size]))


def test_a_file_of_zeros_or_of_another_kind_is_not_whole(tmp_path: Path) -> None:
    for content in (b"", bytes(4096), b"\x89PNG\r\n\x1a\n" * 10):
        write_model(tmp_path, content)
        assert (FILES.missing_parts(tmp_path) or "").startswith("model.tflite is not whole: ")


def test_a_file_that_is_not_there_or_not_readable_is_told(tmp_path: Path) -> None:
    assert FILES.missing_parts(tmp_path) == "model.tflite is not there yet"
    (tmp_path / "model.tflite").mkdir()
    assert FILES.missing_parts(tmp_path) == "model.tflite cannot be read: Is a directory"


def test_numbers_of_parts_that_there_are_not_are_refused() -> None:
    for graph in (
        Graph([Tensor("x", ())], [1], [0], []),
        Graph([Tensor("x", ())], [0], [-2], []),
        Graph([Tensor("x", ())], [0], [0], [(0, [0, 7], [0])]),
    ):
        with pytest.raises(WireError, match=r"it names tensor -?\d+, and has 1 of them"):
            read_model(MemoryBytes(litert_model([graph])))
    with pytest.raises(WireError, match="there is no subgraph in it"):
        read_model(MemoryBytes(litert_model([])))


@given(st.data())
def test_no_damage_raises_anything_else(data: st.DataObject) -> None:
    damaged = bytearray(TWO_GRAPHS)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WireError):
        read_model(MemoryBytes(bytes(damaged)))
