from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.api.predict_messages import encode_large_response, encode_response, encode_responses
from hotserve.codecs.tensor_layout import LAYOUTS
from hotserve.codecs.tensor_proto import serialize_tensor
from hotserve.core.handle import Lease
from hotserve.errors import Internal
from hotserve.protos import messages
from hotserve.tensors import Array, DType, Signature, TensorSpec
from hotserve.testing import FakeServable
from support.leases import lease


def lease_of(name: str = "m", version: int = 3) -> Lease:
    return lease(FakeServable(Path("/models/m/3")), name, version)


def signature(outputs: Mapping[str, DType]) -> Signature:
    return Signature({}, {alias: TensorSpec(dtype, None) for alias, dtype in outputs.items()})


def by_protobuf(answer: Mapping[str, Array], dtypes: Mapping[str, DType], wanted: Sequence[str], raw: bool) -> bytes:
    response = messages.PredictResponse(model_spec=messages.ModelSpec(name="m", signature_name="s"))
    response.model_spec.version.value = 3
    for alias in wanted:
        response.outputs[alias].MergeFromString(serialize_tensor(answer[alias], dtypes[alias], raw))
    return bytes(response.SerializeToString())


def array_of(dtype: DType, shape: tuple[int, ...]) -> Array:
    if dtype is DType.STRING:
        return np.full(shape, b"text", object)
    count = int(np.prod(shape, dtype=int))
    return (np.arange(count) % 5).astype(dtype.numpy).reshape(shape)


@given(
    st.dictionaries(
        st.text("xyz\xe9", max_size=4),
        st.tuples(
            st.sampled_from([LAYOUTS[number].dtype for number in LAYOUTS]),
            st.sampled_from([(), (1,), (3,), (0,), (200,), (2, 3), (2, 70)]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
    st.randoms(),
)
def test_an_answer_is_written_as_protobuf_writes_it(
    outputs: Mapping[str, tuple[DType, tuple[int, ...]]], raw: bool, order: object
) -> None:
    dtypes = {alias: dtype for alias, (dtype, _) in outputs.items()}
    answer = {alias: array_of(dtype, shape) for alias, (dtype, shape) in outputs.items()}
    wanted = list(outputs)
    order.shuffle(wanted)  # type: ignore[attr-defined]
    expected = by_protobuf(answer, dtypes, wanted, raw)
    for _ in range(2):  # what is remembered of the first one says the same
        assert encode_response(lease_of(), "s", signature(dtypes), answer, wanted, raw) == expected
    large = encode_large_response(lease_of(), "s", signature(dtypes), answer, wanted, raw)
    assert messages.PredictResponse.FromString(large) == messages.PredictResponse.FromString(expected)


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.tuples(
            st.sampled_from([DType.FLOAT, DType.INT64, DType.HALF, DType.STRING]), st.sampled_from([(), (2,), (1, 3)])
        ),
        min_size=1,
        max_size=2,
    ),
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.booleans(),
)
def test_each_of_several_requests_has_the_message_that_its_rows_have_alone(
    outputs: Mapping[str, tuple[DType, tuple[int, ...]]], counts: list[int], raw: bool
) -> None:
    dtypes = {alias: dtype for alias, (dtype, _) in outputs.items()}
    answer = {alias: array_of(dtype, (sum(counts), *tail)) for alias, (dtype, tail) in outputs.items()}
    starts = [sum(counts[:index]) for index in range(len(counts))]
    wanted = list(outputs)
    assert encode_responses(lease_of(), "s", signature(dtypes), answer, wanted, raw, starts, counts) == [
        encode_response(
            lease_of(),
            "s",
            signature(dtypes),
            {alias: array[start : start + count] for alias, array in answer.items()},
            wanted,
            raw,
        )
        for start, count in zip(starts, counts, strict=True)
    ]


def test_an_array_in_any_order_of_memory_is_written_by_rows() -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert encode_response(lease_of(), "s", signature({"y": DType.FLOAT}), {"y": turned}, ["y"], True) == by_protobuf(
        {"y": turned}, {"y": DType.FLOAT}, ["y"], True
    )


def test_an_array_of_another_dtype_of_the_same_kind_is_cast_and_one_of_another_kind_is_refused() -> None:
    doubles, floats = {"y": np.float64([0.1])}, {"y": DType.FLOAT}
    assert encode_response(lease_of(), "s", signature(floats), doubles, ["y"], False) == by_protobuf(
        {"y": np.float32([0.1])}, floats, ["y"], False
    )
    with pytest.raises(Internal, match="An array of float64 cannot be sent as int64"):
        encode_response(lease_of(), "s", signature({"y": DType.INT64}), doubles, ["y"], False)


def test_an_answer_names_the_version_and_the_signature_that_gave_it() -> None:
    for name, version, called in (("m", 3, "s"), ("m", 4, "s"), ("n", 3, "s"), ("m", 3, "t")):
        answer = {"y": np.float32([1])}
        data = encode_response(lease_of(name, version), called, signature({"y": DType.FLOAT}), answer, ["y"], False)
        spec = messages.PredictResponse.FromString(data).model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == (name, version, called)
