from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from support.server_process import COMMAND, TFS_COMMAND, ServerProcess, wait_until
from support.versioned_models import WIDTH, onnx_version, publish


class Several(tf.Module):
    """A SavedModel with several signatures, dtypes and outputs."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def halve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 0.5 * x, "z": x + 1.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def shout(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loud": tf.strings.upper(text), "length": tf.strings.length(text)}


class Convolution(tf.Module):
    """A convolution and a pooling, whose kernels are particular about ranks."""

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")])
    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        convolved = tf.nn.relu(tf.nn.conv2d(image, tf.ones([3, 3, 1, 4]), 1, "SAME"))
        return {"pooled": tf.nn.max_pool2d(convolved, 8, 8, "VALID")}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`several`: a SavedModel; `numbers`: three versions of an ONNX model; a config file with relative paths."""
    folder = tmp_path_factory.mktemp("models")
    module = Several()
    tf.saved_model.save(
        module, str(folder / "several" / "7"), signatures={"serving_default": module.halve, "shout": module.shout}
    )
    convolution = Convolution()
    tf.saved_model.save(convolution, str(folder / "convolution" / "1"), signatures=convolution.__call__)
    for version in (1, 2, 3):
        onnx_version(folder / "numbers" / str(version), version)
    (folder / "models.config").write_text(
        """
        model_config_list {
          config { name: "several" base_path: "several" model_platform: "tensorflow" }
          config {
            name: "numbers" base_path: "numbers" model_platform: "tensorflow"
            model_version_policy { specific { versions: 1 versions: 3 } }
            version_labels { key: "stable" value: 1 }
            version_labels { key: "canary" value: 3 }
          }
          config { name: "convolution" base_path: "convolution" }
          config { name: "later" base_path: "later" }
        }
        """
    )
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[ServerProcess]:
    with ServerProcess(
        f"--model_config_file={models / 'models.config'}",
        "--file_system_poll_wait_seconds=0.1",
        command=(TFS_COMMAND,),
        wait_ready=False,
    ) as running:
        running.wait_listening()
        yield running


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target, options=[("grpc.max_receive_message_length", -1)]) as open_channel:
        yield open_channel


def predict_request(model: str, signature: str = "", **inputs: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


# REST, with requests and with curl.


def test_rows_go_in_and_rows_come_out(server: ServerProcess) -> None:
    answer = requests.post(f"{server.url}/v1/models/several:predict", json={"instances": [1.0, 2.0]}, timeout=30)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"predictions": [{"y": 0.5, "z": 2.0}, {"y": 1.0, "z": 3.0}]}


def test_columns_go_in_and_columns_come_out(server: ServerProcess) -> None:
    answer = requests.post(
        f"{server.url}/v1/models/several:predict",
        json={"signature_name": "shout", "inputs": {"text": ["hot", "serve"]}},
        timeout=30,
    )

    assert answer.json() == {"outputs": {"loud": ["HOT", "SERVE"], "length": [3, 5]}}


def test_curl_gets_an_answer_with_its_default_content_type(server: ServerProcess) -> None:
    done = subprocess.run(
        ["curl", "-s", "-d", '{"instances": [3]}', f"{server.url}/v1/models/several:predict"],
        capture_output=True,
        check=True,
        timeout=30,
    )

    assert json.loads(done.stdout) == {"predictions": [{"y": 1.5, "z": 4.0}]}


@pytest.mark.parametrize(
    ("path", "version"),
    [("", 3), ("/versions/1", 1), ("/versions/3", 3), ("/labels/stable", 1), ("/labels/canary", 3)],
)
def test_a_request_reaches_the_version_that_its_path_names(server: ServerProcess, path: str, version: int) -> None:
    status, answer = server.post(f"/v1/models/numbers{path}:predict", {"instances": [[0.0] * WIDTH]})

    assert (status, answer) == (200, {"predictions": [[float(version)] * WIDTH]})


def test_a_wrong_request_is_told_what_the_signature_takes_and_what_came(server: ServerProcess) -> None:
    status, answer = server.post("/v1/models/numbers:predict", {"instances": [[0.0] * 3]})

    assert status == 400
    assert f"x: float [?,{WIDTH}]" in answer["error"]
    assert "float [1,3] came" in answer["error"]


@pytest.mark.parametrize(
    "shape", [(), (1,), (1, 8), (8, 8, 1), (1, 1, 8, 8, 1), (0, 8, 8, 1), (1, 0, 0, 1), (1, 1, 1, 2)]
)
def test_no_shape_of_input_stops_a_server_of_convolutions(server: ServerProcess, shape: tuple[int, ...]) -> None:
    url = "/v1/models/convolution:predict"
    status, _ = server.post(url, {"inputs": np.zeros(shape).tolist()})
    assert status in (200, 400, 409, 501)  # as TensorFlow calls it

    status, answer = server.post(url, {"inputs": np.ones((1, 8, 8, 1)).tolist()})
    assert (status, np.shape(answer["outputs"])) == (200, (1, 1, 1, 4))


def test_a_body_over_the_limit_is_refused_with_the_limit(tmp_path: Path) -> None:
    onnx_version(tmp_path / "m" / "1", 1)
    with ServerProcess("--model_name=m", f"--model_base_path={tmp_path / 'm'}", "--max_message_bytes=1000") as server:
        status, body = server.request("POST", "/v1/models/m:predict", b"x" * 1001)
        assert status == 413
        assert "--max_message_bytes" in json.loads(body)["error"]

        with grpc.insecure_channel(server.grpc_target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(predict_request("m", x=np.zeros((100, WIDTH), np.float32)), timeout=30)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "--max_message_bytes" in caught.value.details()


# gRPC, with the stubs of tensorflow-serving-api.


def test_predict_gives_all_outputs_and_says_which_version_answered(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    answer = stub.Predict(predict_request("several", x=np.float32([4.0])), timeout=30)

    assert set(answer.outputs) == {"y", "z"}
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), np.float32([2.0]))
    assert answer.model_spec.name == "several"
    assert answer.model_spec.version.value == 7
    assert answer.model_spec.signature_name == "serving_default"


def test_an_output_filter_leaves_the_other_outputs_out(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_request("several", x=np.float32([4.0]))
    request.output_filter.append("z")

    assert set(stub.Predict(request, timeout=30).outputs) == {"z"}


def test_strings_pass_as_bytes(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    answer = stub.Predict(predict_request("several", "shout", text=[b"a\xff\x00"]), timeout=30)

    assert list(answer.outputs["loud"].string_val) == [b"A\xff\x00"]


def test_metadata_is_what_the_saved_model_says(channel: grpc.Channel, models: Path) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "several"
    request.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)

    loader = tf.compat.v1.saved_model.load
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        saved = loader(session, ["serve"], str(models / "several" / "7"))
    assert dict(signatures.signature_def) == dict(saved.signature_def)


def test_status_lists_the_versions_highest_first(channel: grpc.Channel) -> None:
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "numbers"
    answer = stub.GetModelStatus(request, timeout=30)

    states = [(entry.version, entry.state) for entry in answer.model_version_status]
    assert states == [(3, get_model_status_pb2.ModelVersionStatus.AVAILABLE), (1, 30)]


def test_gzip_goes_both_ways(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    values = np.arange(10_000, dtype=np.float32)
    answer = stub.Predict(predict_request("several", x=values), timeout=30, compression=grpc.Compression.Gzip)

    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["z"]), values + 1)


def test_a_message_of_64_megabytes_passes(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    values = np.arange(16_000_000, dtype=np.float32)
    request = predict_request("several", x=values)
    request.output_filter.append("y")
    answer = stub.Predict(request, timeout=120)

    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), values / 2)


def test_a_deadline_that_has_passed_is_said_to_have(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_request("several", x=np.arange(4_000_000, dtype=np.float32))
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=0.001)

        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert stub.Predict(predict_request("several", x=np.float32([4.0])), timeout=30).outputs["y"].float_val == [2.0]


def test_a_cancelled_call_leaves_the_server_well(channel: grpc.Channel) -> None:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    for _ in range(20):
        call = stub.Predict.future(predict_request("several", x=np.arange(1_000_000, dtype=np.float32)))
        call.cancel()

    answer = stub.Predict(predict_request("several", x=np.float32([4.0])), timeout=30)
    assert answer.outputs["y"].float_val == [2.0]


# Health, readiness, metrics.


def test_a_base_path_that_is_missing_holds_back_only_its_own_model_until_it_appears(
    server: ServerProcess, channel: grpc.Channel, models: Path, tmp_path: Path
) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service="later"))
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert server.get("/healthz")[0] == 200
    status, body = server.get("/readyz")
    assert status == 503
    assert json.loads(body)["models"]["several"] == "AVAILABLE"
    assert str(models / "later") in json.loads(body)["models"]["later"]
    assert server.post("/v1/models/several:predict", {"instances": [1.0]})[0] == 200

    onnx_version(tmp_path / "1", 1)
    publish(tmp_path / "1", models / "later", 1)

    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    wait_until(lambda: server.get("/readyz")[0] == 200)
    assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    assert server.post("/v1/models/later:predict", {"instances": [[0.0] * WIDTH]})[0] == 200


def test_requests_show_in_the_metrics_under_the_names_of_the_original(server: ServerProcess) -> None:
    server.post("/v1/models/several/versions/7:predict", {"instances": [1.0]})
    server.post("/v1/models/absent:predict", {"instances": [1.0]})
    page = server.get("/monitoring/prometheus/metrics")[1].decode()

    assert '\n:tensorflow:serving:request_count{model_name="several",status="OK"} ' in page
    assert '\n:tensorflow:serving:request_count{model_name="absent",status="NOT_FOUND"} ' in page
    assert ':tensorflow:serving:request_latency_count{model_name="several",API="predict",entrypoint="REST"} ' in page
    assert 'hotserve_requests_total{model_name="several",version="7",' in page


# The demo.


def test_the_line_that_the_demo_prints_works_when_pasted() -> None:
    with ServerProcess(command=(COMMAND, "demo")) as server:
        wait_until(lambda: "Ctrl-C" in server.log())
        lines = server.log().splitlines()
        (line,) = (line for line in lines if line.startswith("curl "))
        done = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=30)

    (probabilities,) = json.loads(done.stdout)["predictions"]
    assert int(np.argmax(probabilities)) == 7
