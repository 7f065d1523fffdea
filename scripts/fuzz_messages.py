"""Compares the compiled readers of gRPC's messages and frames with the long way, with AddressSanitizer watching.

    python scripts/fuzz_messages.py --seconds 600

builds the extensions with `-fsanitize=address,undefined` in a folder of its own, and runs itself in it. What the
reader of PredictRequests takes has to be what protobuf reads; what the reader of whole calls takes has to be what its
plain twin takes. `--seed` repeats a run; a difference is printed with its input, and ends it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from damage import damaged
from google.protobuf.message import DecodeError
from sanitized import fail, is_sanitized, run_sanitized

from hotserve.codecs.compiled import PlainFrame
from hotserve.codecs.tensor_layout import LAYOUTS
from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.protos import messages
from hotserve.tensors import Array, DType
from hotserve.wires import plain_calls

try:
    from hotserve.codecs import _fast_proto
    from hotserve.wires import _calls
except ImportError:  # they are still to be built
    _fast_proto = _calls = None

DTYPES = [
    layout.dtype for layout in LAYOUTS.values() if layout.dtype is not DType.STRING and layout.dtype is not DType.BOOL
]
BLOCKS = (b"usual", b"streamed", b"sized")
DATA, HEADERS, RST_STREAM, WINDOW_UPDATE = 0, 1, 3, 8


@dataclass(frozen=True, slots=True)
class Head:
    """What the readers of calls look at in a header."""

    takes_whole: bool
    content_length: int | None = None


HEADS: dict[bytes, Any] = {b"usual": Head(True), b"streamed": Head(False), b"sized": Head(True, 8)}


def piece(chance: random.Random) -> bytes:
    """Some bytes of any kind: every one of them says something in these formats."""
    return chance.randbytes(chance.randrange(1, 12))


def numbers(chance: random.Random, dtype: DType) -> Array:
    shape = tuple(chance.choice((1, 1, 2, 3, 40)) for _ in range(chance.randrange(4)))
    size = int(np.prod(shape)) * dtype.numpy.itemsize
    return np.frombuffer(chance.randbytes(size), dtype.numpy).reshape(shape)


def request(chance: random.Random) -> bytes:
    message = messages.PredictRequest(output_filter=chance.choices(("y", "z"), k=chance.randrange(3)))
    message.model_spec.name = chance.choice(("m", "", "a" * 200))
    if chance.random() < 0.3:
        message.model_spec.version.value = chance.getrandbits(60)
    for alias in chance.sample(("x", "y", "", "a" * 130), chance.randrange(1, 4)):
        dtype = chance.choice(DTYPES)
        as_content = dtype.name.startswith(("Q", "FLOAT8")) or chance.random() < 0.5
        message.inputs[alias].CopyFrom(encode_tensor(numbers(chance, dtype), dtype, as_content))
    return damaged(chance, message.SerializeToString(), piece)


def check_request(chance: random.Random, data: bytes) -> bool:
    """Reads a message both ways; returns whether the extension took it."""
    usual = _fast_proto.read_predict(data)
    if usual is None:
        return False
    spec, wanted, kinds, values = usual
    try:
        message = messages.PredictRequest.FromString(data)
    except DecodeError as error:
        try:
            messages.ModelSpec.FromString(spec)
        except DecodeError:
            return False  # the reader leaves the model_spec to those who use it
        fail(data, f"taken by the extension, and refused: {error}")
    if messages.ModelSpec.FromString(spec) != message.model_spec or list(wanted) != list(message.output_filter):
        fail(data, "another model_spec or output_filter")
    if sorted(kind[0] for kind in kinds) != sorted(message.inputs):
        fail(data, "other inputs")
    for (alias, dtype, shape), content in zip(kinds, values, strict=True):
        expected = decode_tensor(message.inputs[alias])
        found: Array = np.ndarray(shape, LAYOUTS[dtype].numpy, content)
        if dtype != message.inputs[alias].dtype or found.shape != expected.shape:
            fail(data, f"another type or shape of {alias!r}")
        # Protobuf makes a quiet NaN of a signalling one.
        if found.tobytes() != expected.tobytes() and not np.array_equal(found, expected, equal_nan=True):
            fail(data, f"other numbers in {alias!r}")
    place = _fast_proto.place_of_values(data)
    if place is not None:
        others = bytes(byte ^ 0xFF for byte in data[slice(*place)])
        read = _fast_proto.read_predict(data[: place[0]] + others + data[place[1] :])
        if data[slice(*place)] != values[0] or read != (*usual[:3], (others,)):
            fail(data, "other values in the same place make another request")
        known = _fast_proto.Frame(data, *place)
        if known.values(data[: place[0]] + others + data[place[1] :]) != others:
            fail(data, "a message that is the same but for its values is not taken as such")
        # The same length, so that its bytes are looked at.
        other = damaged(chance, data, piece)[: len(data)].ljust(len(data), b"\0")
        taken = known.values(other)
        if taken != PlainFrame(data, *place).values(other):
            fail(other, f"the twins do not agree whether it is the same as {data!r} but for its values")
    return True


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def frames(chance: random.Random) -> bytes:
    """Frames of calls whose order is legal, most of the time."""
    parts = []
    begun: list[int] = []
    stream = chance.choice((1, 1, 5, 0x7FFFFFFB))
    for _ in range(chance.randrange(1, 90 if chance.randrange(20) == 0 else 9)):
        if not begun or chance.random() < 0.5:
            parts.append(frame(HEADERS, 4, stream & 0xFFFFFFFF, chance.choice((*BLOCKS[:1] * 6, *BLOCKS, b"new"))))
            begun.append(stream)
            stream += 2
        if chance.random() < 0.3:
            which = chance.choice((0, *begun))
            by = chance.choice((0, 1, 1000, 0x7FFFFFFF, 0xFFFFFFFF))
            parts.append(frame(WINDOW_UPDATE, 0, which & 0xFFFFFFFF, by.to_bytes(4, "big")))
        if chance.random() < 0.2:
            which = chance.choice((1, stream, stream - 2, *begun))
            parts.append(frame(RST_STREAM, 0, which & 0xFFFFFFFF, chance.randbytes(4)))
        if begun and chance.random() < 0.8:
            message = chance.randbytes(chance.choice((0, 3, 3, 40)))
            prefixed = b"\0" + len(message).to_bytes(4, "big") + message
            parts.append(frame(DATA, 1, begun.pop(chance.randrange(len(begun))) & 0xFFFFFFFF, prefixed))
    return damaged(chance, b"".join(parts), piece)


def check_calls(chance: random.Random) -> bool:
    """Reads frames with both twins; returns whether there was a whole call."""
    data = frames(chance)
    limits = (
        chance.choice((0, 0, 0, 1, len(data) // 2, len(data), len(data) + 5)),  # where to begin
        chance.choice((-1, 0, 1, 7)),  # the last stream
        HEADS,
        chance.choice((0, 1, 3, 100, 1000)),  # how many calls
        chance.choice((0, 20, 65535, 1 << 31)),  # the window
        chance.choice((0, 65535, 0x7FFFFFFF)),  # the window of answers
        chance.choice((-1, 1000, 0x7FFFFFFF)),  # how much it may be opened
        chance.choice((0, 8, 16384)),  # the largest frame
        chance.choice(({}, {1: 0}, {1: 65535, 5: 0})),  # calls from before
        chance.choice(({}, {}, {1: None})),  # streams of the other road
        chance.choice((-1, 0, 1, 1000)),  # how many may be reset
        chance.choice((None, None, (HEADS[BLOCKS[0]], chance.randbytes(chance.choice((0, 0, 1))), b"busy", 20))),
    )
    calls, plain = _calls.read_calls(data, *limits), plain_calls.read_calls(data, *limits)
    if calls != plain:
        fail(data, f"{calls} for {plain} within {limits}")
    for stream, _, message, _ in calls[0]:
        texts = (chance.randbytes(chance.randrange(40)), message, chance.randbytes(chance.randrange(40)))
        if _calls.answer_frames(stream, *texts) != plain_calls.answer_frames(stream, *texts):
            fail(data, f"another answer of {texts} on {stream}")
    return bool(calls[0])


def fuzz(seconds: float, seed: int) -> None:
    if _calls is None:
        sys.exit("The extensions are not there: run this without --no-build, or install with a C compiler.")
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    rounds = requests = calls = 0
    while time.monotonic() < deadline:
        for _ in range(200):
            requests += check_request(chance, request(chance))
            calls += check_calls(chance)
        rounds += 200
    found = {"seed": seed, "requests": rounds, "taken": requests, "readings of frames": rounds, "with calls": calls}
    print(json.dumps({"sanitized": is_sanitized(), **found}))


if __name__ == "__main__":
    run_sanitized(__file__, __doc__, fuzz)
