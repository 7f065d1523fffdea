from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hotserve.platforms.engines.converted import DECLARED_ONLY, ConvertedSignature, read_conversion

pytest.importorskip("tf2onnx")


def convert(source: Path, target: Path, names: Sequence[str], *more: str) -> Mapping[str, ConvertedSignature]:
    words = [str(source), str(target), json.dumps(["serve"]), json.dumps(list(names)), *more]
    command = [sys.executable, "-m", "hotserve.platforms.engines.conversion", *words]
    subprocess.run(command, check=True, capture_output=True)
    return read_conversion(target)


@pytest.fixture(scope="module")
def converted(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, ConvertedSignature]]:
    """The folder of files, and the list of them."""
    folder = tmp_path_factory.mktemp("converted")
    source, target = folder / "1", folder / "target"
    target.mkdir()
    column = tf.TensorSpec([2, 1], tf.float32, name="x")

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large = tf.Variable(tf.zeros([3 << 20, 1]))
            self.weights = tf.Variable(tf.ones([1, 3]))

        @tf.function(input_signature=[column])
        def double(self, x: Any) -> Any:
            return {"y": x + x}

        @tf.function(input_signature=[column])
        def product(self, x: Any) -> Any:
            return {"y": x @ self.weights}

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.int32, name="ids")])
        def look_up(self, ids: Any) -> Any:
            return {"y": tf.gather(self.large, ids)}

        @tf.function(input_signature=[tf.TensorSpec([2, 4, 4, 1], tf.float32, name="x")])
        def pool(self, x: Any) -> Any:
            return {"y": tf.nn.max_pool2d(x, 2, 2, "VALID")}

    model = Model()
    signatures = {"double": model.double, "product": model.product, "look_up": model.look_up, "again": model.double}
    tf.saved_model.save(model, str(source), signatures={**signatures, "pool": model.pool})
    return target, convert(source, target, list(signatures))


Converted = tuple[Path, Mapping[str, ConvertedSignature]]


def other_shapes(converted: Converted, name: str) -> list[Any]:
    return [shapes for other in converted[1][name].alternatives for shapes in other.shapes.values()]


def test_only_the_signatures_that_were_asked_for_are_converted(converted: Converted) -> None:
    assert sorted(converted[1]) == ["again", "double", "look_up", "product"]


def test_each_has_its_files_and_so_has_each_other_shape(converted: Converted) -> None:
    folder, signatures = converted
    for signature in signatures.values():
        for one in (signature, *signature.alternatives):
            assert not one.refusals
            assert (folder / f"{one.number}.pb").exists()
            assert (folder / f"{one.number}.onnx").exists()


def test_what_computes_the_same_has_the_same_files(converted: Converted) -> None:
    numbers = {name: signature.number for name, signature in converted[1].items()}
    assert numbers["again"] == numbers["double"]
    assert len(set(numbers.values())) == 3


def test_the_other_shapes_are_those_that_tensorflow_takes_where_other_ranks_are_no_danger(converted: Converted) -> None:
    # The graph has a pooling, for which an input of another rank may end the process.
    assert other_shapes(converted, "double") == [(None, 1)]
    assert other_shapes(converted, "product") == [(None, 1)]


def test_a_large_signature_has_none(converted: Converted) -> None:
    assert (converted[0] / f"{converted[1]['look_up'].number}.pb").stat().st_size > 8 << 20
    assert other_shapes(converted, "look_up") == []


def test_where_only_what_is_declared_is_asked_for_there_are_no_other_shapes(
    converted: Converted, tmp_path: Path
) -> None:
    found = convert(converted[0].parent / "1", tmp_path, ["double"], DECLARED_ONLY)
    assert found["double"].alternatives == []
    assert (tmp_path / "0.onnx").exists()
