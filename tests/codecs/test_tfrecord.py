from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.crc32c import crc32c
from hotserve.codecs.tfrecord import CorruptRecord, frame, read_records
from hotserve.errors import Code

HELLO = bytes.fromhex("0500000000000000eab2043e68656c6c6fbb1f1c19")
TWO = HELLO + frame(b"and goodbye")

PAYLOADS = st.lists(st.binary(max_size=400), max_size=6)


class Drips:
    """A file whose reads give a byte at a time, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 1))


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


def failure(data: bytes) -> CorruptRecord:
    with pytest.raises(CorruptRecord) as caught:
        list(read_records(io.BytesIO(data)))
    return caught.value


def test_a_record_has_the_form_of_the_format_s_check_vector() -> None:
    assert frame(b"hello") == HELLO


@given(PAYLOADS)
def test_what_was_framed_is_read_again(payloads: list[bytes]) -> None:
    data = b"".join(map(frame, payloads))

    assert list(read_records(io.BytesIO(data))) == payloads


def test_reads_may_give_less_than_was_asked_for() -> None:
    assert list(read_records(Drips(TWO))) == [b"hello", b"and goodbye"]


def test_a_payload_larger_than_one_read_comes_whole() -> None:
    payload = bytes(3 << 20)

    assert list(read_records(io.BytesIO(frame(payload)))) == [payload]


def test_records_come_one_by_one_and_nothing_behind_them_is_read() -> None:
    file = io.BytesIO(TWO)

    assert next(read_records(file)) == b"hello"
    assert file.tell() == len(HELLO)


@given(PAYLOADS.filter(any), st.data())
def test_a_flipped_bit_or_a_lost_end_never_goes_unnoticed(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(frame, payloads))
    ends = {sum(len(frame(p)) for p in payloads[:n]) for n in range(len(payloads) + 1)}
    if data.draw(st.booleans()):
        broken = flipped(whole, data.draw(st.integers(0, len(whole) - 1)))
    else:
        broken = whole[: data.draw(st.integers(1, len(whole)).filter(lambda end: end not in ends))]

    error = failure(broken)

    assert error.code is Code.DATA_LOSS
    assert 0 <= error.offset <= len(broken)


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (flipped(TWO, 0), "corrupted record at 0 (Is this even a TFRecord file?)", 0),
        (b"# a text file, not a TFRecord", "corrupted record at 0 (Is this even a TFRecord file?)", 0),
        (flipped(TWO, 9), "corrupted record at 0 (Is this even a TFRecord file?)", 0),
        (flipped(TWO, 14), "corrupted record at 12", 12),
        (flipped(TWO, 18), "corrupted record at 12", 12),
        (flipped(TWO, 21), "corrupted record at 21", 21),
        (flipped(TWO, 40), "corrupted record at 33", 33),
        (TWO[:12], "truncated record at 0' failed with Read less bytes than requested", 0),
        (TWO[:20], "truncated record at 0' failed with Read less bytes than requested", 0),
        (TWO[:-1], "truncated record at 21' failed with Read less bytes than requested", 21),
    ],
)
def test_what_is_wrong_is_said_in_tensorflow_s_words(data: bytes, message: str, offset: int, tmp_path: Path) -> None:
    file = tmp_path / "records"
    file.write_bytes(data)

    error = failure(data)

    assert (error.message, error.offset) == (message, offset)
    with pytest.raises(tf.errors.DataLossError, match=re.escape(message)):
        list(tf.data.TFRecordDataset(str(file)))


def test_a_file_that_ends_within_a_length_is_an_error_too() -> None:
    assert failure(TWO[:26]).message == "truncated record at 21' failed with Read less bytes than requested"


def test_nothing_is_allocated_for_bytes_that_a_wrong_length_promises() -> None:
    length = struct.pack("<Q", 1 << 62)
    checksum = crc32c(length)
    masked = struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    assert failure(length + masked + b"short").offset == 0


def test_tensorflow_reads_what_we_write(tmp_path: Path) -> None:
    payloads = [b"", b"x", b"hello", bytes(range(256)) * 300]
    file = tmp_path / "records"
    file.write_bytes(b"".join(map(frame, payloads)))

    assert [record.numpy() for record in tf.data.TFRecordDataset(str(file))] == payloads


def test_we_read_what_tensorflow_writes(tmp_path: Path) -> None:
    payloads = [b"", b"x", b"hello", bytes(range(256)) * 300]
    file = tmp_path / "records"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for payload in payloads:
            writer.write(payload)

    assert file.read_bytes() == b"".join(map(frame, payloads))
