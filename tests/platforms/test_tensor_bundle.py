from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.platforms.tensor_bundle import BundleIndex, missing_shards, read_index
from hotserve.platforms.wire_format import MemoryBytes, WireError

MAGIC = 0xDB4775248B80FB57
PLAIN, SNAPPY = 0, 1


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def block(entries: Mapping[bytes, bytes]) -> bytes:
    """The entries, each key sharing what it can with the one before, and the place where the first begins."""
    out = bytearray()
    previous = b""
    for key, value in entries.items():
        shared = 0
        while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    return bytes(out) + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def header(num_shards: int) -> bytes:
    return b"\x08" + varint(num_shards) + b"\x1a\x02\x08\x01"


def entry(shard: int, offset: int, size: int) -> bytes:
    return b"\x08\x01\x12\x00\x18" + varint(shard) + b"\x20" + varint(offset) + b"\x28" + varint(size) + b"\x35abcd"


def compressed(data: bytes) -> bytes:
    """A snappy block of literals only."""
    parts = [data[start : start + 60] for start in range(0, len(data), 60)]
    return varint(len(data)) + b"".join(bytes([len(part) - 1 << 2]) + part for part in parts)


def table(*blocks: Mapping[bytes, bytes], kind: int = PLAIN) -> bytes:
    """An index file with these data blocks."""
    out = bytearray()

    def add(data: bytes) -> bytes:
        start = len(out)
        stored = compressed(data) if kind == SNAPPY else data
        out.extend(stored + bytes([kind]) + b"crc!")
        return varint(start) + varint(len(stored))

    handles = {max(entries): add(block(entries)) for entries in blocks}
    metaindex = add(block({}))
    footer = metaindex + add(block(handles))
    return bytes(out) + footer.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


TWO_SHARDS = ({b"": header(2), b"layer/a": entry(0, 0, 100)}, {b"layer/b": entry(0, 100, 28), b"other": entry(1, 4, 6)})


@pytest.mark.parametrize("kind", [PLAIN, SNAPPY])
def test_an_index_tells_how_long_every_shard_must_be(kind: int) -> None:
    index = read_index(MemoryBytes(table(*TWO_SHARDS, kind=kind)))
    assert index == BundleIndex(2, {0: 128, 1: 10})


def test_an_index_cut_anywhere_is_not_whole() -> None:
    whole = table(*TWO_SHARDS)
    for size in range(len(whole)):
        with pytest.raises(WireError):
            read_index(MemoryBytes(whole[:size]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has 0 bytes, its footer alone has 48"),
        (bytes(48), "does not end with a footer"),
        (table({b"a": entry(0, 0, 1)}), "has no header"),
        (table({b"": header(0)}), "has 0 shards"),
        (table({b"": header(100_000)}), "has 100000 shards"),
        (table({b"": header(1), b"a": entry(1, 0, 1)}), "a tensor is in shard 1, there are 1"),
        (table({b"": header(1)}, kind=7), r"compressed in an unknown way \(kind 7\)"),
        (b"\x00" * 40 + MAGIC.to_bytes(8, "little"), "expected 5 bytes|damaged|no header"),
    ],
)
def test_what_is_no_index_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        read_index(MemoryBytes(data))


def test_blocks_that_point_back_do_not_run_for_ever() -> None:
    index = block({b"a": varint(0) + varint(8), b"b": varint(0) + varint(8)}) + b"\0crc!"
    data = block({}) + b"\0crc!" + index
    footer = (varint(0) + varint(8) + varint(13) + varint(len(index) - 5)).ljust(40, b"\0") + MAGIC.to_bytes(
        8, "little"
    )
    with pytest.raises(WireError, match="lies before the end of another"):
        read_index(MemoryBytes(data + footer))


@given(st.binary(max_size=300), st.integers(0, 300), st.binary(min_size=1, max_size=20))
def test_garbage_is_an_index_or_a_wire_error(garbage: bytes, position: int, patch: bytes) -> None:
    whole = table(*TWO_SHARDS)
    footer = MAGIC.to_bytes(8, "little")
    patched = whole[:position] + patch + whole[position + len(patch) :]
    for data in (garbage, garbage + footer, patched):
        with contextlib.suppress(WireError):
            assert read_index(MemoryBytes(data)).num_shards >= 1


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    prefix = tmp_path / "variables" / "variables"
    prefix.parent.mkdir()
    prefix.with_name("variables.index").write_bytes(table(*TWO_SHARDS))
    prefix.with_name("variables.data-00000-of-00002").write_bytes(bytes(128))
    prefix.with_name("variables.data-00001-of-00002").write_bytes(bytes(10))
    return prefix


def test_a_whole_checkpoint_misses_nothing(checkpoint: Path) -> None:
    assert missing_shards(checkpoint) is None


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("variables.index", None, "variables/variables.index is not there yet"),
        ("variables.index", 20, "variables/variables.index is not whole: it has 20 bytes, its footer alone has 48"),
        ("variables.data-00001-of-00002", None, "variables/variables.data-00001-of-00002 is not there yet"),
        ("variables.data-00000-of-00002", 127, "variables/variables.data-00000-of-00002 has 127 of 128 bytes"),
        ("variables.data-00001-of-00002", 0, "variables/variables.data-00001-of-00002 has 0 of 10 bytes"),
    ],
)
def test_what_a_checkpoint_lacks_is_named(checkpoint: Path, name: str, size: int | None, reason: str) -> None:
    file = checkpoint.with_name(name)
    if size is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:size])
    assert missing_shards(checkpoint) == reason


def test_a_pointer_in_the_place_of_a_shard_is_named(checkpoint: Path) -> None:
    checkpoint.with_name("variables.data-00000-of-00002").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert (missing_shards(checkpoint) or "").startswith(
        "variables/variables.data-00000-of-00002 is a pointer of Git LFS"
    )


def test_shards_may_be_longer_than_their_tensors(checkpoint: Path) -> None:
    checkpoint.with_name("variables.data-00000-of-00002").write_bytes(bytes(500))
    assert missing_shards(checkpoint) is None


def test_checkpoints_of_tensorflow_itself_are_read_to_the_byte(tf: Any, tmp_path: Path) -> None:
    variables = {f"v{n}": tf.Variable(tf.random.normal([n + 1, 7])) for n in range(300)}
    prefix = Path(tf.train.Checkpoint(**variables).write(str(tmp_path / "model")))
    data = prefix.with_name("model.data-00000-of-00001")
    index = read_index(MemoryBytes(prefix.with_name("model.index").read_bytes()))
    assert index == BundleIndex(1, {0: data.stat().st_size})
    assert missing_shards(prefix) is None
