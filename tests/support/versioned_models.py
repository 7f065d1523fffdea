"""Models whose answer tells which version gave it: every element of `y` is `x` plus the version's number."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 32


def onnx_version(folder: Path, version: int, ballast_bytes: int = 0) -> None:
    """Writes `folder/model.onnx`: `x`: float [?,32] to `y`, with a weight that only takes room."""
    add = numpy_helper.from_array(np.float32([version]), "version")
    initializers = [add]
    if ballast_bytes:
        ballast = np.random.default_rng(version).random(ballast_bytes // 4, dtype=np.float32)
        initializers.append(numpy_helper.from_array(ballast, "ballast"))
    nodes = [helper.make_node("Add", ["x", "version"], ["sum" if ballast_bytes else "y"])]
    if ballast_bytes:
        # Reads the ballast, so that it is not folded away, and adds nothing of it.
        nodes += [
            helper.make_node("ReduceMax", ["ballast"], ["largest"], keepdims=0),
            helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
            helper.make_node("Add", ["sum", "nothing"], ["y"]),
        ]
        initializers.append(numpy_helper.from_array(np.float32(0), "zero"))
    graph = helper.make_graph(
        nodes,
        "versioned",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, WIDTH])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True)
    onnx.save(model, str(folder / "model.onnx"))


def saved_model_version(folder: Path, version: int, ballast_bytes: int = 0) -> None:
    """Writes a SavedModel with the same input, output and answer."""
    import tensorflow as tf  # slow to import, and only some tests need it

    class Versioned(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.version = tf.Variable(float(version))
            self.ballast = tf.Variable(tf.random.stateless_uniform([ballast_bytes // 4 + 1], [version, 0]))

        @tf.function(input_signature=[tf.TensorSpec([None, WIDTH], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": x + self.version + 0.0 * self.ballast[0]}

    module = Versioned()
    tf.saved_model.save(module, str(folder), signatures=module.__call__)


def publish(prepared: Path, base_path: Path, version: int) -> None:
    """Copies a prepared version folder to where a server finds it, as a careless user would: straight to its name."""
    shutil.copytree(prepared, base_path / str(version))


def resident_bytes(pid: int) -> int:
    """The resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmRSS for process {pid} (page size {os.sysconf('SC_PAGE_SIZE')})")
