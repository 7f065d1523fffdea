from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hotserve import demo

TUTORIAL = Path(__file__).resolve().parents[2] / "examples" / "mnist"
TRAINED_ON = 150


def run(program: str, *args: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program of the tutorial as its reader does, in a folder of its own."""
    return subprocess.run(
        [sys.executable, str(TUTORIAL / program), *map(str, args)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """What a mnist.npz holds, made of the bundled digits."""
    sample = demo.sample()
    return {
        "x_train": sample.images[:TRAINED_ON],
        "y_train": sample.labels[:TRAINED_ON],
        "x_test": sample.images[TRAINED_ON:],
        "y_test": sample.labels[TRAINED_ON:],
    }


@pytest.fixture(scope="module")
def data(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(TUTORIAL)
    return importlib.import_module("digits")


@dataclass(frozen=True, slots=True)
class Training:
    """What came of running model.py twice in one folder, with one seed."""

    folder: Path
    outputs: tuple[str, str]
    seconds: tuple[int, int]

    @property
    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "img_classifier").iterdir())

    def answers(self, version: str, images: np.ndarray) -> np.ndarray:
        model = tf.saved_model.load(str(self.folder / "img_classifier" / version))
        outputs = model.signatures["serving_default"](image=tf.constant(images, tf.float32))
        return np.asarray(outputs["output_0"])


@pytest.fixture(scope="module")
def training(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("tutorial")
    begin = int(time.time())
    runs = [
        run("model.py", "--data", data, "--epochs", 2, "--batch_size", 32, "--seed", 7, folder=folder) for _ in range(2)
    ]
    assert [done.returncode for done in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    return Training(folder, (runs[0].stdout, runs[1].stdout), (begin, int(time.time())))


def scaled(images: np.ndarray) -> np.ndarray:
    return (images.astype(np.float32) / 255)[..., np.newaxis]


def test_a_training_shows_its_progress_and_says_what_it_saved(training: Training) -> None:
    output = training.outputs[0]
    assert "Epoch 2/2" in output
    assert re.search(r"^Test accuracy: [01]\.\d{4}$", output, re.MULTILINE)
    version = training.versions[0]
    assert f"Saved version {version} in img_classifier/{version}" in output


def test_versions_are_named_by_the_time_of_saving_and_nothing_else_is_left_in_the_folder(training: Training) -> None:
    begin, end = training.seconds
    first, second = (int(name) for name in training.versions)
    assert begin <= first < second <= end


def test_the_saved_model_takes_images_and_gives_probabilities(training: Training) -> None:
    model = tf.saved_model.load(str(training.folder / "img_classifier" / training.versions[0]))
    signature = model.signatures["serving_default"]
    ((), inputs), outputs = signature.structured_input_signature, signature.structured_outputs
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in inputs.items()} == {
        "image": (tf.float32, [None, 28, 28, 1])
    }
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in outputs.items()} == {
        "output_0": (tf.float32, [None, 10])
    }


def test_the_saved_model_is_as_accurate_as_the_program_printed(
    training: Training, arrays: dict[str, np.ndarray]
) -> None:
    probabilities = training.answers(training.versions[0], scaled(arrays["x_test"]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    accuracy = (probabilities.argmax(axis=1) == arrays["y_test"]).mean()
    assert f"Test accuracy: {accuracy:.4f}" in training.outputs[0]


def test_the_same_seed_trains_the_same_network(training: Training, arrays: dict[str, np.ndarray]) -> None:
    first, second = (training.answers(version, scaled(arrays["x_test"])) for version in training.versions)
    np.testing.assert_array_equal(first, second)


def test_model_py_explains_a_wrong_file_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "digits.npz").write_text("no zip")
    done = run("model.py", "--data", "digits.npz", folder=tmp_path)
    assert done.returncode == 1
    assert "model.py: digits.npz: expected a .npz file with the arrays x_train" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "img_classifier").exists()


def test_model_py_refuses_to_train_for_no_epochs(tmp_path: Path) -> None:
    done = run("model.py", "--epochs", 0, folder=tmp_path)
    assert done.returncode == 2
    assert "argument --epochs: expected a whole number of 1 or more, got '0'" in done.stderr


def test_a_missing_file_is_named(digits: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(digits.TutorialError, match=r"nowhere\.npz: expected a \.npz file .* there is no such file"):
        digits.read_train_and_test(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short", b"\x93NUMPY"], ids=repr)
def test_a_file_that_is_no_npz_is_refused(digits: ModuleType, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(digits.TutorialError, match=r"it cannot be read as one .* Give --data the path"):
        digits.read_train_and_test(path)


def test_a_lone_array_is_refused(digits: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "x_train.npy"
    np.save(path, np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(digits.TutorialError, match="it cannot be read as one"):
        digits.read_train_and_test(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, r"y_test is missing; found: x_train, y_train, x_test"),
        ({"x_train": None, "y_train": None}, r"x_train and y_train is missing"),
        ({"x_test": np.zeros((50, 28, 28), np.float32)}, r"expected x_test to be uint8 .* got float32 \[50, 28, 28\]"),
        ({"x_train": np.zeros((150, 32, 32), np.uint8)}, r"expected x_train to be .* got uint8 \[150, 32, 32\]"),
        ({"y_train": np.zeros(149, np.uint8)}, r"each of the 150 images in x_train, got uint8 \[149\]"),
        ({"y_test": np.zeros(50, np.float64)}, r"one integer for each .* got float64 \[50\]"),
        ({"y_test": np.full(50, 10)}, r"digits from 0 to 9, got 10 to 10"),
        (
            {"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, np.uint8)},
            r"expected images in x_test, got none",
        ),
    ],
)
def test_arrays_that_are_no_mnist_are_refused(
    digits: ModuleType,
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    changes: dict[str, np.ndarray | None],
    message: str,
) -> None:
    path = tmp_path / "mnist.npz"
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    with pytest.raises(digits.TutorialError, match=message):
        digits.read_train_and_test(path)


def test_the_digits_that_are_sent_are_7_2_1_0(digits: ModuleType) -> None:
    assert digits.four_digits(None).labels.tolist() == [7, 2, 1, 0]


def test_a_data_file_gives_its_own_first_four_test_digits(
    digits: ModuleType, data: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.testing.assert_array_equal(digits.four_digits(data).images, arrays["x_test"][:4])


def test_predictions_are_printed_and_drawn(
    digits: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits.show(digits.four_digits(None), np.eye(10)[[7, 2, 1, 6]], tmp_path / "predictions.png")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[[" + " ".join(["0.0000"] * 7 + ["1.0000"] + ["0.0000"] * 2) + "]"
    assert lines[4:8] == [
        "True Value: 7, Predicted Value: 7",
        "True Value: 2, Predicted Value: 2",
        "True Value: 1, Predicted Value: 1",
        "True Value: 0, Predicted Value: 6",
    ]
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nothing listens, and where nothing else can while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("program", ["predict.py", "predict_grpc.py"])
def test_a_client_without_a_server_says_how_to_start_one(program: str, closed_port: int, tmp_path: Path) -> None:
    done = run(program, "--host", "127.0.0.1", "--port", closed_port, folder=tmp_path)
    assert done.returncode == 1
    assert f"{program}: expected a model server at" in done.stderr
    assert "hotserve serve --model_name=img_classifier --model_base_path=./img_classifier" in done.stderr
    assert "Traceback" not in done.stderr


class StandIn(HTTPServer):
    """Answers every POST with one prepared answer, and keeps the last request."""

    status = 200
    answer: Any = None
    path = ""
    request_body: Any = None


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        self.server.path = self.path
        self.server.request_body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def predict_at(server: StandIn, folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    return run("predict.py", "--host", "127.0.0.1", "--port", server.server_port, *args, folder=folder)


def test_predict_py_sends_the_scaled_images_and_shows_the_answer(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.answer = {"predictions": np.eye(10)[[7, 2, 1, 0]].tolist()}
    done = predict_at(stand_in, tmp_path)
    assert done.returncode == 0, done.stderr
    assert stand_in.path == "/v1/models/img_classifier:predict"
    sent = np.array(stand_in.request_body["instances"], np.float32)
    np.testing.assert_array_equal(sent, scaled(demo.sample().images[:4]))
    assert "True Value: 7, Predicted Value: 7\nTrue Value: 2, Predicted Value: 2\n" in done.stdout
    assert (tmp_path / "predictions.png").exists()


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (404, {"error": "Servable not found for request: Latest(x)"}, "Compare --model_name"),
        (400, {"error": "wrong shape"}, "the server answered 400: wrong shape"),
        (500, ["no object"], 'the server answered 500: ["no object"]'),
        (200, {"predictions": [1.0, 2.0]}, "Expected 4 rows of 10 probabilities, got [1.0, 2.0]"),
        (200, {"outputs": "none"}, "Expected 4 rows of 10 probabilities, got None"),
    ],
)
def test_predict_py_explains_an_answer_that_is_no_prediction(
    stand_in: StandIn, tmp_path: Path, status: int, answer: object, message: str
) -> None:
    stand_in.status, stand_in.answer = status, answer
    done = predict_at(stand_in, tmp_path, "--model_name", "x")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "predictions.png").exists()


def test_the_request_for_curl_is_the_first_test_image() -> None:
    body = (TUTORIAL / "seven.json").read_text(encoding="utf-8")
    assert body.strip() == shlex.split(demo.curl_line("localhost", 8501))[2]
