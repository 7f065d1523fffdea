from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import given
from hypothesis import strategies as st

from hotserve.wires.http2_headers import HeaderReader, HeaderTooLargeError, MalformedRequest, RequestHead
from hotserve.wires.http2_known_blocks import KnownBlocks, TableState
from support.http2 import CALL, with_value

LARGE = 1 << 16

Fields = Sequence[tuple[str, str]]

VALUES = st.sampled_from(["", "1S", "a-value-that-takes-some-room-in-the-table" * 20])
REQUESTS = st.one_of(
    st.just(CALL),
    st.builds(lambda value: [*CALL, ("grpc-timeout", value)], VALUES),
    st.builds(lambda name, value: [*CALL, (name, value)], st.sampled_from(["x-a", "x-b"]), VALUES),
    st.just(with_value(":path", "/other")),
    st.just([*CALL, ("x-large", "y" * 3000)]),
    st.just([*CALL, ("X-Upper", "1")]),
)


def expected(fields: Fields) -> dict[str, str]:
    return {name: value for name, value in fields if name not in (":scheme", ":authority")}


def fields_of(head: RequestHead) -> dict[str, str]:
    return {":method": head.method, ":path": head.path, **head.headers}


class Client:
    """One connection: how its client writes, how we read, and how anybody else would."""

    def __init__(self, blocks: KnownBlocks[RequestHead]) -> None:
        self.encoder = Encoder()
        self.reader = HeaderReader(LARGE // 20, blocks)
        self.plain = Decoder()

    def send(self, fields: Fields, huffman: bool, size: int | None) -> None:
        if size is not None:
            self.encoder.header_table_size = size
        block = self.encoder.encode(fields, huffman=huffman)
        read = [(str(name), str(value)) for name, value in self.plain.decode(block)]
        assert read == list(fields)
        try:
            assert fields_of(self.reader.read_request(block)) == expected(fields)
        except MalformedRequest:
            assert ("X-Upper", "1") in fields
        except HeaderTooLargeError:
            assert ("x-large", "y" * 3000) in fields


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), REQUESTS, st.booleans(), st.sampled_from([None, None, None, None, 0, 100, 4096, 4095])
        ),
        max_size=40,
    )
)
def test_each_client_is_understood_whatever_others_have_sent(
    sent: list[tuple[int, Fields, bool, int | None]],
) -> None:
    blocks: KnownBlocks[RequestHead] = KnownBlocks()
    clients = [Client(blocks) for _ in range(3)]
    for index, fields, huffman, size in sent:
        clients[index].send(fields, huffman, size)


def test_what_a_client_begins_with_is_not_unpacked_again_if_others_have_begun_alike() -> None:
    blocks: KnownBlocks[RequestHead] = KnownBlocks()
    heads = []
    for _ in range(2):
        encoder, reader = Encoder(), HeaderReader(LARGE, blocks)
        heads.append([reader.read_request(encoder.encode(CALL)) for _ in range(3)])
    first, second = heads
    assert [id(head) for head in first] == [id(head) for head in second]
    assert first[1] is first[2]
    assert reader._decoder is None


def test_a_client_that_goes_on_otherwise_than_those_before_it_is_understood_from_there() -> None:
    blocks: KnownBlocks[RequestHead] = KnownBlocks()
    for value in ("1", "2"):
        encoder, reader = Encoder(), HeaderReader(LARGE, blocks)
        for fields in ([*CALL], [*CALL], [*CALL, ("x", value)], [*CALL, ("x", value)], [*CALL]):
            assert fields_of(reader.read_request(encoder.encode(fields))) == expected(fields)


def test_what_cannot_be_read_is_as_wrong_for_the_next_client() -> None:
    blocks: KnownBlocks[RequestHead] = KnownBlocks()
    for _ in range(2):
        with pytest.raises(HPACKError):
            HeaderReader(LARGE, blocks).read_request(b"\xff\xff\xff\xff\xff")
        with pytest.raises(HPACKError):
            HeaderReader(LARGE, blocks).read_request(b"\xbe")  # an entry of a table that is empty
    encoder = Encoder()
    known = [encoder.encode(CALL), encoder.encode(CALL)]
    reader = HeaderReader(LARGE, blocks)
    for block in known:
        reader.read_request(block)
    with pytest.raises(HPACKError):
        HeaderReader(LARGE, blocks).read_request(known[1])  # which means something in another state only


def test_no_more_is_remembered_than_there_is_use_for() -> None:
    blocks: KnownBlocks[RequestHead] = KnownBlocks()
    for number in range(300):
        encoder, reader = Encoder(), HeaderReader(LARGE, blocks)
        for name in (f"x{number}", "x"):
            fields = [*CALL, (name, str(number))]
            assert fields_of(reader.read_request(encoder.encode(fields))) == expected(fields)
    assert len(blocks._states) <= 32
    assert len(blocks.empty.known) <= 32
    reader = HeaderReader(LARGE, blocks)
    encoder = Encoder()
    reader.read_request(encoder.encode(CALL))
    for number in range(300):
        reader.read_request(encoder.encode([*CALL, ("x", str(number))]) if number % 2 else encoder.encode(CALL))
    assert all(len(state.known) <= 32 for state in (blocks.empty, *blocks._states.values()))
    assert all(len(block) <= 1024 for state in blocks._states.values() for block in state.known)


def test_what_a_client_goes_on_to_say_that_no_other_does_is_not_kept_for_another_that_rests() -> None:
    blocks: KnownBlocks[RequestHead] = KnownBlocks()
    encoder, resting = Encoder(), HeaderReader(LARGE, blocks)
    resting.read_request(encoder.encode(CALL))
    for client in range(3):
        encoder, reader = Encoder(), HeaderReader(LARGE, blocks)
        reader.read_request(encoder.encode(CALL))
        for number in range(500):
            fields = [*CALL, ("x-request-id", f"{client} {number}")]
            assert fields_of(reader.read_request(encoder.encode(fields))) == expected(fields)
    gc.collect()
    assert sum(isinstance(each, TableState) for each in gc.get_objects()) < 100
