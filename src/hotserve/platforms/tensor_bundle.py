"""Reads the index of a TensorFlow checkpoint: which shard files it has, and how long each must be.

The index (`variables.index`) is a LevelDB table. Its last 48 bytes are a footer: the place of the index block, padding,
a magic number. The index block lists data blocks; a data block lists keys and values, each key sharing a prefix with
the one before. The empty key holds a `BundleHeaderProto`, any other key a tensor's `BundleEntryProto`. Older
versions of TensorFlow compressed the blocks.

Checksums are not verified here: TensorFlow verifies those of the index and of every tensor when it loads them.

Source: tensorflow/core/lib/io/format.cc and block.cc, tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hotserve.platforms.mistaken_file import mistaken_file, unreadable_file
from hotserve.platforms.snappy import decompress
from hotserve.platforms.wire_format import ByteSource, FileBytes, MemoryBytes, Message, WireError, read_varint

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # After each block: one byte for the kind of compression, four for the checksum.
_PLAIN, _SNAPPY = 0, 1
_MAX_BLOCK_BYTES = 1 << 28
_MAX_SHARDS = 99_999  # Their file names have five digits.


@dataclass(frozen=True, slots=True)
class BundleIndex:
    """What a checkpoint's index says of its shards.

    Attributes:
        num_shards: How many shard files there are.
        needed_bytes: Shard number, from 0 -> the size that its tensors need.
    """

    num_shards: int
    needed_bytes: Mapping[int, int]


def missing_shards(prefix: Path) -> str | None:
    """What a checkpoint lacks, in words; None for nothing.

    Args:
        prefix: The checkpoint's path without `.index`, e.g. `.../variables/variables`.
    """
    name = f"{prefix.parent.name}/{prefix.name}"
    try:
        with FileBytes(prefix.with_name(f"{prefix.name}.index")) as source:
            index = read_index(source)
    except FileNotFoundError:
        return f"{name}.index is not there yet"
    except OSError as error:
        return f"{name}.index cannot be read: {error.strerror}"
    except WireError as error:
        return unreadable_file(prefix.with_name(f"{prefix.name}.index"), error, f"{name}.index")
    for shard in range(index.num_shards):
        suffix = f".data-{shard:05d}-of-{index.num_shards:05d}"
        needed = index.needed_bytes.get(shard, 0)
        file = prefix.with_name(f"{prefix.name}{suffix}")
        try:
            size = file.stat().st_size
        except FileNotFoundError:
            return f"{name}{suffix} is not there yet"
        except OSError as error:
            return f"{name}{suffix} cannot be read: {error.strerror}"
        if size < needed:
            what = mistaken_file(file)
            return f"{name}{suffix} {f'is {what}' if what else f'has {size} of {needed} bytes'}"
    return None


def read_index(source: ByteSource) -> BundleIndex:
    """Reads a whole index.

    Raises:
        WireError: It is cut off or damaged.
    """
    if source.size < _FOOTER_BYTES:
        raise WireError(f"it has {source.size} bytes, its footer alone has {_FOOTER_BYTES}")
    footer = source.read(source.size - _FOOTER_BYTES, source.size)
    if int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise WireError("it does not end with a footer")
    _, position = _read_handle(footer, 0)  # The metaindex block, which is empty.
    handle, _ = _read_handle(footer, position)
    num_shards = 0
    needed: dict[int, int] = {}
    blocks_end = 0
    for _, value in _read_block(source, handle):
        block, _ = _read_handle(value, 0)
        if block.start < blocks_end:
            raise WireError(f"its block at byte {block.start} lies before the end of another")
        blocks_end = block.end
        for key, entry in _read_block(source, block):
            if key:
                shard, end = _read_entry(entry)
                needed[shard] = max(needed.get(shard, 0), end)
            else:
                num_shards = _read_header(entry)
    if num_shards == 0:
        raise WireError("it has no header")
    if needed and max(needed) >= num_shards:
        raise WireError(f"a tensor is in shard {max(needed)}, there are {num_shards}")
    return BundleIndex(num_shards, needed)


@dataclass(frozen=True, slots=True)
class _Handle:
    """Where a block is: `[start, end)`, without its trailer."""

    start: int
    end: int


def _read_handle(data: bytes, index: int) -> tuple[_Handle, int]:
    start, index = read_varint(data, index)
    size, index = read_varint(data, index)
    return _Handle(start, start + size), index


def _read_block(source: ByteSource, handle: _Handle) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block."""
    if handle.end - handle.start > _MAX_BLOCK_BYTES:
        raise WireError(f"its block at byte {handle.start} has {handle.end - handle.start} bytes")
    data = source.read(handle.start, handle.end + _TRAILER_BYTES)
    kind = data[-_TRAILER_BYTES]
    data = data[:-_TRAILER_BYTES]
    if kind == _SNAPPY:
        data = decompress(data, _MAX_BLOCK_BYTES)
    elif kind != _PLAIN:
        raise WireError(f"its block at byte {handle.start} is compressed in an unknown way (kind {kind})")
    # At the end: the positions of the keys that share no prefix, for binary search, and their number.
    num_restarts = int.from_bytes(data[-4:], "little")
    entries_end = len(data) - 4 - 4 * num_restarts
    if len(data) < 4 or entries_end < 0:
        raise WireError(f"its block at byte {handle.start} is damaged")
    data = data[:entries_end]
    key = b""
    index = 0
    while index < entries_end:
        shared, index = read_varint(data, index)
        unshared, index = read_varint(data, index)
        value_size, index = read_varint(data, index)
        value_start = index + unshared
        value_end = value_start + value_size
        if shared > len(key) or value_end > entries_end:
            raise WireError(f"its block at byte {handle.start} is damaged")
        key = key[:shared] + data[index:value_start]
        yield key, data[value_start:value_end]
        index = value_end


def _read_header(value: bytes) -> int:
    """`BundleHeaderProto.num_shards`."""
    num_shards = _numbers(value).get(1, 0)
    if not 1 <= num_shards <= _MAX_SHARDS:
        raise WireError(f"it has {num_shards} shards")
    return num_shards


def _read_entry(value: bytes) -> tuple[int, int]:
    """`BundleEntryProto`: the shard, and where in it the tensor ends."""
    numbers = _numbers(value)
    return numbers.get(3, 0), numbers.get(4, 0) + numbers.get(5, 0)


def _numbers(value: bytes) -> Mapping[int, int]:
    return {field.number: field.value for field in Message(MemoryBytes(value)).fields()}
