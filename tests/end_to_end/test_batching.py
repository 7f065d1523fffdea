from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hotserve import demo
from hotserve.batching.row_check import agree
from support.server_process import COMMAND, ServerProcess
from support.versioned_models import WIDTH, onnx_version

METRICS = "/monitoring/prometheus/metrics"
CLIENTS = 16


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return (demo.sample().images.astype(np.float32) / 255.0)[..., np.newaxis]


def predict_all(server: ServerProcess, images: np.ndarray) -> list[np.ndarray]:
    """The answer for each picture, asked for by as many clients at once as there are threads."""
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(image: np.ndarray) -> np.ndarray:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "digits"
            request.inputs["image"].CopyFrom(make_tensor_proto(image[np.newaxis]))
            return make_ndarray(stub.Predict(request, timeout=60).outputs["probabilities"])

        with ThreadPoolExecutor(CLIENTS) as clients:
            return list(clients.map(ask, images))


def metric(server: ServerProcess, name: str, labels: str = "") -> float:
    """The sum over all cells of a metric with these labels."""
    _, page = server.get(METRICS)
    lines = re.findall(rf"^{re.escape(name)}\{{(.*)\}} (\S+)$", page.decode(), re.M)
    return sum(float(value) for given, value in lines if labels in given)


def digits(*flags: str) -> ServerProcess:
    return ServerProcess("--model_name=digits", f"--model_base_path={demo.MODEL_BASE_PATH}", *flags)


def test_together_requests_get_the_answers_that_they_get_alone(images: np.ndarray) -> None:
    with digits() as together, digits("--natural_batching=false") as alone:
        for mine, expected in zip(predict_all(together, images), predict_all(alone, images), strict=True):
            assert agree(expected, mine)
        assert "Requests for signature serving_default of" in together.log()
        assert "share runs: its rows are independent" in together.log()
        rows = metric(together, "hotserve_batch_rows_sum")
        batches = metric(together, "hotserve_batch_rows_count")
        assert rows == len(images)
        assert batches < rows  # some have come at the same time, whatever else the machine does
        assert metric(alone, "hotserve_batch_rows_count") == 0
        assert metric(together, ":tensorflow:serving:batching_session:wrapped_run_count") == 0


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    file = tmp_path_factory.mktemp("batching") / "batching.pbtxt"
    file.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 1000 } num_batch_threads { value: 2 }"
        " allowed_batch_sizes: 4 allowed_batch_sizes: 8"
    )
    with digits("--enable_batching", f"--batching_parameters_file={file}") as server:
        yield server


def test_configured_as_in_tensorflow_serving_answers_are_the_same_and_batches_have_allowed_sizes(
    configured: ServerProcess, images: np.ndarray
) -> None:
    answers = predict_all(configured, images)
    assert [int(answer.argmax()) for answer in answers].count(7) >= 15
    with digits("--natural_batching=false") as alone:
        for mine, expected in zip(answers, predict_all(alone, images), strict=True):
            assert agree(expected, mine)
    session = ":tensorflow:serving:batching_session"
    batches = metric(configured, f"{session}:wrapped_run_count")
    assert 0 < batches < len(images)
    assert batches == metric(configured, f"{session}:padding_size_count", 'execution_batch_size="4"') + metric(
        configured, f"{session}:padding_size_count", 'execution_batch_size="8"'
    )
    assert metric(configured, f"{session}:input_batch_size_sum") == len(images)
    assert metric(configured, f"{session}:queuing_latency_count", 'thread_pool_name=""') == len(images)


def test_a_request_that_is_too_large_is_refused_in_the_words_of_the_original(configured: ServerProcess) -> None:
    status, answer = configured.post("/v1/models/digits:predict", {"instances": np.zeros((9, 28, 28, 1)).tolist()})
    assert status == 400
    assert answer["error"].startswith("Task size 9 is larger than maximum input batch size 8")


def test_a_parameters_file_without_the_flag_ends_the_start(tmp_path: Path) -> None:
    ended = subprocess.run(
        [COMMAND, "serve", f"--model_base_path={tmp_path}", "--batching_parameters_file=f", "--host=127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode != 0
    words = "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
    assert words in ended.stdout + ended.stderr


def test_each_version_may_have_its_own_parameters_and_wrong_ones_fail_that_version_only(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        onnx_version(tmp_path / "m" / str(version), version)
    (tmp_path / "m" / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    (tmp_path / "m" / "3" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }\nmax_batch { value: 1 }")
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path}/m" model_version_policy {{ all {{}} }} }} }}'
    )
    flags = ("--enable_batching", "--enable_per_model_batching_parameters", f"--model_config_file={config}")
    with ServerProcess(*flags, wait_ready=False) as server:
        server.wait_listening()
        server.wait_state("m", 3, "END")
        server.wait_state("m", 2, "AVAILABLE")
        assert "2:1" in server.status_texts("m")[3]
        assert "batching_params.pbtxt" in server.status_texts("m")[3]
        body = {"instances": np.zeros((3, WIDTH)).tolist()}
        status, answer = server.post("/v1/models/m/versions/1:predict", body)
        assert (status, answer["error"][:11]) == (400, "Task size 3")
        status, answer = server.post("/v1/models/m/versions/2:predict", body)
        assert (status, len(answer["predictions"])) == (200, 3)


def test_a_version_that_replaces_another_is_planned_anew(tmp_path: Path, images: np.ndarray) -> None:
    shutil.copytree(demo.MODEL_BASE_PATH / "1", tmp_path / "1")
    with ServerProcess("--model_name=digits", f"--model_base_path={tmp_path}") as server:
        predict_all(server, images[:20])
        shutil.copytree(tmp_path / "1", tmp_path / "tmp")
        (tmp_path / "tmp").rename(tmp_path / "2")
        server.wait_state("digits", 2, "AVAILABLE")
        predict_all(server, images[:20])
        assert server.log().count("share runs") >= 2
