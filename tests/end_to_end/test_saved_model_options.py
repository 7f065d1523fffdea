"""How SavedModels are loaded, as flags and the platform config file say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from support.foreign_operation import PLUS_ONE, compile_plus_one, write_model
from support.server_process import COMMAND, ServerProcess

Stub = prediction_service_pb2_grpc.PredictionServiceStub

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{verb}" for verb in ("predict", "classify", "regress"))
WITH_TEXT = importlib.util.find_spec("tensorflow_text") is not None


def export(folder: Path) -> None:
    """Two meta graphs, tagged `serve` and `serve, gpu`: the one multiplies by 2, the other by 3."""
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(folder))
    for factor, tags in ((2.0, ["serve"]), (3.0, ["serve", "gpu"])):
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None], name="x")
            serialized = v1.placeholder(tf.string, [None], name="examples")
            feature = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})["x"]
            weight = v1.get_variable("weight", initializer=1.0)

            def signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
                info = v1.saved_model.build_tensor_info
                return v1.saved_model.build_signature_def(
                    {alias: info(tensor) for alias, tensor in inputs.items()},
                    {alias: info(tensor) for alias, tensor in outputs.items()},
                    method,
                )

            session.run(v1.global_variables_initializer())
            signatures = {
                "serving_default": signature({"x": x}, {"y": x * weight * factor}, PREDICT),
                "mine": signature({"x": x}, {"y": x * factor}, "mine"),
                "classify": signature({"inputs": serialized}, {"scores": feature * factor}, CLASSIFY),
                "regress": signature({"inputs": serialized}, {"outputs": feature * factor}, REGRESS),
                "tf2_like": signature({"inputs": serialized}, {"outputs": feature * factor}, PREDICT),
            }
            if factor == 2.0:
                builder.add_meta_graph_and_variables(session, tags, signatures)
            else:
                builder.add_meta_graph(tags, signatures)
    builder.save()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export(folder / "tagged" / "1")
    write_model(tf, folder / "custom" / "1", PLUS_ONE, "float32")
    write_model(tf, folder / "text" / "1", "CaseFoldUTF8", "string")
    compile_plus_one(folder / "plus_one.so")
    return folder


def config(folder: Path, *names: str, more: str = "") -> str:
    file = folder / f"{'_'.join(names)}.config"
    entries = " ".join(f"config {{ name: '{name}' base_path: '{name}' {more} }}" for name in names)
    file.write_text(f"model_config_list {{ {entries} }}")
    return f"--model_config_file={file}"


def predict(server: ServerProcess, model: str, *instances: Any, signature: str = "") -> Any:
    body: dict[str, Any] = {"instances": list(instances)}
    if signature:
        body["signature_name"] = signature
    return server.post(f"/v1/models/{model}:predict", body)


# Tags and method names.


@pytest.fixture(scope="module")
def checking(models: Path) -> Iterator[ServerProcess]:
    """A server of the second meta graph that checks method names and logs requests."""
    (models / "logs").mkdir()
    logging_config = (
        "logging_config { log_collector_config { type: 'jsonl' filename_prefix: 'logs/requests' }"
        " sampling_config { sampling_rate: 1 } }"
    )
    flags = [
        config(models, "tagged", more=logging_config),
        "--saved_model_tags=gpu,serve",
        "--enable_signature_method_name_check",
        "--tensorflow_session_parallelism=2",
        "--workers=1",  # one file of logged requests
    ]
    with ServerProcess(*flags) as running:
        yield running


@pytest.fixture(scope="module")
def stub(checking: ServerProcess) -> Iterator[Stub]:
    with grpc.insecure_channel(checking.grpc_target) as channel:
        yield Stub(channel)


def refusal(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=60)
    return raised.value.code(), raised.value.details()


def about(request: Any, signature: str) -> Any:
    request.model_spec.name, request.model_spec.signature_name = "tagged", signature
    if hasattr(request, "input"):
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(5.0)
    return request


def test_the_meta_graph_with_exactly_the_tags_serves(checking: ServerProcess) -> None:
    assert predict(checking, "tagged", 1.0, 2.0) == (200, {"predictions": [3.0, 6.0]})


def test_predict_refuses_a_method_name_of_its_own_over_both_apis(checking: ServerProcess, stub: Stub) -> None:
    request = about(predict_pb2.PredictRequest(), "mine")
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([1])))
    words = (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict,"
        " tensorflow/serving/classify, tensorflow/serving/regress}. Was: mine"
    )
    code, details = refusal(stub.Predict, request)
    assert (code, details[: len(words)]) == (grpc.StatusCode.INTERNAL, words)
    status, answer = predict(checking, "tagged", 1.0, signature="mine")
    assert (status, answer["error"][: len(words)]) == (500, words)


def test_classify_and_regress_want_their_method_names_over_both_apis(checking: ServerProcess, stub: Stub) -> None:
    words = {
        "classify": f"Expected classification signature method_name to be {CLASSIFY}. Was: ",
        "regress": f"Expected regression signature method_name to be {REGRESS}. Was: ",
    }
    calls = {
        "classify": (stub.Classify, classification_pb2.ClassificationRequest),
        "regress": (stub.Regress, regression_pb2.RegressionRequest),
    }
    for verb, (call, request) in calls.items():
        call(about(request(), verb), timeout=60)
        code, details = refusal(call, about(request(), "tf2_like"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith(f"{words[verb]}{PREDICT}")
        document = {"signature_name": "tf2_like", "examples": [{"x": 5.0}]}
        status, answer = checking.post(f"/v1/models/tagged:{verb}", document)
        assert status == 400
        assert answer["error"].startswith(f"{words[verb]}{PREDICT}")
        status, answer = checking.post(f"/v1/models/tagged:{verb}", {**document, "signature_name": verb})
        assert (status, answer["results"]) == (200, [[["", 15.0]]] if verb == "classify" else [15.0])


def test_multi_inference_wants_the_signatures_own_method_names(stub: Stub) -> None:
    request = about(regression_pb2.RegressionRequest(), "regress")
    multi = inference_pb2.MultiInferenceRequest(input=request.input)
    multi.tasks.add(model_spec=request.model_spec, method_name=REGRESS)
    assert stub.MultiInference(multi, timeout=60).results[0].regression_result.regressions[0].value == 15.0
    multi.tasks[0].model_spec.signature_name = "tf2_like"
    code, details = refusal(stub.MultiInference, multi)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(f"Expected regression signature method_name to be {REGRESS}. Was: {PREDICT}")


def test_a_logged_request_says_by_which_tags_its_model_was_loaded(checking: ServerProcess, models: Path) -> None:
    predict(checking, "tagged", 1.0)
    assert checking.stop() == 0
    (file,) = (models / "logs").iterdir()
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert records
    metadata = [record.get("log_metadata") or record["logMetadata"] for record in records]
    assert {tuple(entry.get("saved_model_tags") or entry["savedModelTags"]) for entry in metadata} == {("gpu", "serve")}


# The platform config file.


def test_a_platform_config_file_says_what_the_flags_would(models: Path) -> None:
    file = models / "platforms.config"
    file.write_text(
        """
        platform_configs {
          key: "tensorflow"
          value { source_adapter_config {
            [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] { legacy_config {
              saved_model_tags: "serve" saved_model_tags: "gpu"
              session_config { intra_op_parallelism_threads: 1 }
              session_target: "local"
            } }
          } }
        }
        """
    )
    flags = [config(models, "tagged"), f"--platform_config_file={file}", "--saved_model_tags=tpu"]
    with ServerProcess(*flags) as server:
        assert predict(server, "tagged", 1.0) == (200, {"predictions": [3.0]})
        log = server.log()
    assert "--platform_config_file takes the place of --saved_model_tags" in log
    assert log.count(f"{file}: session_target has no effect here: sessions run in this process") == 1


def test_tensorflow_gets_the_session_config_file(models: Path) -> None:
    file = models / "session.config"
    file.write_text('experimental { executor_type: "none of these" }')
    flags = [config(models, "tagged"), f"--tensorflow_session_config_file={file}"]
    with ServerProcess(*flags, wait_ready=False) as server:
        server.wait_state("tagged", 1, "END")
        assert "none of these" in server.status_texts("tagged")[1]


# Operations that TensorFlow lacks.


def test_operations_of_a_library_and_of_a_package_serve(models: Path) -> None:
    names = ["custom", "text"] if WITH_TEXT else ["custom"]
    flags = [config(models, *names), f"--custom_op_libraries={models / 'plus_one.so'}"]
    if WITH_TEXT:
        flags.append("--import=tensorflow_text")
    with ServerProcess(*flags, "--workers=1") as server:
        assert predict(server, "custom", 1.0, 41.0) == (200, {"predictions": [2.0, 42.0]})
        if WITH_TEXT:
            assert predict(server, "text", "STRASSE", "Äß") == (200, {"predictions": ["strasse", "äss"]})
        mapped = Path(f"/proc/{server.pid}/maps").read_text()
    assert "plus_one.so" in mapped
    assert "_pywrap_tensorflow" not in mapped  # TensorFlow's Python package was not imported


def test_the_status_says_what_a_model_needs_to_load(models: Path) -> None:
    flags = [config(models, "tagged", "custom", "text"), "--saved_model_tags=tpu"]
    with ServerProcess(*flags, wait_ready=False) as server:
        server.wait_state("tagged", 1, "END")
        text = server.status_texts("tagged")[1]
    assert text.startswith("Could not find meta graph def matching supplied tags: { tpu }. To inspect available")
    assert "Tag sets in this SavedModel: { serve }, { gpu, serve }. --saved_model_tags chooses one" in text
    with ServerProcess(config(models, "custom", "text"), wait_ready=False) as server:
        server.wait_state("custom", 1, "END")
        server.wait_state("text", 1, "END")
        custom, text = server.status_texts("custom")[1], server.status_texts("text")[1]
    assert custom.startswith(f"Op type not registered '{PLUS_ONE}'")
    assert "--custom_op_libraries=FILE.so" in custom
    assert text.startswith("Op type not registered 'CaseFoldUTF8'")
    assert text.endswith("start the server with --import=tensorflow_text.")


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--custom_op_libraries=/gone.so", "--custom_op_libraries: there is no file /gone.so."),
        ("--import=not_there_at_all", "--import=not_there_at_all: there is no Python package 'not_there_at_all' here."),
        ("--tensorflow_session_config_file=/gone", "/gone; No such file or directory."),
        ("--platform_config_file=/gone", "/gone; No such file or directory."),
    ],
)
def test_what_cannot_be_loaded_or_read_ends_the_start(models: Path, flag: str, words: str) -> None:
    command = [COMMAND, "serve", f"--model_base_path={models / 'tagged'}", "--port=0", "--rest_api_port=0", flag]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0
    assert words in ended.stdout + ended.stderr
