"""The request of TensorFlow Serving's tutorial, three plain numbers, for a model that declares a column of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.protos import messages
from hotserve.tensors import DType
from support.contract import client_of, model_spec
from support.saved_model_zoo.proof import export_zoo
from support.server_process import ServerProcess, wait_until

pytest.importorskip("openvino")
pytest.importorskip("tf2onnx")

MODELS = ("half_plus_two_of_a_column", "half_plus_two_of_one")
"""Declared as [-1, 1] and as [1], as the two models of the tutorial, that of TensorFlow 1 and that of TensorFlow 2."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, and the config file that names them."""
    folder = tmp_path_factory.mktemp("tutorial")
    export_zoo(folder, MODELS)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first server finds out is kept for the second one."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module", params=[(), ("--enable_batching",)], ids=["natural", "enable_batching"])
def server(folder: Path, cache: Path, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server that has chosen engines for both; the second one by what the first has found out."""
    config = f"--model_config_file={folder / 'models.config'}"
    # One worker: each says for itself in the log what it has chosen, and clients ask any of them.
    flags = ("--workers=1", "--engine=auto", f"--engine_cache_dir={cache}", *request.param)
    with ServerProcess(config, *flags) as server:
        wait_until(lambda: server.log().count("Engines of ") >= len(MODELS), 300, "both models have their engine")
        yield server


def engine(server: ServerProcess, model: str) -> str:
    status, body = server.get(f"/v1/models/{model}/engines")
    assert status == 200
    return str(json.loads(body)["engines"]["serving_default"]["engine"])


def fall_backs(server: ServerProcess) -> list[str]:
    status, body = server.get("/monitoring/prometheus/metrics")
    assert status == 200
    lines = [line for line in body.decode().splitlines() if line.startswith("hotserve_engine_fall_backs_total{")]
    return [line for line in lines if not line.endswith((" 0", " 0.0"))]


@pytest.mark.parametrize("model", MODELS)
def test_three_plain_numbers_are_answered_by_the_fast_engine_over_rest_and_grpc(
    server: ServerProcess, model: str
) -> None:
    assert engine(server, model) in ("onnxruntime", "openvino")
    assert server.post(f"/v1/models/{model}:predict", {"instances": [1.0, 2.0, 5.0]}) == (
        200,
        {"predictions": [2.5, 3.0, 4.5]},
    )
    with client_of(server) as client:
        message = messages.PredictRequest(model_spec=model_spec(model))
        message.inputs["x"].CopyFrom(encode_tensor(np.array([1.0, 2.0, 5.0], np.float32), DType.FLOAT))
        answer = decode_tensor(client.call("Predict", message).outputs["y"])
    assert answer.dtype == np.float32
    assert answer.tolist() == [2.5, 3.0, 4.5]
    assert fall_backs(server) == []


@pytest.mark.parametrize("model", MODELS)
def test_columns_matrices_and_many_numbers_are_answered_likewise(server: ServerProcess, model: str) -> None:
    rows: list[Any] = [[[1.0], [2.0]], [[1.0, 2.0], [3.0, 4.0]], [float(number) for number in range(33)]]
    for instances in rows:
        expected = (np.array(instances) / 2 + 2).tolist()
        assert server.post(f"/v1/models/{model}:predict", {"instances": instances}) == (200, {"predictions": expected})
    assert fall_backs(server) == []
