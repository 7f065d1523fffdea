from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotserve.codecs.tensor_proto import encode_tensor
from hotserve.codecs.tfrecord import frame
from hotserve.core.servable import Servable
from hotserve.errors import FailedPrecondition
from hotserve.platforms.engines import loader as loader_module
from hotserve.platforms.engines.cache import EngineCache, Entry
from hotserve.platforms.engines.choice import Choice
from hotserve.platforms.engines.findings import Examination
from hotserve.platforms.engines.fingerprint import key_of
from hotserve.platforms.engines.installed import installed_versions
from hotserve.platforms.engines.loader import EngineRoom, SavedModelLoader
from hotserve.platforms.engines.observer import Unobserved
from hotserve.platforms.engines.recorded_inputs import WARMUP_FILE
from hotserve.platforms.engines.switching_servable import SwitchingServable
from hotserve.platforms.tensorflow import TensorFlowLoader
from hotserve.protos.messages import PredictionLog
from hotserve.tensors import Array, DType
from support.server_process import wait_until

Examined = tuple[Path, Examination]
X = {"x": np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[EngineRoom]:
    room = EngineRoom(EngineCache(tmp_path / "cache"), 300)
    yield room
    room.close()


@pytest.fixture
def version(ordinary_model: Path, tmp_path: Path) -> Path:
    """A copy of the model, for tests that change it."""
    return Path(shutil.copytree(ordinary_model, tmp_path / "model" / "1"))


def keep(room: EngineRoom, path: Path, examined: Examined) -> Path:
    """Puts what was found out into the cache; returns the entry's folder."""

    def copy(folder: Path) -> Examination:
        shutil.copytree(examined[0], folder, dirs_exist_ok=True)
        return examined[1]

    return room.cache.put(key_of(path, ["serve"], 0, room.cache.memory), copy).folder


def expected(path: Path, signature: str, inputs: Mapping[str, Array], output: str) -> Array:
    servable = TensorFlowLoader().load(path)
    try:
        return servable.run(signature, inputs, [output])[output]
    finally:
        servable.unload()


def engines_of(servable: Servable) -> Mapping[str, str]:
    assert isinstance(servable, SwitchingServable)
    return servable.engines


def test_what_is_kept_decides_what_serves(ordinary_model: Path, examined: Examined, room: EngineRoom) -> None:
    keep(room, ordinary_model, examined)
    servable = SavedModelLoader(engine="onnxruntime", room=room).load(ordinary_model)
    try:
        engines = engines_of(servable)
        assert engines["serving_default"] == engines["look_up"] == "onnxruntime"
        assert engines["guess"] == engines["check"] == engines["text"] == "tensorflow"
        y = servable.run("serving_default", X, ["y"])["y"]
        np.testing.assert_allclose(y, expected(ordinary_model, "serving_default", X, "y"), rtol=1e-5)
        assert servable.run("text", {"text": np.array([b"four"], object)}, ["length"])["length"].tolist() == [4]
    finally:
        servable.unload()


def test_inputs_of_other_shapes_that_were_examined_are_served_without_tensorflow(
    ordinary_model: Path, examined: Examined, room: EngineRoom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keep(room, ordinary_model, examined)
    heard = Heard()
    servable = SavedModelLoader(engine="onnxruntime", room=room, observer=heard).load(ordinary_model)
    try:
        for value in (4.0, [1.0, 2.0, 5.0], [[1.0], [2.0]], [[1.0, 2.0, 3.0]] * 2):
            x = np.array(value, np.float32)
            np.testing.assert_allclose(servable.run("halve", {"x": x}, ["y"])["y"], x / 2 + 2, rtol=1e-6)
        assert heard.fallen == []
        assert "[?], [?,?], [] likewise" in caplog.text
        assert isinstance(servable, SwitchingServable)
        alternatives: Any = servable.engine_report["halve"]["alternatives"]
        assert [(other["engine"], other["shapes"]) for other in alternatives] == [
            ("onnxruntime", {"x": [-1]}),
            ("onnxruntime", {"x": [-1, -1]}),
            ("onnxruntime", {"x": []}),
        ]
        cube = np.ones((1, 2, 3), np.float32)
        np.testing.assert_allclose(servable.run("halve", {"x": cube}, ["y"])["y"], cube / 2 + 2, rtol=1e-6)
        assert heard.fallen == [("halve", "outside")]
    finally:
        servable.unload()


def test_an_engine_that_is_asked_for_by_name_is_the_one(
    ordinary_model: Path, examined: Examined, room: EngineRoom
) -> None:
    keep(room, ordinary_model, examined)
    servable = SavedModelLoader(engine="openvino", room=room).load(ordinary_model)
    try:
        assert engines_of(servable)["serving_default"] == "openvino"
        y = servable.run("serving_default", X, ["y"])["y"]
        np.testing.assert_allclose(y, expected(ordinary_model, "serving_default", X, "y"), rtol=1e-5)
    finally:
        servable.unload()


def test_tensorflow_by_name_is_tensorflow_alone(ordinary_model: Path, examined: Examined, room: EngineRoom) -> None:
    keep(room, ordinary_model, examined)
    servable = SavedModelLoader(engine="tensorflow", room=room).load(ordinary_model)
    assert not isinstance(servable, SwitchingServable)
    servable.unload()


def test_an_index_beyond_the_table_has_the_error_of_tensorflow(
    ordinary_model: Path, examined: Examined, room: EngineRoom
) -> None:
    keep(room, ordinary_model, examined)
    servable = SavedModelLoader(engine="onnxruntime", room=room).load(ordinary_model)
    try:
        for ids in ([[0, 50]], [[-1, 0]]):
            with pytest.raises(Exception, match=r"is not in \[0, 50\)"):
                servable.run("look_up", {"ids": np.array(ids)}, ["rows"])
        assert servable.run("look_up", {"ids": np.array([[0, 49]])}, ["rows"])["rows"].shape == (1, 3)
    finally:
        servable.unload()


def test_an_entry_with_a_broken_file_is_dropped_and_tensorflow_serves(
    ordinary_model: Path,
    examined: Examined,
    room: EngineRoom,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = keep(room, ordinary_model, examined)
    for file in folder.glob("*.onnx"):
        file.write_bytes(file.read_bytes()[:100])
    monkeypatch.setattr(loader_module, "choose", only("onnxruntime"))
    servable = SavedModelLoader(engine="auto", room=room).load(ordinary_model)
    try:
        assert not folder.exists()
        assert "cannot be used, and is made again" in caplog.text
        assert set(engines_of(servable).values()) == {"tensorflow"}
        assert room.background.is_busy
    finally:
        servable.unload()


def only(engine: str) -> Any:
    def choose(examination: Examination, wanted: str, available: object) -> Mapping[str, Choice]:
        return {
            name: Choice(engine if engine in found.engines and not found.bound else "tensorflow", "said the test")
            for name, found in examination.signatures.items()
        }

    return choose


def test_an_engine_that_is_not_installed_is_named_with_the_command_that_installs_it(
    ordinary_model: Path, room: EngineRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "installed_versions", lambda: {"onnxruntime": "1"})
    with pytest.raises(FailedPrecondition, match=r"pip install 'hotserve\[openvino\]'"):
        SavedModelLoader(engine="openvino", room=room).load(ordinary_model)


class Heard(Unobserved):
    def __init__(self) -> None:
        self.results: list[str] = []
        self.choices: list[Mapping[str, Choice]] = []
        self.fallen: list[tuple[str, str]] = []

    def examined(self, path: Path, result: str, seconds: float) -> None:
        self.results.append(result)

    def chosen(self, path: Path, choices: Mapping[str, Choice], examination: Examination) -> None:
        self.choices.append(choices)

    def fell_back(self, path: Path, signature_name: str, reason: str) -> None:
        self.fallen.append((signature_name, reason))


@pytest.fixture(scope="module")
def small_model(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of one product, large enough for another engine to be worth it."""
    folder = tmp_path_factory.mktemp("small") / "1"

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.random.stateless_normal([16, 16], (1, 2)))

        @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
        def __call__(self, x: Any) -> Any:
            for _ in range(10):
                x = tf.nn.relu(x @ self.weights)
            return {"y": x}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures=model.__call__)
    return folder


def test_a_version_serves_with_tensorflow_at_once_and_switches_when_it_has_been_examined(
    small_model: Path, room: EngineRoom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard = Heard()
    loader = SavedModelLoader(engine="auto", room=room, observer=heard)
    servable = loader.load(small_model)
    x = {"x": np.ones((2, 16), np.float32)}
    try:
        assert engines_of(servable) == {"serving_default": "tensorflow", "__saved_model_init_op": "tensorflow"}
        before = servable.run("serving_default", x, ["y"])["y"]
        wait_until(lambda: heard.choices, 300, "the examination")
        assert heard.results == ["done"]
        wait_until(lambda: "session of" in caplog.text, 60, "the end of TensorFlow's session")
        assert engines_of(servable)["serving_default"] in ("onnxruntime", "openvino")
        np.testing.assert_allclose(servable.run("serving_default", x, ["y"])["y"], before, rtol=1e-5)
        # Larger numbers than any that has been tried: TensorFlow comes back for them.
        huge = {"x": np.full((1, 16), 1e30, np.float32)}
        answer = servable.run("serving_default", huge, ["y"])["y"]
        np.testing.assert_array_equal(answer, expected(small_model, "serving_default", huge, "y"))
        assert heard.fallen == [("serving_default", "outside")]
    finally:
        servable.unload()
    again = loader.load(small_model)
    try:
        assert heard.results == ["done", "found"]
        assert engines_of(again)["serving_default"] in ("onnxruntime", "openvino")
        assert "Loaded TensorFlow" not in caplog.text.partition("session of")[2]
    finally:
        again.unload()


def test_a_choice_of_a_busy_time_is_measured_once_more_at_the_next_load(
    ordinary_model: Path, examined: Examined, room: EngineRoom
) -> None:
    # Measured when every engine was held up, so that TensorFlow was chosen.
    folder, examination = examined
    signatures = {
        name: replace(
            found,
            spread=2.0,
            engines={
                engine: replace(finding, seconds=dict.fromkeys(finding.seconds, 10.0))
                for engine, finding in found.engines.items()
            },
        )
        for name, found in examination.signatures.items()
    }
    keep(room, ordinary_model, (folder, replace(examination, signatures=signatures)))
    heard = Heard()
    servable = SavedModelLoader(engine="auto", room=room, observer=heard).load(ordinary_model)
    try:
        assert set(engines_of(servable).values()) == {"tensorflow"}
        wait_until(lambda: engines_of(servable)["serving_default"] != "tensorflow", 300, "another choice")
        y = servable.run("serving_default", X, ["y"])["y"]
        np.testing.assert_allclose(y, expected(ordinary_model, "serving_default", X, "y"), rtol=1e-5)
        assert engines_of(servable)["serve"] == engines_of(servable)["serving_default"]
        assert heard.results == []  # nothing has been examined
    finally:
        servable.unload()
    key = key_of(ordinary_model, ["serve"], 0, room.cache.memory)
    entry = room.cache.find(key, {})
    assert entry is not None
    assert entry.examination.signatures["serving_default"].timings == 2


def test_a_version_that_goes_before_it_has_been_examined_ends_the_examination(
    small_model: Path, room: EngineRoom
) -> None:
    heard = Heard()
    servable = SavedModelLoader(engine="auto", room=room, observer=heard).load(small_model)
    wait_until(lambda: room.background.is_busy, 60, "the examination")
    servable.unload()
    wait_until(lambda: not room.background.is_busy, 60, "the end of the examination")
    assert heard.choices == []


def test_a_stop_during_an_examination_leaves_nothing_half_made(small_model: Path, room: EngineRoom) -> None:
    servable = SavedModelLoader(engine="auto", room=room).load(small_model)
    cache = room.cache.memory.parent
    wait_until(lambda: list(cache.glob(".*")), 60, "an entry is being made")
    room.close()
    assert list(cache.glob(".*")) == []
    servable.unload()


def test_a_cache_without_room_is_named_and_tensorflow_serves(
    small_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class FullCache(EngineCache):
        def put(self, key: str, make: Callable[[Path], Examination], beside: Path | None = None) -> Entry:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    room = EngineRoom(FullCache(tmp_path / "cache"))
    servable = SavedModelLoader(engine="onnxruntime", room=room).load(small_model)
    try:
        assert set(engines_of(servable).values()) == {"tensorflow"}
    finally:
        servable.unload()
        room.close()
    (warning,) = (record.getMessage() for record in caplog.records if "cannot be examined" in record.getMessage())
    assert warning == (
        f"Engines for {small_model} cannot be examined, and TensorFlow serves it: No space left on device in"
        f" {tmp_path / 'cache'} (--engine_cache_dir names another folder)"
    )


def test_what_is_kept_for_this_run_only_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    room = EngineRoom(EngineCache(tmp_path / "file" / "cache"))
    folder = room.writable_cache().put("k", lambda _: Examination()).folder
    assert folder.is_dir()
    room.close()
    assert not folder.parent.exists()


# Without TensorFlow: in a process of its own that finds none.

PROGRAM = """
import sys
sys.modules["tensorflow"] = None
import json, logging
from pathlib import Path
import numpy as np
from hotserve.errors import ServingError
from hotserve.platforms.engines.cache import EngineCache
from hotserve.platforms.engines.loader import EngineRoom, SavedModelLoader
logging.basicConfig(stream=sys.stderr)
path, cache, engine, signature, values = sys.argv[1:]
told = {}
try:
    servable = SavedModelLoader(engine=engine, room=EngineRoom(EngineCache(Path(cache)))).load(Path(path))
    told["engines"] = dict(servable.engines)
    inputs = {name: np.array(value, servable.signatures[signature].inputs[name].dtype.numpy)
              for name, value in json.loads(values).items()}
    told["answer"] = {name: array.tolist() for name, array in
                      servable.run(signature, inputs, list(servable.signatures[signature].outputs)).items()}
except ServingError as error:
    told["error"] = error.message
print(json.dumps(told))
"""


def without_tensorflow(
    path: Path, room: EngineRoom, engine: str = "auto", signature: str = "serving_default", **inputs: Any
) -> tuple[dict[str, Any], str]:
    """What a process without TensorFlow makes of a version and a request, and what it logs."""
    values = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in inputs.items()}
    cache = room.cache.memory.parent
    words = [sys.executable, "-c", PROGRAM, str(path), str(cache), engine, signature, json.dumps(values)]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout), ended.stderr


def test_without_tensorflow_what_is_kept_serves(ordinary_model: Path, examined: Examined, room: EngineRoom) -> None:
    keep(room, ordinary_model, examined)
    told, log = without_tensorflow(ordinary_model, room, "onnxruntime", **X)
    assert told["engines"]["serving_default"] == "onnxruntime"
    np.testing.assert_allclose(told["answer"]["y"], expected(ordinary_model, "serving_default", X, "y"), rtol=1e-5)
    assert "Signatures of" in log
    assert "that need TensorFlow" in log
    told, _ = without_tensorflow(ordinary_model, room, "onnxruntime", "guess", x=[1.0])
    assert "cannot be run without TensorFlow" in told["error"]
    told, _ = without_tensorflow(ordinary_model, room, "onnxruntime", "look_up", ids=[[0, 50]])
    assert "values outside of [0, 49]" in told["error"]


def test_without_tensorflow_openvino_reads_an_ordinary_model_and_says_that_nothing_was_compared(
    ordinary_model: Path, room: EngineRoom
) -> None:
    told, log = without_tensorflow(ordinary_model, room, **X)
    assert told["engines"]["serving_default"] == "openvino"
    np.testing.assert_allclose(told["answer"]["y"], expected(ordinary_model, "serving_default", X, "y"), rtol=1e-5)
    assert "unverified" in log


def record(path: Path, y: Array) -> None:
    """Gives a version a warm-up file with one request and its answer."""
    log = PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(encode_tensor(X["x"], DType.FLOAT))
    log.predict_log.response.outputs["y"].CopyFrom(encode_tensor(y, DType.FLOAT))
    file = path / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(frame(log.SerializeToString()))


def test_without_tensorflow_recorded_answers_are_compared(version: Path, room: EngineRoom) -> None:
    y = expected(version, "serving_default", X, "y")
    record(version, y)
    told, log = without_tensorflow(version, room, **X)
    assert told["engines"]["serving_default"] == "openvino"
    assert "unverified" not in log
    record(version, y + np.float32(0.01))
    told, _ = without_tensorflow(version, room, **X)
    assert "is another than the recorded one" in told["error"]


def test_without_tensorflow_a_model_that_writes_variables_says_what_to_install(
    many_signatures: Path, room: EngineRoom
) -> None:
    told, _ = without_tensorflow(many_signatures, room, x=[[1.0, 2.0, 3.0]])
    assert "No signature can be run without the Python package tensorflow" in told["error"]
    assert "pip install 'hotserve[tensorflow]'" in told["error"]


def test_without_tensorflow_an_engine_that_needs_a_conversion_says_what_to_install(
    ordinary_model: Path, room: EngineRoom
) -> None:
    told, _ = without_tensorflow(ordinary_model, room, "onnxruntime", **X)
    assert "needs the Python package tensorflow, which is not installed here" in told["error"]


def test_the_versions_of_engines_are_known_without_importing_them() -> None:
    assert set(installed_versions()) == {"onnxruntime", "openvino"}
