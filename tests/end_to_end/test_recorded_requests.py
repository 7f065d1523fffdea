from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_service_pb2_grpc

from support.prediction_logs import WARMUP_FILE, predict_log, read_records, write_records
from support.server_process import COMMAND, ServerProcess
from support.versioned_models import WIDTH, onnx_version, publish

REST_REQUESTS = 5
GRPC_REQUESTS = 4


class Classifier(tf.Module):
    """Predict, classify and regress; every answer depends on the version."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def add(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + self.version, "text": tf.strings.as_string(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        age = tf.io.parse_example(inputs, {"age": tf.io.FixedLenFeature([1], tf.float32)})["age"]
        return {"scores": tf.concat([age, self.version - age], 1)}


def saved_model(folder: Path, version: int) -> None:
    module = Classifier(version)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.add, "classify": module.classify})


@dataclass
class Logged:
    """A server that has logged its requests and has been stopped.

    Attributes:
        folder: The folder of models and logs.
        log: The TFRecord file that it wrote.
        lines: The JSON lines that it wrote.
        metrics: Its metrics page, before the end.
    """

    folder: Path
    log: Path
    lines: Path
    metrics: str


def config(folder: Path, *models: str) -> str:
    file = folder / f"{len(models)}.config"
    file.write_text(f"model_config_list {{ {' '.join(f'config {{ {model} }}' for model in models)} }}")
    return f"--model_config_file={file}"


def logging_config(type: str, prefix: str) -> str:
    return (
        f"logging_config {{ log_collector_config {{ type: '{type}' filename_prefix: 'logs/{prefix}' }}"
        " sampling_config { sampling_rate: 1 } }"
    )


def hotserve(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "logs").mkdir()
    saved_model(folder / "m" / "1", 1)
    onnx_version(folder / "n" / "1", 1)
    flags = config(
        folder,
        f"name: 'm' base_path: 'm' {logging_config('tfrecord', 'm')}",
        f"name: 'n' base_path: 'n' {logging_config('jsonl', 'n')}",
    )
    one_file_each = "--workers=1"
    with ServerProcess(flags, one_file_each) as server, grpc.insecure_channel(server.grpc_target) as channel:
        send_traffic(server, prediction_service_pb2_grpc.PredictionServiceStub(channel))
        metrics = server.get("/monitoring/prometheus/metrics")[1].decode()
        assert server.stop() == 0
    (log,) = (folder / "logs").glob("m-*.tfrecord")
    (lines,) = (folder / "logs").glob("n-*.jsonl")
    return Logged(folder, log, lines, metrics)


def send_traffic(server: ServerProcess, stub: prediction_service_pb2_grpc.PredictionServiceStub) -> None:
    """Requests of every kind to `m`, and one of each API to `n`."""
    for number in range(REST_REQUESTS):
        assert server.post("/v1/models/m:predict", {"instances": [number, 0.1]})[0] == 200
    for number in range(GRPC_REQUESTS):
        request = predict_pb2.PredictRequest(output_filter=["y"] if number % 2 else [])
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([number / 3])))
        stub.Predict(request, timeout=30)
    assert server.post("/v1/models/m:classify", {"signature_name": "classify", "examples": [{"age": 41.5}]})[0] == 200
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name, classify.model_spec.signature_name = "m", "classify"
    classify.input.example_list.examples.add().features.feature["age"].float_list.value.append(7)
    stub.Classify(classify, timeout=30)
    # Of these two, one fails: only answers are logged.
    assert server.post("/v1/models/m:predict", {"instances": ["no number"]})[0] == 400
    assert server.post("/v1/models/n:predict", {"instances": [[0.5] * WIDTH]})[0] == 200


@pytest.fixture(scope="module")
def next_server(logged: Logged) -> Iterator[ServerProcess]:
    """A later server of the same models: `m` with a version 2 that is warmed up with the log."""
    saved_model(logged.folder / "m" / "2", 2)
    warmup = logged.folder / "m" / "2" / WARMUP_FILE
    warmup.parent.mkdir()
    warmup.write_bytes(logged.log.read_bytes())
    flags = config(
        logged.folder, "name: 'm' base_path: 'm' model_version_policy { all {} }", "name: 'n' base_path: 'n'"
    )
    with ServerProcess(flags, "--workers=1") as server:  # records are counted in each worker
        server.wait_state("m", 2, "AVAILABLE")
        yield server


def test_tensorflow_reads_the_log_and_it_holds_every_answered_request_in_its_order(logged: Logged) -> None:
    records = read_records(logged.log)

    kinds = [record.WhichOneof("log_type") for record in records]
    assert kinds == ["predict_log"] * (REST_REQUESTS + GRPC_REQUESTS) + ["classify_log"] * 2
    for number, record in enumerate(records[:REST_REQUESTS]):
        x = tf.make_ndarray(record.predict_log.request.inputs["x"])
        assert x.dtype == np.float32
        assert x.tolist() == np.float32([number, 0.1]).tolist()
        assert tf.make_ndarray(record.predict_log.response.outputs["y"]).tolist() == (x + 1).tolist()
    assert list(records[REST_REQUESTS + 1].predict_log.request.output_filter) == ["y"]
    for record in records:
        assert (record.log_metadata.model_spec.name, record.log_metadata.model_spec.version.value) == ("m", 1)
        assert record.log_metadata.sampling_config.sampling_rate == 1.0
    rest, over_grpc = (record.classify_log for record in records[-2:])
    assert rest.request.input.example_list.examples[0].features.feature["age"].float_list.value == [41.5]
    assert [c.score for c in rest.response.result.classifications[0].classes] == [41.5, -40.5]
    assert [c.score for c in over_grpc.response.result.classifications[0].classes] == [7.0, -6.0]


def test_json_lines_hold_the_same_as_json(logged: Logged) -> None:
    (line,) = logged.lines.read_text().splitlines()

    record = json.loads(line)
    assert record["log_metadata"]["model_spec"]["name"] == "n"
    assert record["predict_log"]["request"]["inputs"]["x"]["float_val"] == [0.5] * WIDTH
    assert record["predict_log"]["response"]["outputs"]["y"]["float_val"] == [1.5] * WIDTH


def test_logged_requests_are_counted(logged: Logged) -> None:
    count = REST_REQUESTS + GRPC_REQUESTS + 2
    assert f':tensorflow:serving:request_log_count{{model_name="m",status_code="OK"}} {count}' in logged.metrics


def test_a_log_in_a_version_s_folder_warms_it_up(logged: Logged, next_server: ServerProcess) -> None:
    count = REST_REQUESTS + GRPC_REQUESTS + 2
    path = logged.folder / "m" / "2"

    page = next_server.get("/monitoring/prometheus/metrics")[1].decode()

    assert f':tensorflow:serving:model_warmup_records_read{{model_path="{path}",status="OK"}} {count}' in page
    assert f"No warmup data file found at {logged.folder / 'm' / '1' / WARMUP_FILE}" in next_server.log()


def test_a_replay_to_the_same_version_finds_no_difference(logged: Logged, next_server: ServerProcess) -> None:
    done = hotserve("replay", logged.log, logged.lines, "--to", next_server.url, "--version=1")

    count = REST_REQUESTS + GRPC_REQUESTS + 3
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{count} records: {count} the same, 0 different, 0 answered with an error, 0 left out\n"


def test_a_replay_to_another_version_tells_the_differences(logged: Logged, next_server: ServerProcess) -> None:
    done = hotserve("replay", logged.log, "--to", next_server.url, "--examples=1")

    count = REST_REQUESTS + GRPC_REQUESTS + 2
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{count} records: 0 the same, {count} different, 0 answered with an error, 0 left out",
        "  output scores: different in 2 answers, by 1 at most",
        f"  output y: different in {count - 2} answers, by 1 at most",
        "  record 1: y[0] is 2.0, recorded was 1.0",
    ]


def test_a_difference_that_is_allowed_is_none(logged: Logged, next_server: ServerProcess) -> None:
    done = hotserve("replay", logged.log, "--to", next_server.url, "--atol=1.001", "--limit=3")

    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        "3 records: 3 the same, 0 different, 0 answered with an error, 0 left out",
    )


def test_a_replay_to_a_server_that_is_not_there_says_so(logged: Logged) -> None:
    done = hotserve("replay", logged.log, "--to", "http://127.0.0.1:9")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hotserve replay: http://127.0.0.1:9 does not answer: ")


def test_warm_up_files_can_be_written_from_bodies_with_the_signatures_of_a_folder_or_of_a_server(
    logged: Logged, next_server: ServerProcess, tmp_path: Path
) -> None:
    bodies = tmp_path / "requests.jsonl"
    bodies.write_text('{"instances": [1, 2.5]}\n\n{"inputs": {"x": [3]}, "signature_name": "serving_default"}\n')

    for number, source in enumerate(
        (
            [f"--version_path={logged.folder / 'm' / '1'}"],
            [f"--from_server={next_server.url}", "--model_name=m", "--version=1"],
        )
    ):
        output = tmp_path / str(number) / "assets.extra" / "tf_serving_warmup_requests"
        done = hotserve("warmup", "write", bodies, f"--output={output}", *source)
        assert (done.returncode, done.stdout) == (0, f"2 requests written to {output}\n"), done.stderr
        inputs = [tf.make_ndarray(record.predict_log.request.inputs["x"]) for record in read_records(output)]
        assert [(array.dtype.name, array.tolist()) for array in inputs] == [
            ("float32", [1.0, 2.5]),
            ("float32", [3.0]),
        ]


def test_a_version_whose_warm_up_fails_is_not_served_says_why_and_is_served_with_warm_up_turned_off(
    tmp_path: Path,
) -> None:
    onnx_version(tmp_path / "n" / "1", 1)
    onnx_version(tmp_path / "prepared", 2)
    write_records(tmp_path / "prepared" / WARMUP_FILE, [predict_log({"x": [[1.0]]})])
    flags = ("--model_name=n", f"--model_base_path={tmp_path / 'n'}", "--file_system_poll_wait_seconds=0.1")

    with ServerProcess(*flags) as server:
        publish(tmp_path / "prepared", tmp_path / "n", 2)
        server.wait_state("n", 2, "END")
        assert server.states("n")[1] == "AVAILABLE"
        assert f"(warm-up record 1 of {tmp_path / 'n' / '2' / WARMUP_FILE})" in server.status_texts("n")[2]
    with ServerProcess(*flags, "--enable_model_warmup=false") as server:
        server.wait_state("n", 2, "AVAILABLE")


def test_a_log_collector_that_there_is_not_ends_the_start(tmp_path: Path) -> None:
    flags = config(tmp_path, f"name: 'm' base_path: 'm' {logging_config('kafka', 'm')}")

    done = hotserve("serve", flags)

    assert done.returncode == 255
    assert "Error: NOT_FOUND: Cannot find LogCollector::Factory for type: kafka" in done.stdout
