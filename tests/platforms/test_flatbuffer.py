from __future__ import annotations

import struct
from contextlib import suppress

import flatbuffers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.platforms.flatbuffer import Table, root_table
from hotserve.platforms.wire_format import MemoryBytes, WireError


def buffer() -> bytes:
    """A table with a number, a text, two numbers, and a table inside; field 1 is left out."""
    builder = flatbuffers.Builder(64)
    text = builder.CreateString("wörter")
    builder.StartVector(4, 2, 4)
    for number in (9, -7):
        builder.PrependInt32(number)
    numbers = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUint8Slot(0, 200, 0)
    inner = builder.EndObject()
    builder.StartVector(4, 2, 4)
    for _ in range(2):
        builder.PrependUOffsetTRelative(inner)
    tables = builder.EndVector()
    builder.StartObject(5)
    builder.PrependInt32Slot(0, -5, 0)
    for field, part in ((2, text), (3, numbers), (4, tables)):
        builder.PrependUOffsetTRelativeSlot(field, part, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"ABCD")
    return bytes(builder.Output())


WHOLE = buffer()


def read(data: bytes) -> tuple[int, str, object, list[int]]:
    table = root_table(MemoryBytes(data), b"ABCD")
    inner = [each.integer(0, 1) for each in table.tables(4)]
    return table.integer(0, 4, signed=True), table.text(2), table.integers(3), inner


def test_fields_are_read_by_their_numbers() -> None:
    assert read(WHOLE) == (-5, "wörter", [-7, 9], [200, 200])


def test_fields_that_are_left_out_have_a_default() -> None:
    table = root_table(MemoryBytes(WHOLE), b"ABCD")
    assert table.integer(1, 4, default=3) == 3
    assert table.integers(1) is None
    assert table.vector(99, 1) is None
    assert table.text(1) == ""
    assert list(table.tables(1)) == []


def test_another_identifier_is_refused() -> None:
    with pytest.raises(WireError, match=r"bytes 4 to 7 are b'ABCD', expected b'TFL3'"):
        root_table(MemoryBytes(WHOLE), b"TFL3")


def test_a_file_that_ends_early_is_noticed_wherever_it_ends() -> None:
    needed = len(WHOLE.rstrip(b"\0"))
    for size in range(needed):
        with pytest.raises(WireError):
            read(WHOLE[:size])


def test_zeros_are_no_table() -> None:
    for position in (0, 8):
        with pytest.raises(WireError):
            Table(MemoryBytes(bytes(64)), position)
    with pytest.raises(WireError, match="leads nowhere"):
        root_table(MemoryBytes(b"\0\0\0\0ABCD" + bytes(64)), b"ABCD")


def test_a_field_outside_of_its_table_is_refused() -> None:
    # A table of 4 bytes whose only field begins behind it.
    data = struct.pack("<I4sHHHxxi", 16, b"ABCD", 6, 4, 40, 8) + bytes(64)
    with pytest.raises(WireError, match="lies outside"):
        root_table(MemoryBytes(data), b"ABCD").integer(0, 4)


@given(st.data())
def test_no_damage_raises_anything_else(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WireError):
        read(bytes(damaged))
