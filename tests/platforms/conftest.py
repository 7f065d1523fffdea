from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

DTYPES = (
    *("float32", "float64", "half", "bfloat16", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128", "string"),
)


@pytest.fixture(scope="session")
def tf() -> Any:
    """TensorFlow, for making models; a fixture, since its import takes seconds that most tests need not wait for."""
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def many_signatures(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TensorFlow 2 export with a signature for each question."""
    folder = tmp_path_factory.mktemp("many") / "1"
    spec = tf.TensorSpec

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
            self.count = tf.Variable(0.0)
            self.memory = tf.Variable([b""], shape=[None], dtype=tf.string)

        @tf.function(input_signature=[spec([None, 3], tf.float32, name="x")])
        def multiply(self, x: Any) -> Any:
            return {"y": x @ self.weights}

        @tf.function(jit_compile=True, input_signature=[spec([None, 3], tf.float32, name="x")])
        def compiled(self, x: Any) -> Any:
            return {"y": x @ self.weights}

        @tf.function(input_signature=[spec([], tf.float32, name="delta")])
        def add_to_count(self, delta: Any) -> Any:
            return {"count": self.count.assign_add(delta)}

        @tf.function(input_signature=[])
        def get_count(self) -> Any:
            return {"count": self.count.read_value()}

        @tf.function(input_signature=[spec([None], tf.string, name="text")])
        def remember(self, text: Any) -> Any:
            return {"was": self.memory.assign(text)}

        @tf.function(input_signature=[])
        def recall(self) -> Any:
            return {"text": self.memory.read_value()}

        @tf.function(input_signature=[spec([None], tf.float32, name="x")])
        def positive(self, x: Any) -> Any:
            tf.debugging.assert_positive(x, message="x must be positive")
            return {"x": x + 0.0}

        @tf.function(input_signature=[spec([None], tf.float32, name="x")])
        def seven_outputs(self, x: Any) -> Any:
            return {f"y{n}": x + float(n) for n in range(7)}

        @tf.function(input_signature=[spec([None], tf.float32, name="x")])
        def twice_the_same(self, x: Any) -> Any:
            y = x * 2.0
            return {"a": y, "b": y}

    model = Model()
    signatures = {
        "serving_default": model.multiply,
        "compiled": model.compiled,
        "add_to_count": model.add_to_count,
        "get_count": model.get_count,
        "remember": model.remember,
        "recall": model.recall,
        "positive": model.positive,
        "seven_outputs": model.seven_outputs,
        "twice_the_same": model.twice_the_same,
    }
    for name in DTYPES:
        dtype = tf.as_dtype(name)
        model.__dict__[name] = signatures[name] = tf.function(
            lambda x: {"y": tf.identity(x)}, input_signature=[spec(None, dtype, name="x")]
        )
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="session")
def with_assets(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TensorFlow 2 export that looks words up in a file of its own."""
    base = tmp_path_factory.mktemp("assets")
    words = base / "words.txt"
    words.write_text("null\neins\nzwei\n")
    table = tf.lookup.TextFileInitializer(
        str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = tf.lookup.StaticHashTable(table, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
        def __call__(self, word: Any) -> Any:
            return {"number": self.table.lookup(word)}

    model = Model()
    tf.saved_model.save(model, str(base / "1"), signatures=model.__call__)
    return base / "1"


@pytest.fixture(scope="session")
def large_saved_model(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with 16 MB of weights in 16 layers."""
    folder = tmp_path_factory.mktemp("large") / "1"

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [tf.Variable(tf.random.normal([512, 512])) for _ in range(16)]

        @tf.function(input_signature=[tf.TensorSpec([None, 512], tf.float32, name="x")])
        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                x = tf.nn.relu(x @ layer)
            return {"y": x}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures=model.__call__)
    return folder


@pytest.fixture(scope="session")
def large_onnx_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in ONNX."""
    folder = tmp_path_factory.mktemp("large") / "1"
    folder.mkdir()
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(size=(512, 512)).astype(np.float32), f"w{layer}") for layer in range(16)
    ]
    nodes = [helper.make_node("MatMul", [f"x{n}" if n else "x", f"w{n}"], [f"x{n + 1}"]) for n in range(16)]
    nodes.append(helper.make_node("Relu", ["x16"], ["y"]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 512]) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "large", [x], [y], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, str(folder / "model.onnx"))
    return folder


@pytest.fixture(scope="session")
def graph_model(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a TensorFlow 1 export; `build` makes the graph and returns its signatures' inputs and outputs."""
    v1 = tf.compat.v1

    def make(
        build: Callable[[Any], dict[str, tuple[dict[str, Any], dict[str, Any]]]],
        tags: Sequence[str] = ("serve",),
        as_text: bool = False,
    ) -> Path:
        folder = tmp_path_factory.mktemp("graph") / "1"

        def info(tensor: Any) -> Any:
            if isinstance(tensor, tf.Tensor | tf.SparseTensor):
                return v1.saved_model.build_tensor_info(tensor)
            return tensor

        with tf.Graph().as_default(), v1.Session() as session:
            signatures = {
                name: v1.saved_model.build_signature_def(
                    {alias: info(tensor) for alias, tensor in inputs.items()},
                    {alias: info(tensor) for alias, tensor in outputs.items()},
                    "tensorflow/serving/predict",
                )
                for name, (inputs, outputs) in build(v1).items()
            }
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(folder))
            builder.add_meta_graph_and_variables(session, list(tags), signature_def_map=signatures)
            builder.save(as_text)
        return folder

    return make


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with an ONNX model of the nodes, inputs, outputs and initializers given."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        initializers: Sequence[onnx.TensorProto] = (),
        name: str = "model.onnx",
        ir_version: int = 9,
    ) -> Path:
        graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
        opsets = [helper.make_opsetid("", 19), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        folder = tmp_path / "onnx" / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(model.SerializeToString())
        return folder

    return make


@pytest.fixture
def multiply_onnx(onnx_folder: Callable[..., Path]) -> Path:
    """An ONNX model of one matrix: `x`: float [n,3] to `y`: float [n,2]."""
    weights = numpy_helper.from_array(MATRIX, "weights")
    return onnx_folder([helper.make_node("MatMul", ["x", "weights"], ["y"])], [X_3], [Y_2], [weights])


MATRIX = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
X_3 = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
Y_2 = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
