"""Models for the benches, made on the fly: small ones, so that what is measured is the server around them.

Two larger ones, whose runs take milliseconds, are in `large_models.py`, SavedModels in `saved_models.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from large_inputs import PICTURE_SHAPE
from onnx import TensorProto, helper, numpy_helper

SLOW_WIDTH = 256

MATRIX_WIDTH = 1024


def half_plus_two(base_path: Path) -> None:
    """Writes version 1 of the tutorial's model: `x`: float [?] to `y`, x / 2 + 2."""
    nodes = [helper.make_node("Mul", ["x", "half"], ["halves"]), helper.make_node("Add", ["halves", "two"], ["y"])]
    save(base_path, nodes, {"half": np.float32(0.5), "two": np.float32(2)}, {"x": [None]}, {"y": [None]})


def picture(base_path: Path) -> None:
    """Writes version 1 of a model that looks at one pixel: `image`: float [?, 224, 224, 3] to `pixel`: float [?, 3]."""
    nodes = [helper.make_node("Gather", ["image", "column"], ["line"], axis=2)]
    nodes.append(helper.make_node("Gather", ["line", "row"], ["pixel"], axis=1))
    constants = {"column": np.int64(0), "row": np.int64(0)}
    save(base_path, nodes, constants, {"image": [None, *PICTURE_SHAPE]}, {"pixel": [None, PICTURE_SHAPE[2]]})


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
    save(base_path, nodes, constants, {"x": [1]}, {"y": [1]})


def matrices(base_path: Path, size: int) -> None:
    """Writes version 1 of a model that is large and calculates with all of it: `x`: float [?, 1024] to `y`, the same.

    Args:
        base_path: Where.
        size: How many bytes its matrices of 1024 x 1024 have, about.
    """
    count = max(1, size // (4 * MATRIX_WIDTH**2))
    nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", f"matrix{i}"], [f"x{i + 1}"]) for i in range(count)]
    nodes.append(helper.make_node("Identity", [f"x{count}"], ["y"]))
    constants = {f"matrix{i}": random_rows(MATRIX_WIDTH) for i in range(count)}
    save(base_path, nodes, constants, {"x": [None, MATRIX_WIDTH]}, {"y": [None, MATRIX_WIDTH]})


def table(base_path: Path, size: int) -> None:
    """Writes version 1 of a model that is large and reads little of it: `x`: float [?] to `y`, float [?, 1024].

    Args:
        base_path: Where.
        size: How many bytes its table has, about; `x` are numbers of its rows.
    """
    nodes = [helper.make_node("Cast", ["x"], ["rows"], to=TensorProto.INT64)]
    nodes.append(helper.make_node("Gather", ["rows_of", "rows"], ["y"]))
    constants = {"rows_of": random_rows(max(1, size // (4 * MATRIX_WIDTH)))}
    save(base_path, nodes, constants, {"x": [None]}, {"y": [None, MATRIX_WIDTH]})


def random_rows(rows: int) -> np.ndarray:
    """`rows` x 1024 numbers whose products neither grow nor vanish."""
    deviation = np.float32(MATRIX_WIDTH**-0.5)
    return np.random.default_rng(rows).standard_normal((rows, MATRIX_WIDTH), np.float32) * deviation


Shape = Sequence[int | None]
"""None for a dimension that is not known."""


def save(
    base_path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray | np.generic],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    input_type: int = TensorProto.FLOAT,
) -> None:
    """Writes version 1 of a model.

    Args:
        base_path: Where.
        nodes: What it calculates, in order.
        constants: Its weights, by the names that the nodes have for them.
        inputs: Name -> shape; all of them of `input_type`.
        outputs: Name -> shape; floats.
        input_type: Type of the elements, as ONNX numbers them.
    """
    graph = helper.make_graph(
        nodes,
        base_path.name,
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    folder = base_path / "1"
    folder.mkdir(parents=True)
    # Old enough for every ONNX Runtime that hotserve takes.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
