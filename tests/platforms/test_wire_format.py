from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.platforms.wire_format import (
    FIXED32,
    FIXED64,
    LENGTH_DELIMITED,
    VARINT,
    ByteSource,
    Field,
    FileBytes,
    Layout,
    MemoryBytes,
    Message,
    WireError,
    check_layout,
    read_varint,
)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def encode(number: int, wire_type: int, value: int | bytes) -> bytes:
    tag = varint(number << 3 | wire_type)
    if isinstance(value, bytes):
        return tag + varint(len(value)) + value
    if wire_type == VARINT:
        return tag + varint(value)
    return tag + value.to_bytes(8 if wire_type == FIXED64 else 4, "little")


FIELDS = st.lists(
    st.tuples(st.integers(1, (1 << 29) - 1), st.just(VARINT), st.integers(0, (1 << 64) - 1))
    | st.tuples(st.integers(1, 100), st.just(FIXED64), st.integers(0, (1 << 64) - 1))
    | st.tuples(st.integers(1, 100), st.just(FIXED32), st.integers(0, (1 << 32) - 1))
    | st.tuples(st.integers(1, 100), st.just(LENGTH_DELIMITED), st.binary(max_size=300)),
    max_size=40,
)


def walk(data: bytes) -> list[Field]:
    return list(Message(MemoryBytes(data)).fields())


@given(FIELDS)
def test_fields_come_back_as_they_were_written(fields: list[tuple[int, int, int | bytes]]) -> None:
    data = b"".join(encode(*field) for field in fields)
    found = walk(data)
    assert [(f.number, f.wire_type) for f in found] == [(number, kind) for number, kind, _ in fields]
    for field, (_, _, value) in zip(found, fields, strict=True):
        if isinstance(value, bytes):
            assert data[field.start : field.end] == value
            assert field.value == len(value)
        else:
            assert field.value == value
    assert not found or found[-1].end == len(data)


@given(FIELDS, st.data())
def test_a_cut_is_seen_unless_it_falls_between_two_fields(
    fields: list[tuple[int, int, int | bytes]], data: st.DataObject
) -> None:
    parts = [encode(*field) for field in fields]
    whole = b"".join(parts)
    size = data.draw(st.integers(0, len(whole)))
    boundaries = {sum(map(len, parts[:count])) for count in range(len(parts) + 1)}
    if size in boundaries:
        assert len(walk(whole[:size])) <= len(fields)
    else:
        with pytest.raises(WireError):
            walk(whole[:size])


LAYOUT: Layout = {1: {1: {1: {}}, 2: {}}, 2: {}}


@given(st.binary(max_size=400))
def test_garbage_ends_in_fields_or_in_a_wire_error(data: bytes) -> None:
    message = Message(MemoryBytes(data))
    seen = 0
    try:
        for field in message.fields():
            seen += 1
            assert 0 <= field.start <= field.end <= len(data)
            assert 1 <= field.number < 1 << 29
    except WireError:
        pass
    # Every field takes at least two bytes, so that the walk ends.
    assert seen <= len(data) // 2
    try:
        check_layout(message, LAYOUT)
        for field in message.fields():
            message.text(field)
    except WireError:
        pass


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\x00", "no field has the number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x0c", "wire type 4"),
        (b"\x0e\x00", "wire type 6"),
        (b"\x0f\x00", "wire type 7"),
        (b"\x0a\x05abcd", "field 1 ends at byte 7, the message at 6"),
        (b"\x09\x01\x02", "field 1 ends at byte 9, the message at 3"),
        (b"\x0d\x01", "field 1 ends at byte 5, the message at 2"),
        (b"\x08", "no number of at most 10 bytes"),
        (b"\x08" + b"\xff" * 10, "no number of at most 10 bytes"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "no number of at most 10 bytes"),
        (b"\x80" * 5 + b"\x00", "no number of at most 5 bytes"),
        (b"\xf8\xff\xff\xff\x1f\x00", "no field has the number"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "field 1 ends at byte"),
    ],
)
def test_what_is_no_field_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        walk(data)


def test_a_hole_of_zeros_is_found_as_deep_as_the_layout_goes() -> None:
    inner = encode(1, LENGTH_DELIMITED, bytes(8))
    message = Message(MemoryBytes(encode(1, LENGTH_DELIMITED, inner)))
    check_layout(message, {1: {}})
    with pytest.raises(WireError):
        check_layout(message, {1: {1: {}}})


def test_a_layout_does_not_take_a_number_for_a_message() -> None:
    with pytest.raises(WireError, match="field 1 at byte 1 holds a number"):
        check_layout(Message(MemoryBytes(encode(1, VARINT, 5))), {1: {}})


def test_text_that_is_not_utf_8_becomes_surrogates_as_in_file_names() -> None:
    message = Message(MemoryBytes(encode(1, LENGTH_DELIMITED, b"a\xff")))
    assert [message.text(field) for field in message.fields()] == ["a\udcff"]


def test_a_text_of_more_than_a_megabyte_is_refused() -> None:
    message = Message(MemoryBytes(encode(1, LENGTH_DELIMITED, bytes(1 << 20 | 1))))
    with pytest.raises(WireError, match="expected a short text"):
        [message.text(field) for field in message.fields()]


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_a_number_is_read_where_it_stands(number: int, before: bytes, after: bytes) -> None:
    data = before + varint(number) + after
    assert read_varint(data, len(before)) == (number, len(data) - len(after))


@given(FIELDS, st.integers(0, 40_000))
def test_a_file_reads_like_memory_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, fields: list[tuple[int, int, int | bytes]], large: int
) -> None:
    parts = [encode(*field) for field in fields]
    data = b"".join([*parts, encode(7, LENGTH_DELIMITED, bytes(large)), *parts])
    path = tmp_path_factory.getbasetemp() / "message"
    path.write_bytes(data)
    with FileBytes(path) as source:
        assert list(Message(source).fields()) == walk(data)
        assert source.read(0, len(data)) == data


def test_a_file_that_shrinks_while_it_is_read_is_a_wire_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(b"".join(encode(1, LENGTH_DELIMITED, bytes(1_000)) for _ in range(100)))
    with FileBytes(path) as source:
        fields = Message(source).fields()
        next(fields)
        path.write_bytes(b"")
        with pytest.raises(WireError, match="shrunk"):
            list(fields)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 5), (3, 2), (5, 6)])
def test_bytes_that_are_not_there_are_not_made_up(tmp_path: Path, start: int, end: int) -> None:
    path = tmp_path / "four"
    path.write_bytes(b"1234")
    with FileBytes(path) as file:
        sources: list[ByteSource] = [file, MemoryBytes(b"1234")]
        for source in sources:
            with pytest.raises(WireError):
                source.read(start, end)
