from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import prediction_log_pb2

from hotserve.core.servable import Servable
from hotserve.errors import Code, Internal, ServingError
from hotserve.handlers.recorded_request import RecordedRequests
from hotserve.handlers.recorded_warmup import MAX_RECORDS, RecordedWarmUp
from hotserve.observability.metrics import Metrics
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from support.prediction_logs import WARMUP_FILE, predict_log, write_records

FLOATS = TensorSpec(DType.FLOAT, (None,))
EXAMPLES = TensorSpec(DType.STRING, (None,))
SCORES = TensorSpec(DType.FLOAT, (None, None))


@dataclass
class Recorder:
    """A servable that remembers its runs: signature, inputs, outputs.

    Attributes:
        runs: The runs, in order.
        error: What the next run raises.
    """

    runs: list[tuple[str, Mapping[str, Array], Sequence[str]]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return {
            DEFAULT_SIGNATURE: Signature({"x": FLOATS}, {"y": FLOATS, "z": FLOATS}),
            "classify": Signature({"inputs": EXAMPLES}, {"scores": SCORES}),
            "regress": Signature({"inputs": EXAMPLES}, {"outputs": FLOATS}),
            "mine": Signature({"x": FLOATS}, {"y": FLOATS}, method_name="mine"),
        }

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.runs.append((signature_name, inputs, outputs))
        if self.error is not None:
            raise self.error
        rows = len(next(iter(inputs.values())))
        return {name: np.zeros((rows, 1) if name == "scores" else rows, np.float32) for name in outputs}

    def unload(self) -> None:
        raise AssertionError("a warm-up does not unload")


@dataclass
class Bench:
    """A version folder, and a warm-up to try on it."""

    path: Path
    servable: Recorder = field(default_factory=Recorder)
    metrics: Metrics = field(default_factory=Metrics)
    made_up: list[Path] = field(default_factory=list)
    check_method_name: bool = False

    def warm_up(self, *records: Any, iterations: int = 0) -> None:
        write_records(self.path / WARMUP_FILE, records)
        self.run(iterations)

    def run(self, iterations: int = 0) -> None:
        def otherwise(servable: Servable, path: Path) -> None:
            self.made_up.append(path)

        requests = RecordedRequests(self.metrics, check_method_name=self.check_method_name)
        RecordedWarmUp(requests, self.metrics, iterations=iterations, otherwise=otherwise)(self.servable, self.path)

    def refused(self, *records: Any) -> ServingError:
        with pytest.raises(ServingError) as caught:
            self.warm_up(*records)
        return caught.value

    @property
    def file(self) -> Path:
        return self.path / WARMUP_FILE


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "digits" / "7")


def examples_log(kind: str, signature: str) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, kind).request
    request.model_spec.signature_name = signature
    request.input.example_list.examples.add().features.feature["age"].float_list.value.append(41)
    return log


def multi_inference_log() -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.multi_inference_log.request
    for verb in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{verb}")
        task.model_spec.name = "whatever"
        task.model_spec.signature_name = verb
    request.input.example_list.examples.add()
    return log


def test_a_recorded_predict_request_runs_with_its_inputs_and_all_outputs(bench: Bench) -> None:
    bench.warm_up(predict_log({"x": [1, 2]}))

    ((signature, inputs, outputs),) = bench.servable.runs
    assert (signature, list(outputs)) == (DEFAULT_SIGNATURE, ["y", "z"])
    assert inputs["x"].tolist() == [1.0, 2.0]


def test_method_names_are_checked_where_that_is_asked_for(bench: Bench) -> None:
    bench.check_method_name = True
    bench.warm_up(predict_log({"x": [1, 2]}))
    error = bench.refused(examples_log("classify_log", "classify"))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith("Expected classification signature method_name to be tensorflow/serving/classify.")
    log = predict_log({"x": [1, 2]})
    log.predict_log.request.model_spec.signature_name = "mine"
    error = bench.refused(log)
    assert error.code is Code.INTERNAL
    assert error.message.startswith("Expected prediction signature method_name to be one of {tensorflow/serving/pred")
    assert error.message.endswith(f"(warm-up record 1 of {bench.file})")


def test_a_recorded_output_filter_counts(bench: Bench) -> None:
    log = predict_log({"x": [1]})
    log.predict_log.request.output_filter.append("z")

    bench.warm_up(log)

    assert [outputs for _, _, outputs in bench.servable.runs] == [["z"]]


def test_all_kinds_of_requests_run_on_the_signature_that_they_name_and_on_whatever_version_this_is(
    bench: Bench,
) -> None:
    bench.warm_up(
        predict_log({"x": [1]}),
        examples_log("classify_log", "classify"),
        examples_log("regress_log", "regress"),
        multi_inference_log(),
    )

    assert [name for name, _, _ in bench.servable.runs] == [
        DEFAULT_SIGNATURE,
        "classify",
        "regress",
        "classify",
        "regress",
    ]


@pytest.mark.parametrize(("iterations", "runs"), [(-1, 1), (0, 1), (1, 1), (3, 3)])
def test_each_record_runs_as_often_as_the_flag_says_and_at_least_once(bench: Bench, iterations: int, runs: int) -> None:
    bench.warm_up(predict_log({"x": [1]}), predict_log({"x": [2]}), iterations=iterations)

    assert [inputs["x"].tolist() for _, inputs, _ in bench.servable.runs] == [[1.0]] * runs + [[2.0]] * runs


def test_a_record_without_a_request_is_passed_over(bench: Bench) -> None:
    bench.warm_up(prediction_log_pb2.PredictionLog(), predict_log({"x": [1]}))

    assert len(bench.servable.runs) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_a_version_has_either_recorded_or_made_up_requests(bench: Bench, exists: bool) -> None:
    if exists:
        bench.warm_up(predict_log({"x": [1]}))
    else:
        bench.run()

    assert bench.made_up == ([] if exists else [bench.path])
    assert len(bench.servable.runs) == exists


@pytest.mark.parametrize(("kind", "number"), [("session_run_log", 5), ("predict_streamed_log", 7)])
def test_other_kinds_of_requests_fail_the_load(bench: Bench, kind: str, number: int) -> None:
    log = prediction_log_pb2.PredictionLog()
    getattr(log, kind).SetInParent()

    error = bench.refused(log)

    assert error.code is Code.UNIMPLEMENTED
    assert error.message.startswith(f"Unsupported log_type for warmup: {number}")


def test_as_many_records_as_allowed_run_and_one_more_fails_the_load(bench: Bench) -> None:
    records = [predict_log({"x": [1]})] * MAX_RECORDS
    bench.warm_up(*records)
    assert len(bench.servable.runs) == MAX_RECORDS

    error = bench.refused(*records, records[0])

    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith(f"Number of warmup records exceeds the maximum (1000) at {bench.file}")


def test_a_record_that_is_no_prediction_log_fails_the_load(bench: Bench) -> None:
    error = bench.refused(predict_log({"x": [1]}), b"\xffno message")

    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith(rf"Failed to parse warmup record: \xffno message from {bench.file}")
    assert "record 2" in error.message


@pytest.mark.parametrize(
    ("data", "reader"),
    [
        (b"{'instances': [1, 2, 3]}", "corrupted record at 0 (Is this even a TFRecord file?)"),
        (bytes.fromhex("0500000000000000eab2043e68"), "truncated record at 0' failed with Read less bytes"),
    ],
)
def test_a_file_that_is_no_tfrecord_file_fails_the_load(bench: Bench, data: bytes, reader: str) -> None:
    bench.file.parent.mkdir(parents=True)
    bench.file.write_bytes(data)

    pattern = f"{re.escape(reader)}.*\\. Please verify your warmup data is in TFRecord format\\."
    with pytest.raises(ServingError, match=pattern) as caught:
        bench.run()

    assert caught.value.code is Code.DATA_LOSS


def test_a_folder_in_place_of_the_file_fails_the_load_with_a_reason(bench: Bench) -> None:
    bench.file.mkdir(parents=True)

    with pytest.raises(ServingError, match="cannot be read: Is a directory"):
        bench.run()


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (predict_log({"w": [1]}), "input size does not match signature|Inputs contains invalid name|not found in"),
        (predict_log({"x": [1]}, "other"), 'Serving signature key "other" not found'),
        (predict_log({"x": b"text"}), "Expects arg\\[0\\] to be float but string is provided"),
        (examples_log("classify_log", "regress"), "Expected classification signature outputs to contain"),
        (examples_log("regress_log", "classify"), "No regression outputs found in SignatureDef"),
    ],
)
def test_a_request_that_fails_fails_the_load_with_its_error_and_its_place(bench: Bench, log: Any, words: str) -> None:
    error = bench.refused(predict_log({"x": [1]}), log)

    assert re.search(words, error.message)
    assert error.message.endswith(f"(warm-up record 2 of {bench.file})")


def test_a_tensor_that_contradicts_itself_fails_the_load(bench: Bench) -> None:
    log = predict_log({"x": [1]})
    log.predict_log.request.inputs["x"].tensor_content = b"123"

    assert bench.refused(log).message.startswith("tensor parsing error: x: ")


def test_an_error_of_the_engine_keeps_its_code(bench: Bench) -> None:
    bench.servable.error = Internal("a kernel is missing")

    error = bench.refused(predict_log({"x": [1]}))

    assert (error.code, error.message.startswith("a kernel is missing")) == (Code.INTERNAL, True)


def test_warm_ups_are_counted_with_how_they_ended(bench: Bench) -> None:
    bench.warm_up(predict_log({"x": [1]}), predict_log({"x": [2]}))
    bench.refused(predict_log({"x": [1]}, "other"))

    read = dict(bench.metrics.model_warmup_records_read.cells())
    assert read.pop((str(bench.path), "OK")) == 2
    ((path, status),) = read
    assert path == str(bench.path)
    assert status.startswith('FAILED_PRECONDITION: Serving signature key "other" not found')
    assert [sum(cell.counts) for _, cell in bench.metrics.model_warmup_latency.cells()] == [1, 1]


def test_recorded_runs_are_counted_under_the_names_of_their_models_and_their_apis(bench: Bench) -> None:
    named = predict_log({"x": [1]})
    named.predict_log.request.model_spec.name = "somebody"
    bench.warm_up(
        named,
        predict_log({"x": [1]}),
        examples_log("classify_log", "classify"),
        examples_log("regress_log", "regress"),
        multi_inference_log(),
    )

    latencies = {labels: sum(cell.counts) for labels, cell in bench.metrics.runtime_latency.cells()}
    # Two of these requests name no model: they go by the name of the folder.
    assert latencies == {
        ("digits", "Classify", "unknown"): 1,
        ("whatever", "Predict", "unknown"): 1,
        ("digits", "Regress", "unknown"): 1,
        ("somebody", "Predict", "unknown"): 1,
    }
    assert bench.metrics.run_duration.cells() == []
    assert bench.metrics.graph_runs.cells() == [((), 6)]


def test_a_recorded_run_that_fails_is_not_counted_as_one(bench: Bench) -> None:
    bench.refused(predict_log({"x": [1]}, signature="nope"))
    assert bench.metrics.runtime_latency.cells() == []
    assert bench.metrics.graph_runs.cells() == [((), 0)]
