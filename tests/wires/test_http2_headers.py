from __future__ import annotations

from collections.abc import Sequence

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from hotserve.wires.http2_headers import HeaderReader, HeaderTooLargeError, MalformedRequest, RequestHead, encode_block
from support.http2 import CALL, block

LARGE = 1 << 16

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=12).map(lambda name: f"x{name}")
VALUES = st.text("abcXYZ 019;=/", max_size=40).map(str.strip)
MORE = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def fields_of(head: RequestHead) -> dict[str, str]:
    return {":method": head.method, ":path": head.path, **head.headers}


def expected(fields: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in fields if name not in (":scheme", ":authority")}


@given(st.lists(st.tuples(MORE, st.booleans(), st.sampled_from([0, 200, 4096])), min_size=1, max_size=25))
def test_what_is_remembered_is_what_would_be_read(requests: list[tuple[list[tuple[str, str]], bool, int]]) -> None:
    # The encoder uses its table as real clients do: entries come, are named, and are thrown out again.
    encoder, reader, plain = Encoder(), HeaderReader(LARGE), Decoder()
    for more, huffman, size in requests:
        encoder.header_table_size = size
        for _ in range(3):
            encoded = encoder.encode([*CALL, *more], huffman=huffman)
            assert fields_of(reader.read_request(encoded)) == expected(plain.decode(encoded))


def test_a_block_that_changes_the_table_is_read_again() -> None:
    encoder, reader = Encoder(), HeaderReader(LARGE)
    first = encoder.encode(CALL)
    second = encoder.encode(CALL)
    assert first != second
    head = reader.read_request(first)
    again = reader.read_request(second)
    assert fields_of(head) == fields_of(again)
    assert reader.read_request(second) is again
    other = encoder.encode([*CALL, ("x-new", "1")])
    assert reader.read_request(other).headers["x-new"] == "1"
    third = encoder.encode(CALL)
    assert fields_of(reader.read_request(third)) == fields_of(head)
    assert reader.read_request(third) is not again


def test_no_more_is_remembered_than_there_is_use_for() -> None:
    reader = HeaderReader(LARGE)
    heads = {reader.read_request(block([*CALL, ("x", str(number))])).headers["x"] for number in range(1000)}
    assert len(heads) == 1000
    assert len(reader._remembered) <= 64
    large = block([*CALL, ("x", "y" * 2000)])
    assert reader.read_request(large) is not reader.read_request(large)


def test_the_last_one_of_a_name_counts() -> None:
    head = HeaderReader(LARGE).read_request(block([*CALL, ("grpc-timeout", "1S"), ("grpc-timeout", "2S")]))
    assert head.headers["grpc-timeout"] == "2S"


def test_a_tunnel_has_no_path() -> None:
    head = HeaderReader(LARGE).read_request(block([(":method", "CONNECT"), (":authority", "far:1")]))
    assert (head.method, head.path) == ("CONNECT", "")


def test_bytes_that_are_no_ascii_are_taken_in_values_alone() -> None:
    reader = HeaderReader(LARGE)
    assert reader.read_request(block() + b"\x10\x01x\x01\xff").headers["x"] == "\xff"
    with pytest.raises(MalformedRequest, match="no name of a header"):
        reader.read_request(block() + b"\x10\x01\xff\x01x")


def test_a_header_over_the_limit_says_its_size_and_the_table_goes_on() -> None:
    encoder, reader = Encoder(), HeaderReader(1000)
    with pytest.raises(HeaderTooLargeError) as caught:
        reader.read_request(encoder.encode([*CALL, ("x", "y" * 900)]))
    size = sum(len(name) + len(value) + 32 for name, value in [*CALL, ("x", "y" * 900)])
    assert caught.value.size == size
    reader.skip(encoder.encode([*CALL, ("x", "z" * 900)]))
    assert fields_of(reader.read_request(encoder.encode(CALL))) == expected(CALL)


@given(MORE)
def test_blocks_of_ours_mean_the_same_at_any_time(more: list[tuple[str, str]]) -> None:
    fields = [(":status", "200"), *more]
    encoded = encode_block([(name.encode(), value.encode()) for name, value in fields])
    decoder = Decoder()
    for _ in range(2):
        assert [(str(name), str(value)) for name, value in decoder.decode(encoded)] == fields
    assert not decoder.header_table.dynamic_entries
