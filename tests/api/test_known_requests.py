"""A request like one that has been answered takes a short cut; here nobody can tell from the answers that it did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs import compiled
from hotserve.codecs.compiled import read_predict
from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.core.served_versions import ModelSpec
from hotserve.errors import InvalidArgument
from hotserve.protos import messages
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from support.in_process import PREDICT, InProcess, ToyServable, adder

SPECS = {
    "x": TensorSpec(DType.FLOAT, (None,), "x:0"),
    "n": TensorSpec(DType.INT32, (None,), "n:0"),
    "b": TensorSpec(DType.BOOL, (None,), "b:0"),
    "h": TensorSpec(DType.HALF, (None,), "h:0"),
}
OUTPUTS = {"y": TensorSpec(DType.FLOAT, None, "y:0"), "count": TensorSpec(DType.INT64, None, "c:0")}


def choosy() -> ToyServable:
    """Tells of all inputs in two outputs, with a row for each row of the first; refuses a 7."""

    def run(signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        total = sum(float(array.astype(np.float64).sum()) for array in inputs.values())
        if total == 7:
            raise InvalidArgument("I do not like the number seven")
        first = inputs[min(inputs)]
        rows = len(first) if first.ndim else 1
        return {"y": np.full((rows, 2), total, np.float32), "count": np.full((rows,), len(signature), np.int64)}

    def signature(*names: str, **more: Any) -> Signature:
        return Signature({name: SPECS[name] for name in names}, OUTPUTS, **more)

    return ToyServable(
        {
            DEFAULT_SIGNATURE: signature("x"),
            "two": signature("x", "n"),
            "flags": signature("b"),
            "halves": signature("h"),
            "strict": signature("x", "n", enforces_shapes=True),
            "defaults": signature("x", "n", defaults={"n": np.int32([5])}),
        },
        run,
    )


def make() -> InProcess:
    return InProcess({"m": {1: choosy()}, "other": {1: adder(1), 2: adder(2)}}, labels={"other": {"old": 1}})


@pytest.fixture(scope="module")
def remembering() -> Iterator[InProcess]:
    with make() as running:
        yield running


@pytest.fixture(scope="module")
def forgetful() -> Iterator[InProcess]:
    with make() as running:
        yield running


def forget(apis: InProcess, model: str = "m") -> None:
    with apis.manager.lease(ModelSpec(model)) as lease:
        lease.remembered.clear()


def known(apis: InProcess, model: str = "m") -> int:
    with apis.manager.lease(ModelSpec(model)) as lease:
        return len(lease.remembered)


SIGNATURES = st.sampled_from(["", DEFAULT_SIGNATURE, "two", "flags", "halves", "strict", "defaults", "none"])
NAMES = st.sampled_from(["x", "n", "b", "h", "z"])

leaves = st.sampled_from([0, 1, 3, 7, -1, 2.5, 1e40, True, False, "a"])
values = st.one_of(
    leaves,
    st.lists(leaves, min_size=1, max_size=2),
    st.lists(st.lists(st.sampled_from([1, 2.5]), min_size=1, max_size=2), min_size=1, max_size=2),
)
named = st.dictionaries(NAMES, values, min_size=1, max_size=2)
documents = st.builds(
    lambda key, value, name: {**({"signature_name": name} if name else {}), key: value},
    st.sampled_from(["instances", "inputs"]),
    st.one_of(values, named, st.lists(named, min_size=1, max_size=2)),
    SIGNATURES,
)


@given(documents)
def test_over_rest_the_same_body_has_the_same_answer_again_and_where_nothing_is_remembered(
    remembering: InProcess, forgetful: InProcess, document: Mapping[str, Any]
) -> None:
    forget(forgetful)
    expected = forgetful.rest("POST", "/v1/models/m:predict", document)
    for _ in range(2):
        answer = remembering.rest("POST", "/v1/models/m:predict", document)
        assert (answer.status, answer.body, answer.content_type) == (
            expected.status,
            expected.body,
            expected.content_type,
        )


tensors = st.builds(
    lambda dtype, shape, value, as_content: encode_tensor(np.full(shape, value, dtype.numpy), dtype, as_content),
    st.sampled_from([DType.FLOAT, DType.INT32, DType.BOOL, DType.HALF, DType.DOUBLE]),
    st.lists(st.integers(0, 2), max_size=2).map(tuple),
    st.sampled_from([0, 1, 3, 7]),
    st.booleans(),
)


@given(
    SIGNATURES, st.dictionaries(NAMES, tensors, max_size=2), st.lists(st.sampled_from(["y", "count", "z"]), max_size=2)
)
def test_over_grpc_the_same_message_has_the_same_answer_again_and_where_nothing_is_remembered(
    remembering: InProcess, forgetful: InProcess, signature: str, inputs: Mapping[str, Any], wanted: list[str]
) -> None:
    request = messages.PredictRequest(output_filter=wanted)
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    forget(forgetful)
    expected = forgetful.call(PREDICT, request)
    for _ in range(2):
        answer = remembering.call(PREDICT, request)
        assert answer.message == expected.message
        assert str(answer.error) == str(expected.error)


def counted(apis: InProcess) -> dict[tuple[str, ...], int]:
    return dict(apis.metrics.requests.cells())


def test_what_takes_the_short_cut_is_counted_like_all_else(forgetful: InProcess) -> None:
    request = messages.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(encode_tensor(np.float32([1]), DType.FLOAT))
    for send in (
        lambda: forgetful.call(PREDICT, request),
        lambda: forgetful.rest("POST", "/v1/models/m:predict", {"instances": [1.0]}),
    ):
        forget(forgetful)
        before = counted(forgetful)
        send()
        once = counted(forgetful)
        assert known(forgetful) == compiled.IS_USED
        send()
        twice = counted(forgetful)
        first = {key: number - before.get(key, 0) for key, number in once.items() if number != before.get(key, 0)}
        second = {key: number - once.get(key, 0) for key, number in twice.items() if number != once.get(key, 0)}
        assert first == second != {}


@pytest.mark.skipif(not compiled.IS_USED, reason="without the extension there is no short cut")
def test_a_body_that_is_known_but_for_its_values_is_read_with_those(remembering: InProcess) -> None:
    for value in (1.0, 2.5, -3.0):
        status, document = remembering.predict("/v1/models/m:predict", {"instances": [value]})
        assert (status, document) == (200, {"predictions": [{"y": [value, value], "count": 15}]})
        request = messages.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(encode_tensor(np.float32([value]), DType.FLOAT))
        assert read_predict(request.SerializeToString()) is not None
        answer = messages.PredictResponse.FromString(remembering.call(PREDICT, request).message)
        assert decode_tensor(answer.outputs["y"]).tolist() == [[value, value]]


def test_each_version_answers_by_what_is_known_of_itself(remembering: InProcess) -> None:
    request = messages.PredictRequest()
    request.inputs["x"].CopyFrom(encode_tensor(np.float32([1]), DType.FLOAT))
    request.model_spec.name = "other"

    def answers() -> list[tuple[float, int]]:
        found = []
        for label in ("", "old"):
            request.model_spec.version_label = label
            if not label:
                request.model_spec.ClearField("version_choice")
            response = messages.PredictResponse.FromString(remembering.call(PREDICT, request).message)
            found.append((decode_tensor(response.outputs["y"]).item(), response.model_spec.version.value))
            path = f"/v1/models/other{'/labels/old' if label else ''}:predict"
            document = json.loads(remembering.rest("POST", path, {"instances": [1.0]}).body)
            assert document == {"predictions": [found[-1][0]]}
        return found

    for _ in range(2):
        assert answers() == [(3.0, 2), (2.0, 1)]
    remembering.serve("other", 1)
    for _ in range(2):
        assert answers() == [(2.0, 1), (2.0, 1)]
    remembering.serve("other", 1, 2)
    assert known(remembering, "other") == 0
    for _ in range(2):
        assert answers() == [(3.0, 2), (2.0, 1)]


def test_a_known_signature_that_must_not_be_called_is_refused_all_the_same(remembering: InProcess) -> None:
    for _ in range(2):
        status, document = remembering.predict("/v1/models/m:predict", {"signature_name": "none", "instances": [1.0]})
        assert status == 400
        assert "not found in signature def" in document["error"]
