from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.api.grpc_framing import frame, unframe
from hotserve.errors import ResourceExhausted, ServingError
from hotserve.wires.grpc_message import MessageParts

LIMIT = 20_000


def put_together(parts: list[bytes], encoding: str = "identity", limit: int = LIMIT) -> bytes:
    message = MessageParts(encoding, limit)
    for part in parts:
        message.add(part)
    return message.message()


def outcome(parts: list[bytes]) -> bytes | tuple[type[ServingError], str]:
    try:
        return put_together(parts, "gzip")
    except ServingError as error:
        return type(error), error.message


@st.composite
def bodies_in_parts(draw: st.DrawFn) -> list[bytes]:
    message = draw(st.one_of(st.binary(max_size=30), st.integers(0, 25_000).map(bytes)))
    body = bytearray(frame(message, pack=draw(st.booleans())))
    if draw(st.booleans()):
        body[draw(st.integers(0, len(body) - 1))] ^= draw(st.integers(0, 255))
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return [bytes(body[a:b]) for a, b in zip([0, *places], [*places, len(body)], strict=True)]


@given(bodies_in_parts())
def test_parts_come_to_the_same_as_the_whole(parts: list[bytes]) -> None:
    try:
        expected: bytes | tuple[type[ServingError], str] = unframe(b"".join(parts), "gzip", LIMIT)
    except ServingError as error:
        expected = type(error), error.message
    got = outcome(parts)
    if isinstance(got, tuple) and got[0] is ResourceExhausted and "larger than max" in got[1]:
        # A length over the limit is enough; the whole would also say that the body is not as long.
        assert isinstance(expected, tuple)
    else:
        assert got == expected


def test_a_length_over_the_limit_is_refused_with_the_prefix() -> None:
    message = MessageParts("identity", 100)
    message.add(b"\0\0\0")
    with pytest.raises(ResourceExhausted, match=r"Received message larger than max \(101 vs. 100\)"):
        message.add(b"\0\x65")


def test_bytes_over_the_limit_are_refused_whatever_the_prefix_says() -> None:
    message = MessageParts("identity", 100)
    message.add(b"\0\0\0\0\x01" + bytes(100))
    with pytest.raises(ResourceExhausted, match=r"Received message larger than max \(101 vs. 100\)"):
        message.add(b"x")


def test_a_message_byte_by_byte_takes_little_more_memory_than_the_message() -> None:
    message = MessageParts("identity", 1 << 20)
    for byte in frame(bytes(200_000), pack=False):
        message.add(bytes([byte]))
    assert len(message._parts) <= 200_000 // 4096 + 1
    assert message.message() == bytes(200_000)
