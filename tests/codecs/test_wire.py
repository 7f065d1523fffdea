from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.wire import length_delimited, read_varint32, varint
from hotserve.protos.messages import Int64List, TensorProto


@given(number=st.integers(0, 2**63 - 1))
def test_a_varint_is_the_one_protobuf_writes(number: int) -> None:
    assert length_delimited(1, varint(number)) == (Int64List(value=[number]).SerializeToString())


@given(number=st.integers(0, 2**32 - 1), before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_a_varint_is_read_where_it_stands(number: int, before: bytes, after: bytes) -> None:
    encoded = varint(number)
    assert read_varint32(before + encoded + after, len(before)) == (number, len(before) + len(encoded))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x80\x80\x80\x80\x01"])
def test_bytes_that_are_no_varint_leave_the_position(data: bytes) -> None:
    assert read_varint32(data, 0) == (-1, 0)


def test_bits_above_the_32nd_are_dropped() -> None:
    assert read_varint32(b"\xff\xff\xff\xff\x7f", 0) == (2**32 - 1, 5)


@given(content=st.binary(max_size=300))
def test_a_length_delimited_field_can_be_appended_to_a_message(content: bytes) -> None:
    message = TensorProto(dtype=1).SerializeToString() + length_delimited(4, content)
    assert TensorProto.FromString(message) == TensorProto(dtype=1, tensor_content=content)
    # A field number above 15 takes two bytes.
    assert TensorProto.FromString(length_delimited(18, content)) == TensorProto(float8_val=content)
