"""Contract 4.5: warm-up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from hotserve.codecs.tfrecord import frame
from hotserve.protos import messages
from support.contract import Publish, Reloadable, floats, lines, model_spec, predict_request

# Each version is one of another model: a version that serves would not be loaded again from another base path.
names = (f"warm_{number}" for number in itertools.count())

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000


def predict_log(signature: str = "", **inputs: messages.TensorProto) -> bytes:
    # The name and the version in a record are ignored.
    request = predict_request("whatever", signature, **inputs)
    request.model_spec.version.value = 99
    return messages.PredictionLog(predict_log=messages.PredictLog(request=request)).SerializeToString()


def regress_log(signature: str, *features: str) -> bytes:
    request = messages.RegressionRequest(model_spec=model_spec("whatever", signature=signature))
    example = request.input.example_list.examples.add()
    for name in features:
        example.features.feature[name].float_list.value.append(1.0)
    return messages.PredictionLog(regress_log=messages.RegressLog(request=request)).SerializeToString()


def multi_log(signature: str) -> bytes:
    request = messages.MultiInferenceRequest()
    request.tasks.add(model_spec=model_spec("w", signature=signature), method_name="tensorflow/serving/regress")
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    log = messages.MultiInferenceLog(request=request)
    return messages.PredictionLog(multi_inference_log=log).SerializeToString()


ONE = predict_log(x=floats(1.0))


@lines(
    "payloads",
    {
        "predict_log": [[ONE]],
        "predict_log of a signature": [[predict_log("serving_default", x=floats(1.0))]],
        "regress_log": [[regress_log("regress", "x")]],
        "multi_inference_log": [[multi_log("regress")]],
        "no log_type is skipped": [[b"", messages.PredictionLog(log_metadata={}).SerializeToString(), ONE]],
        "no records": [[]],
        "1000 records": [[ONE] * MAX_RECORDS],
    },
)
def test_a_version_is_available_after_its_warm_up(
    reloadable: Reloadable, publish: Publish, tmp_path: Path, payloads: Sequence[bytes]
) -> None:
    model = next(names)
    reloadable.reload(with_records(publish, tmp_path, model, b"".join(map(frame, payloads))))
    assert reloadable.answer(model) == 1.0


def with_records(publish: Publish, tmp_path: Path, model: str, content: bytes) -> str:
    entry = publish(model, {"1": 1})
    file = tmp_path / model / "1" / WARMUP_FILE
    file.parent.mkdir()
    file.write_bytes(content)
    return entry


@lines(
    "content, code, text",
    {
        "session_run_log": [
            frame(messages.PredictionLog(session_run_log={}).SerializeToString()),
            "UNIMPLEMENTED",
            "Unsupported log_type for warmup: 5",
        ],
        "predict_streamed_log": [
            frame(messages.PredictionLog(predict_streamed_log={}).SerializeToString()),
            "UNIMPLEMENTED",
            "Unsupported log_type for warmup: 7",
        ],
        "more than 1000 records": [
            frame(ONE) * (MAX_RECORDS + 1),
            "INVALID_ARGUMENT",
            "Number of warmup records exceeds the maximum (1000) at ",
        ],
        "an unparsable payload": [frame(b"\xff\xff"), "INVALID_ARGUMENT", "Failed to parse warmup record: "],
        "no TFRecord file": [b"no records at all", "DATA_LOSS", "corrupted record at 0"],
        "a flipped bit": [
            frame(ONE)[:-5] + bytes([frame(ONE)[-5] ^ 1]) + frame(ONE)[-4:],
            "DATA_LOSS",
            "corrupted record at ",
        ],
        "cut off": [frame(ONE) + frame(ONE)[:-3], "DATA_LOSS", f"truncated record at {len(frame(ONE))}"],
        "a request with an unknown signature": [
            frame(predict_log("zzz", x=floats(1.0))),
            "FAILED_PRECONDITION",
            'Serving signature key "zzz" not found.',
        ],
        "a request without the input": [
            frame(predict_log()),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1",
        ],
        "an example without the feature": [
            frame(regress_log("regress")),
            "INVALID_ARGUMENT",
            "Name: <unknown>, Feature: x (data type: float) is required but could not be found.",
        ],
    },
)
def test_every_warm_up_error_fails_the_load(
    reloadable: Reloadable, publish: Publish, tmp_path: Path, content: bytes, code: str, text: str
) -> None:
    model = next(names)
    failed, whole = reloadable.refusal(with_records(publish, tmp_path, model, content))
    assert failed == "UNKNOWN"
    beginning = f"1 model(s) did not become available: {{{{{{name: {model} version: 1}} due to error: {code}: "
    assert whole.startswith(beginning)
    found = reloadable.end(model, 1)
    assert found[0] == code
    assert found[1].startswith(text)
    if code == "DATA_LOSS":
        assert "Please verify your warmup data is in TFRecord format." in found[1]


def test_a_long_error_is_whole_in_the_status_and_cut_in_the_error_of_a_call(
    reloadable: Reloadable, publish: Publish, tmp_path: Path
) -> None:
    model, signature = next(names), "z" * 3000
    content = frame(predict_log(signature, x=floats(1.0)))
    _, cut = reloadable.refusal(with_records(publish, tmp_path, model, content))
    assert cut.endswith("z...TRUNCATED")
    _, whole = reloadable.end(model, 1)
    assert whole.startswith(f'Serving signature key "{signature}" not found.')


def test_without_a_file_the_log_says_so(reloadable: Reloadable, publish: Publish, tmp_path: Path) -> None:
    reloadable.reload(publish("cold", {"1": 1}))
    assert f"No warmup data file found at {tmp_path / 'cold' / '1' / WARMUP_FILE}" in reloadable.server.log()


def test_the_framing_has_the_check_vector_of_the_contract() -> None:
    assert frame(b"hello") == bytes.fromhex("0500000000000000eab2043e68656c6c6fbb1f1c19")
