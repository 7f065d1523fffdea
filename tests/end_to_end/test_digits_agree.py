from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
import pytest
import requests
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hotserve import demo
from support.server_process import ServerProcess

BATCH = 100
# The real test set of 10,000, where somebody has it: HOTSERVE_MNIST names a mnist.npz. The bundled 200 otherwise.
DATA = os.environ.get("HOTSERVE_MNIST", "")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    if DATA:
        with np.load(DATA) as arrays:
            raw = arrays["x_test"]
    else:
        raw = demo.sample().images
    return (raw.astype(np.float32) / 255.0)[..., np.newaxis]


@pytest.fixture(scope="module")
def direct(images: np.ndarray) -> np.ndarray:
    """What the model answers without a server."""
    session = onnxruntime.InferenceSession(str(demo.MODEL_BASE_PATH / "1" / "model.onnx"))
    return np.concatenate([session.run(None, {"image": batch})[0] for batch in batches(images)])


def batches(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--model_name=digits", f"--model_base_path={demo.MODEL_BASE_PATH}") as running:
        yield running


def test_answers_over_rest_equal_the_model_run_directly(
    server: ServerProcess, images: np.ndarray, direct: np.ndarray
) -> None:
    url = f"{server.url}/v1/models/digits:predict"
    with requests.Session() as session:
        answers = [
            session.post(url, data=json.dumps({"instances": batch.tolist()}), timeout=60).json()["predictions"]
            for batch in batches(images)
        ]
    served = np.concatenate([np.array(answer, np.float32) for answer in answers])

    assert served.shape == (len(images), 10)
    np.testing.assert_allclose(served, direct, rtol=0, atol=1e-6)


def test_answers_over_grpc_equal_the_model_run_directly(
    server: ServerProcess, images: np.ndarray, direct: np.ndarray
) -> None:
    answers = []
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for batch in batches(images):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "digits"
            request.inputs["image"].CopyFrom(make_tensor_proto(batch))
            answers.append(make_ndarray(stub.Predict(request, timeout=60).outputs["probabilities"]))

    np.testing.assert_allclose(np.concatenate(answers), direct, rtol=0, atol=1e-6)


def test_the_demo_is_right_about_what_its_digits_show(direct: np.ndarray) -> None:
    path = Path(DATA) if DATA else None
    labels = np.load(path)["y_test"] if path else demo.sample().labels

    assert np.mean(direct.argmax(axis=1) == labels) >= 0.985
