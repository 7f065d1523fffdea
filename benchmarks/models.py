"""Models for the benches, made on the fly: small ones, so that what is measured is the server around them.

    python models.py saved_model FOLDER
    python models.py matrices FOLDER COUNT

writes half_plus_two, or the one with matrices, as a SavedModel; a program of its own, because importing TensorFlow
takes seconds and half a gigabyte.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PICTURE_SHAPE = (224, 224, 3)

SLOW_WIDTH = 256

MATRIX_WIDTH = 1024


def half_plus_two(base_path: Path) -> None:
    """Writes version 1 of the tutorial's model: `x`: float [?] to `y`, x / 2 + 2."""
    nodes = [helper.make_node("Mul", ["x", "half"], ["halves"]), helper.make_node("Add", ["halves", "two"], ["y"])]
    _save(base_path, nodes, {"half": np.float32(0.5), "two": np.float32(2)}, "x", [None], "y", [None])


def half_plus_two_saved_model(base_path: Path) -> None:
    """Writes version 1 of the same as a SavedModel, in a process of its own.

    Raises:
        subprocess.CalledProcessError: TensorFlow is not there, or fails.
    """
    words = [sys.executable, __file__, "saved_model", str(base_path / "1")]
    subprocess.run(words, check=True, capture_output=True)


def picture(base_path: Path) -> None:
    """Writes version 1 of a model that looks at one pixel: `image`: float [?, 224, 224, 3] to `pixel`: float [?, 3]."""
    nodes = [helper.make_node("Gather", ["image", "column"], ["line"], axis=2)]
    nodes.append(helper.make_node("Gather", ["line", "row"], ["pixel"], axis=1))
    constants = {"column": np.int64(0), "row": np.int64(0)}
    _save(base_path, nodes, constants, "image", [None, *PICTURE_SHAPE], "pixel", [None, PICTURE_SHAPE[2]])


def slow(base_path: Path, layers: int) -> None:
    """Writes version 1 of a model that takes long for its small input: `x`: float [1] to `y`: float [1], the same.

    Its input has no dimension to join requests on, so that what it can do in a second is the same under any load.

    Args:
        base_path: Where.
        layers: How many products of two matrices of 256 x 256 it calculates.
    """
    nodes = [helper.make_node("Mul", ["ones", "x"], ["product0"])]
    for layer in range(layers):
        nodes.append(helper.make_node("MatMul", [f"product{layer}", "identity"], [f"product{layer + 1}"]))
    nodes.append(helper.make_node("ReduceMax", [f"product{layers}", "axes"], ["corner"], keepdims=0))
    nodes.append(helper.make_node("Reshape", ["corner", "one"], ["y"]))
    constants = {
        "ones": np.ones((SLOW_WIDTH, SLOW_WIDTH), np.float32),
        "identity": np.eye(SLOW_WIDTH, dtype=np.float32),
        "axes": np.array([0, 1], np.int64),
        "one": np.array([1], np.int64),
    }
    _save(base_path, nodes, constants, "x", [1], "y", [1])


def matrices(base_path: Path, size: int) -> None:
    """Writes version 1 of a model that is large and calculates with all of it: `x`: float [?, 1024] to `y`, the same.

    Args:
        base_path: Where.
        size: How many bytes its matrices of 1024 x 1024 have, about.
    """
    count = max(1, size // (4 * MATRIX_WIDTH**2))
    nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", f"matrix{i}"], [f"x{i + 1}"]) for i in range(count)]
    nodes.append(helper.make_node("Identity", [f"x{count}"], ["y"]))
    constants = {f"matrix{i}": _random(MATRIX_WIDTH) for i in range(count)}
    _save(base_path, nodes, constants, "x", [None, MATRIX_WIDTH], "y", [None, MATRIX_WIDTH])


def table(base_path: Path, size: int) -> None:
    """Writes version 1 of a model that is large and reads little of it: `x`: float [?] to `y`, float [?, 1024].

    Args:
        base_path: Where.
        size: How many bytes its table has, about; `x` are numbers of its rows.
    """
    nodes = [helper.make_node("Cast", ["x"], ["rows"], to=TensorProto.INT64)]
    nodes.append(helper.make_node("Gather", ["rows_of", "rows"], ["y"]))
    constants = {"rows_of": _random(max(1, size // (4 * MATRIX_WIDTH)))}
    _save(base_path, nodes, constants, "x", [None], "y", [None, MATRIX_WIDTH])


def matrices_saved_model(base_path: Path, size: int) -> None:
    """Writes the same as `matrices` as a SavedModel, with variables, in a process of its own.

    Raises:
        subprocess.CalledProcessError: TensorFlow is not there, or fails.
    """
    words = [sys.executable, __file__, "matrices", str(base_path / "1"), str(max(1, size // (4 * MATRIX_WIDTH**2)))]
    subprocess.run(words, check=True, capture_output=True)


def _random(rows: int) -> np.ndarray:
    """`rows` x 1024 numbers whose products neither grow nor vanish."""
    deviation = np.float32(MATRIX_WIDTH**-0.5)
    return np.random.default_rng(rows).standard_normal((rows, MATRIX_WIDTH), np.float32) * deviation


def _save(
    base_path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray | np.generic],
    input_name: str,
    input_shape: Sequence[int | None],
    output_name: str,
    output_shape: Sequence[int | None],
) -> None:
    graph = helper.make_graph(
        nodes,
        base_path.name,
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    folder = base_path / "1"
    folder.mkdir(parents=True)
    # Old enough for every ONNX Runtime that hotserve takes.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))


def _write_saved_model(folder: str) -> None:
    import tensorflow as tf

    class HalfPlusTwo(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.half = tf.Variable(0.5)
            self.two = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": x * self.half + self.two}

    module = HalfPlusTwo()
    tf.saved_model.save(module, folder, signatures=module.__call__)


def _write_matrices(folder: str, count: int) -> None:
    import tensorflow as tf

    class Matrices(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrices = [tf.Variable(_random(MATRIX_WIDTH)) for _ in range(count)]

        @tf.function(input_signature=[tf.TensorSpec([None, MATRIX_WIDTH], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            for matrix in self.matrices:
                x = x @ matrix
            return {"y": x}

    module = Matrices()
    tf.saved_model.save(module, folder, signatures=module.__call__)


if __name__ == "__main__":
    if sys.argv[1] == "matrices":
        _write_matrices(sys.argv[2], int(sys.argv[3]))
    else:
        _write_saved_model(sys.argv[2])
