from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from support.litert_models import FileSignature, adder, litert_model, litert_version, picker, write_model
from support.server_process import ServerProcess
from support.versioned_models import WIDTH, publish, saved_model_version

pytestmark = pytest.mark.slow

ROW = [0.0] * WIDTH


def answer(server: ServerProcess) -> Any:
    """The number in every element of the answer, which tells the version."""
    status, body = server.post("/v1/models/m:predict", {"instances": [ROW]})
    return body["predictions"][0][0] if status == 200 else body


def test_a_folder_of_one_file_is_served_over_both_apis_and_swapped(tmp_path: Path) -> None:
    signatures = [
        FileSignature("serving_default", 0, {"x": 0}, {"y": 2}),
        FileSignature("pick", 1, {"words": 0, "places": 1}, {"picked": 2}),
    ]
    publish(write_model(tmp_path / "first", litert_model([adder(1.0), picker()], signatures)), tmp_path / "m", 1)
    with ServerProcess(
        "--model_name=m", f"--model_base_path={tmp_path / 'm'}", "--file_system_poll_wait_seconds=0.1"
    ) as server:
        assert answer(server) == 1.0
        text = {"signature_name": "pick", "inputs": {"words": ["eins", "zwei"], "places": [1, 1, 0]}}
        assert server.post("/v1/models/m:predict", text) == (200, {"outputs": ["zwei", "zwei", "eins"]})
        status, body = server.post("/v1/models/m:predict", {"instances": [[1.0, 2.0, "x"]]})
        assert (status, list(body)) == (400, ["error"])

        with grpc.insecure_channel(server.grpc_target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = "m", "pick"
            request.inputs["words"].CopyFrom(make_tensor_proto([b"\xff", b"b"]))
            request.inputs["places"].CopyFrom(make_tensor_proto([0], dtype="int32"))
            assert make_ndarray(stub.Predict(request, timeout=60).outputs["picked"]).tolist() == [b"\xff"]
            request.inputs["places"].CopyFrom(make_tensor_proto([7], dtype="int32"))
            with pytest.raises(grpc.RpcError) as raised:
                stub.Predict(request, timeout=60)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert raised.value.details().startswith("Failed to invoke TfLite interpreter: ")

            metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            metadata.model_spec.name = "m"
            told = get_model_metadata_pb2.SignatureDefMap()
            stub.GetModelMetadata(metadata, timeout=60).metadata["signature_def"].Unpack(told)
            x = told.signature_def["serving_default"].inputs["x"]
            assert (x.name, x.dtype, [dim.size for dim in x.tensor_shape.dim]) == ("x:0", 1, [-1, WIDTH])

        litert_version(tmp_path / "second", 2)
        publish(tmp_path / "second", tmp_path / "m", 2)
        server.wait_state("m", 2, "AVAILABLE")
        assert answer(server) == 2.0


def test_a_file_that_is_cut_short_waits_until_it_is_whole(tmp_path: Path) -> None:
    litert_version(tmp_path / "m" / "1", 1)
    litert_version(tmp_path / "second", 2, 100_000)
    content = (tmp_path / "second" / "model.tflite").read_bytes()
    with ServerProcess(
        "--model_name=m", f"--model_base_path={tmp_path / 'm'}", "--file_system_poll_wait_seconds=0.1"
    ) as server:
        write_model(tmp_path / "m" / "2", content[: len(content) // 2])
        server.wait_state("m", 2, "START")
        assert answer(server) == 1.0
        write_model(tmp_path / "m" / "2", content)
        server.wait_state("m", 2, "AVAILABLE")
        assert answer(server) == 2.0


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that adds 5, and a LiteRT model that adds 7, in one folder."""
    base = tmp_path_factory.mktemp("both")
    saved_model_version(base / "1", 5)
    litert_version(base / "lite", 7)
    shutil.copy(base / "lite" / "model.tflite", base / "1")
    shutil.rmtree(base / "lite")
    return base


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([], 5.0), (["--prefer_tflite_model", "--num_tflite_pools=1", "--num_tflite_interpreters_per_pool=2"], 7.0)],
)
def test_where_a_folder_holds_both_the_flag_decides(both: Path, flags: list[str], expected: float) -> None:
    with ServerProcess("--model_name=m", f"--model_base_path={both}", *flags) as server:
        assert answer(server) == expected


def test_a_model_may_ask_for_the_platform_by_either_name(both: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    models = [("m", "tflite"), ("other", "litert"), ("plain", "tensorflow")]
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{both}" model_platform: "{platform}" }}' for name, platform in models
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    with ServerProcess(f"--model_config_file={config}") as server:
        found = {
            name: server.post(f"/v1/models/{name}:predict", {"instances": [ROW]})[1]["predictions"][0][0]
            for name, _ in models
        }
    assert found == {"m": 7.0, "other": 7.0, "plain": 5.0}


def test_the_answers_of_both_apis_are_the_same(tmp_path: Path) -> None:
    litert_version(tmp_path / "m" / "1", 3)
    x = np.random.default_rng(0).normal(size=(4, WIDTH)).astype(np.float32)
    with (
        ServerProcess("--model_name=m", f"--model_base_path={tmp_path / 'm'}") as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(make_tensor_proto(x))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        over_grpc = make_ndarray(stub.Predict(request, timeout=60).outputs["y"])
        _, body = server.post("/v1/models/m:predict", {"instances": x.tolist()})
    np.testing.assert_array_equal(over_grpc, x + np.float32(3))
    np.testing.assert_array_equal(np.float32(body["predictions"]), over_grpc)
