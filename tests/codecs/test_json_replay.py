from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hotserve.codecs.inference_results import Classified, Regressed, classification_result, regression_result
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_examples import decode_examples
from hotserve.codecs.json_replay import answer_like, recorded_answer, rest_call
from hotserve.codecs.json_request import decode_predict, signature_name
from hotserve.codecs.json_response import encode_predictions
from hotserve.codecs.json_results import encode_classifications, encode_regressions
from hotserve.codecs.tensor_proto import encode_tensor
from hotserve.errors import ServingError
from hotserve.protos.messages import (
    Example,
    ExampleList,
    ExampleListWithContext,
    Feature,
    Features,
    FloatList,
    Input,
    PredictionLog,
)
from hotserve.tensors import Array, Signature, TensorSpec, dtype_of_array

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.int64, np.uint64, np.bool_]


def strings(*values: bytes) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def predict_record(inputs: dict[str, Array], outputs: dict[str, Array], signature: str = "") -> PredictionLog:
    log = PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    for alias, array in inputs.items():
        log.predict_log.request.inputs[alias].CopyFrom(encode_tensor(array, dtype_of_array(array)))
    for alias, array in outputs.items():
        log.predict_log.response.outputs[alias].CopyFrom(encode_tensor(array, dtype_of_array(array)))
    return log


def read_as_server(body: bytes, like: dict[str, Array]) -> dict[str, Array]:
    """The arrays that a server makes of a request."""
    signature = Signature({alias: TensorSpec(dtype_of_array(array), None) for alias, array in like.items()}, {})
    return dict(decode_predict(parse_document(body), signature, "").inputs)


def assert_same(one: Array, other: Array) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert np.array_equal(one, other, equal_nan=one.dtype.kind in "fV")


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@given(data=st.data())
def test_numbers_arrive_as_they_were_recorded(dtype: Any, data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=3, max_side=3))
    if np.dtype(dtype).kind == "V":
        array = data.draw(arrays.arrays(np.float32, shape)).astype(dtype)
    else:
        array = data.draw(arrays.arrays(dtype, shape))
    record = predict_record({"x": array}, {})

    call = rest_call(record)

    assert call.verb == "predict"
    assert_same(read_as_server(call.body, {"x": array})["x"], array)


@given(arrays.arrays(object, arrays.array_shapes(max_dims=2, max_side=3), elements=st.binary(max_size=9)))
def test_strings_of_any_bytes_arrive_as_they_were_recorded(array: Array) -> None:
    record = predict_record({"x": array}, {})

    assert_same(read_as_server(rest_call(record).body, {"x": array})["x"], array)


def test_the_signature_is_named_where_it_was() -> None:
    array = np.float32([1])

    assert signature_name(parse_document(rest_call(predict_record({"x": array}, {}, "other")).body)) == "other"
    assert b"signature_name" not in rest_call(predict_record({"x": array}, {})).body


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("count", [1, 2])
@given(data=st.data())
def test_the_answer_of_the_same_arrays_is_the_recorded_answer(dtype: Any, count: int, data: st.DataObject) -> None:
    elements = {"allow_nan": True} if np.dtype(dtype).kind == "f" else None
    if np.dtype(dtype).kind == "V":
        array = np.array([[0.5, np.nan], [1e30, -2.0]], dtype)
    else:
        array = data.draw(arrays.arrays(dtype, (2, 3), elements=elements))
    outputs = dict.fromkeys("yz"[:count], array)
    document = json.loads(encode_predictions(outputs, row_format=False))

    answer = answer_like(recorded_answer(predict_record({}, outputs)), document)

    assert answer.keys() == outputs.keys()
    for name, expected in outputs.items():
        assert_same(answer[name], expected)


def test_string_answers_are_compared_as_bytes_whether_they_come_as_text_or_as_base64() -> None:
    outputs = {"text": strings(b"caf\xc3\xa9", b"\xff"), "raw_bytes": strings(b"a", b"")}
    document = json.loads(encode_predictions(outputs, row_format=False))

    answer = answer_like(recorded_answer(predict_record({}, outputs)), document)

    assert {name: array.tolist() for name, array in answer.items()} == {
        "text": [b"caf\xc3\xa9", b"\xff"],
        "raw_bytes": [b"a", b""],
    }


def test_outputs_that_were_not_recorded_are_left_out_and_those_that_are_missing_stay_out() -> None:
    recorded = {"y": np.float32([1]), "gone": np.float32([1])}

    assert list(answer_like(recorded, {"outputs": {"y": [1.0], "z": [2.0]}})) == ["y"]
    assert answer_like({"y": np.float32([1]), "z": np.float32([1])}, {"outputs": [1.0]}) == {}


def example(age: float) -> Example:
    return Example(features=Features(feature={"age": Feature(float_list=FloatList(value=[age]))}))


def test_examples_arrive_as_they_were_recorded_with_their_context() -> None:
    context = Example()
    context.features.feature["city"].bytes_list.value.append(b"\xffBern")
    context.features.feature["rooms"].int64_list.value.extend([2, 3])
    log = PredictionLog()
    log.classify_log.request.model_spec.signature_name = "classify"
    listed = ExampleListWithContext(examples=[example(1.5), example(2)], context=context)
    log.classify_log.request.input.CopyFrom(Input(example_list_with_context=listed))

    call = rest_call(log)

    assert call.verb == "classify"
    document = parse_document(call.body)
    assert signature_name(document) == "classify"
    read = [Example.FromString(data) for data in decode_examples(document)]
    assert [e.features.feature["age"].float_list.value[0] for e in read] == [1.5, 2.0]
    assert [e.features.feature["rooms"].int64_list.value[:] for e in read] == [[2, 3]] * 2
    assert read[0].features.feature["city"].bytes_list.value[0] == b"\xffBern"


def test_classes_and_values_are_read_from_rest_as_they_were_recorded() -> None:
    classified = Classified(np.array([[b"cat", b"dog"]], object), np.float32([[0.1, 0.9]]))
    regressed = Regressed(np.float32([0.1, 3]))
    classify, regress = PredictionLog(), PredictionLog()
    classify.classify_log.response.result.CopyFrom(classification_result(classified))
    regress.regress_log.response.result.CopyFrom(regression_result(regressed))
    regress.regress_log.request.input.CopyFrom(Input(example_list=ExampleList(examples=[example(1), example(2)])))

    for log, body in ((classify, encode_classifications(classified)), (regress, encode_regressions(regressed))):
        recorded = recorded_answer(log)
        answer = answer_like(recorded, json.loads(body))
        assert recorded.keys() == answer.keys() != set()
        for name, array in recorded.items():
            assert_same(answer[name], array)
    assert rest_call(regress).verb == "regress"


def multi_inference() -> PredictionLog:
    log = PredictionLog()
    log.multi_inference_log.SetInParent()
    return log


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (multi_inference(), "multi_inference_log cannot be sent over REST"),
        (PredictionLog(), "a record without a request cannot be sent over REST"),
        (predict_record({"x": np.zeros((0, 3), np.float32)}, {}), "input x has no elements"),
        (predict_record({"x": np.complex64([1])}, {}), "input x is of type complex64"),
    ],
)
def test_what_rest_cannot_say_is_refused(log: PredictionLog, words: str) -> None:
    with pytest.raises(ServingError) as caught:
        rest_call(log)

    assert words in caught.value.message


@pytest.mark.parametrize(
    ("recorded", "document"),
    [
        ({"y": np.float32([1])}, {"predictions": [1]}),
        ({"y": np.float32([1])}, {"outputs": {"y": "text"}}),
        ({"y": np.float32([1])}, {"outputs": {"y": [[1], [2, 3]]}}),
        ({"y": np.uint8([1])}, {"outputs": {"y": [1000]}}),
        ({"y": strings(b"a")}, {"outputs": {"y": [1]}}),
        ({"y": strings(b"a")}, {"outputs": {"y": [["a"], ["b", "c"]]}}),
        ({"labels": strings(b"a"), "scores": np.float32([1])}, {"results": [1.0]}),
    ],
)
def test_an_answer_of_another_form_is_an_error(recorded: dict[str, Array], document: dict[str, Any]) -> None:
    with pytest.raises(ServingError):
        answer_like(recorded, document)
