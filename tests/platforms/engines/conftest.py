from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hotserve.platforms.engines.examination import Job, examine_apart
from hotserve.platforms.engines.findings import Examination

ENGINES = ("onnxruntime", "openvino")


@pytest.fixture(scope="session")
def ordinary_model(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with one signature for each way that an examination can end."""
    folder = tmp_path_factory.mktemp("ordinary") / "1"
    spec = tf.TensorSpec

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.random.stateless_normal([64, 4], (1, 2)))
            self.table = tf.Variable(tf.random.stateless_normal([50, 3], (3, 4)))

        @tf.function(input_signature=[spec([None, 64], tf.float32, name="x")])
        def dense(self, x: Any) -> Any:
            y = tf.nn.softmax(tf.nn.relu(x @ self.weights))
            return {"y": y, "best": tf.argmax(y, axis=1)}

        @tf.function(input_signature=[spec([None, 2], tf.int64, name="ids")])
        def look_up(self, ids: Any) -> Any:
            return {"rows": tf.reduce_sum(tf.gather(self.table, ids), axis=1)}

        @tf.function(input_signature=[spec([None, 64], tf.float32, name="x")])
        def gelu(self, x: Any) -> Any:
            y = x @ self.weights
            return {"y": 0.5 * y * tf.math.erfc(-y / 2.0**0.5)}

        @tf.function(input_signature=[spec([None, 1], tf.float32, name="x")])
        def halve(self, x: Any) -> Any:
            return {"y": x * 0.5 + 2.0}

        @tf.function(input_signature=[spec([None], tf.float32, name="x")])
        def guess(self, x: Any) -> Any:
            return {"y": x + tf.random.uniform([])}

        @tf.function(input_signature=[spec([None], tf.float32, name="x")])
        def check(self, x: Any) -> Any:
            tf.debugging.assert_positive(x)
            return {"y": x + 1.0}

        @tf.function(input_signature=[spec([None], tf.string, name="text")])
        def text(self, text: Any) -> Any:
            return {"length": tf.strings.length(text)}

        @tf.function(input_signature=[spec([None, 64], tf.float32, name="x"), spec([], tf.float32, name="unused")])
        def unused(self, x: Any, unused: Any) -> Any:
            return {"y": x @ self.weights}

    model = Model()
    signatures = {
        "serving_default": model.dense,
        "serve": model.dense,
        "look_up": model.look_up,
        "halve": model.halve,
        "gelu": model.gelu,
        "guess": model.guess,
        "check": model.check,
        "text": model.text,
        "unused": model.unused,
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="session")
def examined(ordinary_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Examination]:
    """The folder with the files of the engines, and what was found out."""
    pytest.importorskip("tf2onnx")
    pytest.importorskip("openvino")
    target = tmp_path_factory.mktemp("examined")
    return target, examine_apart(Job(ordinary_model, target, ("serve",), ENGINES), 300, lambda _: None)
