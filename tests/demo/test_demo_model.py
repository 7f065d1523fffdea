from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from hotserve import demo

MODEL = demo.MODEL_BASE_PATH / "1" / "model.onnx"
PROVENANCE = (Path(demo.__file__).parent / "PROVENANCE.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return (demo.sample().images.astype(np.float32) / 255)[..., np.newaxis]


def test_the_base_path_holds_version_1_and_nothing_else() -> None:
    assert [path.name for path in demo.MODEL_BASE_PATH.iterdir()] == ["1"]


def test_the_model_is_smaller_than_a_megabyte() -> None:
    assert MODEL.stat().st_size < 1_000_000


def test_the_model_is_the_one_that_its_provenance_describes() -> None:
    assert hashlib.sha256(MODEL.read_bytes()).hexdigest() in PROVENANCE


def test_the_model_takes_image_and_gives_probabilities(session: onnxruntime.InferenceSession) -> None:
    (image,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["batch", 28, 28, 1])
    assert (probabilities.name, probabilities.type, probabilities.shape) == (
        "probabilities",
        "tensor(float)",
        ["batch", 10],
    )


def test_it_reads_as_many_of_the_bundled_digits_as_its_provenance_says(
    session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> None:
    stated = re.search(r"(\d+) of the (\d+) images bundled here", PROVENANCE)
    assert stated is not None
    (probabilities,) = session.run(None, {"image": pixels})
    right = int((probabilities.argmax(axis=1) == demo.sample().labels).sum())
    assert (right, len(pixels)) == (int(stated[1]), int(stated[2]))


def test_its_provenance_states_an_accuracy_of_at_least_98_5_percent_on_the_whole_test_set() -> None:
    stated = re.search(r"([\d,]+) of MNIST's 10,000 test images", PROVENANCE)
    assert stated is not None
    assert int(stated[1].replace(",", "")) >= 9850


def test_probabilities_are_positive_and_sum_to_one(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> None:
    (probabilities,) = session.run(None, {"image": pixels})
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_row_has_the_same_answer_alone_and_in_a_batch(
    session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> None:
    (together,) = session.run(None, {"image": pixels[:7]})
    alone = [session.run(None, {"image": pixels[row : row + 1]})[0] for row in range(7)]
    np.testing.assert_allclose(np.concatenate(alone), together, atol=1e-6)


def test_an_empty_batch_has_an_empty_answer(session: onnxruntime.InferenceSession, pixels: np.ndarray) -> None:
    (probabilities,) = session.run(None, {"image": pixels[:0]})
    assert probabilities.shape == (0, 10)


def test_the_sample_holds_20_of_each_digit() -> None:
    sample = demo.sample()
    assert (sample.images.shape, sample.images.dtype) == ((200, 28, 28), np.uint8)
    assert (sample.labels.shape, sample.labels.dtype) == ((200,), np.uint8)
    assert np.bincount(sample.labels).tolist() == [20] * 10
    assert (Path(demo.__file__).parent / "mnist_sample.npz").stat().st_size < 100_000


def test_the_sample_begins_with_the_first_four_test_images() -> None:
    sample = demo.sample()
    assert sample.labels[:4].tolist() == [7, 2, 1, 0]
    # The sum of the grey values of each, in MNIST's test set.
    assert sample.images[:4].sum(axis=(1, 2)).tolist() == [18454, 28850, 9871, 37014]


def test_two_samples_share_no_memory() -> None:
    demo.sample().images[:] = 0
    assert demo.sample().images.any()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:8501/v1/models/digits:predict"),
        ("10.0.0.7", "http://10.0.0.7:8501/v1/models/digits:predict"),
        ("::1", "http://[::1]:8501/v1/models/digits:predict"),
    ],
)
def test_the_curl_line_asks_the_demo_model(host: str, url: str) -> None:
    command, flag, _, asked = shlex.split(demo.curl_line(host, 8501))
    assert (command, flag, asked) == ("curl", "-d", url)


def test_the_curl_line_fits_into_a_terminal_line() -> None:
    line = demo.curl_line("localhost", 8501)
    assert "\n" not in line
    assert len(line.encode()) < 4096


def test_the_curl_line_sends_a_7_that_the_model_reads(session: onnxruntime.InferenceSession) -> None:
    body = json.loads(shlex.split(demo.curl_line("localhost", 8501))[2])
    image = np.array(body["instances"], np.float32)
    assert image.shape == (1, 28, 28, 1)
    np.testing.assert_allclose(image[0, ..., 0], demo.sample().images[0] / 255, atol=0.005001)
    (probabilities,) = session.run(None, {"image": image})
    assert probabilities.argmax() == 7
