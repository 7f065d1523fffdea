"""The compiled twin of the JSON codec's inner loops, and a short cut for messages, where this installation has them.

They are built with the package where there is a C compiler. Without them everything works the same, and slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np

from hotserve.codecs.wire import length_delimited, read_varint32
from hotserve.tensors import Array, DType

try:
    from hotserve.codecs import _fast
except ImportError:
    _fast = None  # type: ignore[assignment]

try:
    from hotserve.codecs import _fast_proto
except ImportError:
    _fast_proto = None  # type: ignore[assignment]


Key = tuple[str, bool, tuple[str | None, ...], tuple[tuple[int, ...], ...]]
"""All of a predict body but its values: the signature that it names, whether it has rows, and the names and the shapes
of its columns."""


class Pattern(Protocol):
    """What bodies have in common that are alike but for their values."""

    def read(self, data: bytes) -> tuple[bytes, ...] | Values | None:
        """Reads a predict body.

        Args:
            data: The body.

        Returns:
            The contents of the columns that are wanted; or its values, where it is not like the others, or a value does
            not go into its array; None where `Extension.read_values` would say so.
        """
        ...


class Values(Protocol):
    """The values of a predict body, by column: one for each input that it names, or the only one."""

    @property
    def signature_name(self) -> str:
        """The signature that the body names; empty for the default one."""
        ...

    @property
    def row_format(self) -> bool:
        """Whether they stand under `instances`."""
        ...

    @property
    def key(self) -> Key:
        """All of the body but its values: the four other attributes."""
        ...

    @property
    def names(self) -> tuple[str | None, ...]:
        """The columns' names; None for one that has none."""
        ...

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Their shapes, the rows included."""
        ...

    def store(self, index: int, array: Array, code: str) -> bool:
        """Writes the numbers or flags of a column into an array.

        Args:
            index: Which column.
            array: Of its shape, contiguous, and of the type that `code` says.
            code: One of `CODES`.

        Returns:
            False where a value is of another kind or out of range; the array then holds anything.
        """
        ...

    def content(self, index: int, code: str) -> bytes | None:
        """What `store` writes; None in place of False."""
        ...

    def strings(self, index: int, first: int = 0, most: int = ...) -> list[tuple[bytes, bool]] | None:
        """Strings of a column, each with whether it is base64; None where they are no strings.

        Args:
            index: Which column.
            first: The first of them, from 0.
            most: How many at most; all of them without it.
        """
        ...


class Extension(Protocol):
    """The functions of `_fast`."""

    def read_values(self, data: bytes) -> Values | None:
        """Reads a predict body; None where it is not of one of the usual forms, be it right or wrong.

        From 64 KiB on it does so without the GIL.
        """
        ...

    def Pattern(self, key: Key, order: tuple[tuple[int, str], ...]) -> Pattern:  # noqa: N802  # a class
        """A pattern.

        Args:
            key: What `Values.key` has said of a body.
            order: Which columns are wanted, and the letter of each of them, as of `Values.content`.

        Raises:
            ValueError: There are more than 16 columns.
        """
        ...

    def nested_texts(self, array: Array, code: str, digits: int, by_row: bool) -> list[str]:
        """Writes numbers or flags as JSON.

        Args:
            array: Contiguous, of the type that `code` says.
            code: One of `CODES`.
            digits: How many significant ones a double may take: 17, or 6 for what came of a type of 16 bits.
            by_row: Whether to write each value of the first dimension by itself.

        Returns:
            One text, of nested lists or one number; or as many as there are rows.
        """
        ...

    def answer_of_one(self, data: bytes, shape: tuple[int, ...], code: str, row_format: bool) -> bytes:
        """Writes the body that answers a predict request, where there is one output, of numbers or flags.

        Args:
            data: The bytes of the array, in row order.
            shape: At least one dimension, none of which is 0.
            code: One of `CODES`, for what `data` is.
            row_format: As for `encode_predictions`.
        """
        ...

    def answers_of_rows(
        self,
        data: bytes,
        shape: tuple[int, ...],
        code: str,
        row_format: bool,
        starts: list[int],
        counts: list[int],
    ) -> list[bytes]:
        """Writes as many such bodies from an array that has the rows of several requests.

        Args:
            data: As in `answer_of_one`; and what follows.
            shape: Of all rows.
            code: For what `data` is.
            row_format: As for `encode_predictions`.
            starts: Where the rows of each request begin.
            counts: How many it has, at least one.
        """
        ...


SWITCH: Final = "HOTSERVE_NO_EXTENSION"
"""The environment variable that turns the extension off, if it is set to anything."""

_REVISION: Final = 5
"""What `_fast.REVISION` is in the sources that belong to this file: an editable install may be older than they are."""

EXTENSION: Final[Extension | None] = _fast if getattr(_fast, "REVISION", None) == _REVISION else None
"""The extension, if it is there and belongs to these sources."""

IS_USED: Final = EXTENSION is not None and not os.environ.get(SWITCH)
"""Whether the codec uses it."""

TensorKind = tuple[str, int, tuple[int, ...]]
"""All of an input but its values: the alias, the number of the dtype, and the shape."""

UsualPredict = tuple[bytes, tuple[str, ...], tuple[TensorKind, ...], tuple[bytes, ...]]
"""A PredictRequest: the bytes of its `model_spec`, its `output_filter`, and of each input the kind and the values, as
many as its shape says, as they are in memory."""

_PROTO_REVISION: Final = 6
"""The same for `_fast_proto`."""


_READS_MESSAGES: Final = getattr(_fast_proto, "REVISION", None) == _PROTO_REVISION and not os.environ.get(SWITCH)


def _read_nothing(data: bytes) -> None:
    return None


def messages_in_python(head: bytes, data: bytes, tail: bytes, starts: list[int], row: int, rows: int) -> list[bytes]:
    """Writes messages that are alike but for their rows.

    Args:
        head: What stands before the rows of each.
        data: The rows of all.
        tail: What stands behind them.
        starts: Where those of each begin in `data`, counted in rows.
        row: The bytes of a row, at least one.
        rows: How many of them each message has.

    Raises:
        ValueError: There are no such rows.
    """
    there = len(data) // row if row > 0 else -1
    if not 0 <= rows <= there or any(not 0 <= start <= there - rows for start in starts):
        raise ValueError(f"expected {rows} rows of {row} bytes from {starts} on, and there are {there}")
    return [b"".join((head, data[start * row : (start + rows) * row], tail)) for start in starts]


class PlainFrame:
    """All of a message but its values.

    Attributes:
        before: What stands before them.
        behind: What stands behind them.
    """

    __slots__ = ("_length", "before", "behind")

    def __init__(self, message: bytes, start: int, end: int) -> None:
        """Takes a message without its values.

        Args:
            message: The message.
            start: Where they begin.
            end: Where they end.

        Raises:
            ValueError: They are not there.
        """
        if not 0 <= start <= end <= len(message):
            raise ValueError("values that are not there")
        self.before = message[:start]
        self.behind = message[end:]
        self._length = len(message)

    def values(self, message: bytes) -> bytes | None:
        """What stands in the place of the values of another message; None if that is not the same but for them."""
        if len(message) != self._length or not message.startswith(self.before) or not message.endswith(self.behind):
            return None
        return message[len(self.before) : self._length - len(self.behind)]


Frame: type[PlainFrame] = _fast_proto.Frame if _READS_MESSAGES else PlainFrame
"""`PlainFrame`, or its compiled twin."""

_MODEL_SPEC: Final = 1
_INPUTS: Final = 2
_OUTPUT_FILTER: Final = 3


class PlainTarget:
    """What PredictRequests are for: the version, the signature and the outputs that they name.

    Whether one is for the same is told without reading its inputs, for those that are written in the order that
    clients write them in.
    """

    __slots__ = ("_before", "_behind")

    def __init__(self, spec: bytes, wanted: tuple[str, ...]) -> None:
        """Takes what `read_predict` says of one.

        Args:
            spec: The bytes of its `model_spec`.
            wanted: Its `output_filter`.
        """
        self._before = length_delimited(_MODEL_SPEC, spec)
        self._behind = b"".join(length_delimited(_OUTPUT_FILTER, name.encode()) for name in wanted)

    def is_named_by(self, message: bytes) -> bool:
        """Whether a message names just this, and has nothing else but inputs: never wrong where it says yes."""
        if not message.startswith(self._before):
            return False
        position = len(self._before)
        while position < len(message) and message[position] == _INPUTS << 3 | 2:
            length, position = read_varint32(message, position + 1)
            if not 0 <= length <= len(message) - position:
                return False
            position += length
        return message[position:] == self._behind


Target: type[PlainTarget] = _fast_proto.Target if _READS_MESSAGES else PlainTarget
"""`PlainTarget`, or its compiled twin."""

read_predict: Final[Callable[[bytes], UsualPredict | None]] = (
    _fast_proto.read_predict if _READS_MESSAGES else _read_nothing
)

place_of_values: Final[Callable[[bytes], tuple[int, int] | None]] = (
    _fast_proto.place_of_values if _READS_MESSAGES else _read_nothing
)
"""Reads a serialized PredictRequest; None where it is not of the usual form, right or wrong: protobuf has to look.

Usual is what names a model, and inputs of numbers or flags, each with as many values as its shape has."""

CODES: Final[Mapping[DType, str]] = MappingProxyType(
    {
        DType.FLOAT: "f",
        DType.DOUBLE: "d",
        DType.INT64: "q",
        DType.INT32: "i",
        DType.INT16: "h",
        DType.INT8: "b",
        DType.UINT64: "Q",
        DType.UINT32: "I",
        DType.UINT16: "H",
        DType.UINT8: "B",
        DType.BOOL: "?",
    }
)
"""The types that it reads and writes, and their letters in the `struct` module."""


LETTERS: Final[Mapping[np.dtype[Any], str]] = MappingProxyType({dtype.numpy: code for dtype, code in CODES.items()})
"""The same by the dtype of an array."""

Place = tuple[str, int, tuple[int, ...], np.dtype[Any], str]
"""An input's alias, where its values stand among those of the request, and the array's shape, dtype, and letter; the
last is empty where the extension has none."""


def describe_codec() -> str:
    """Which codec reads and writes JSON, and why, in one line for people."""
    if IS_USED:
        return "compiled"
    if EXTENSION is not None:
        return f"plain Python ({SWITCH} is set)"
    if _fast is not None:
        return "plain Python (the extension is of another version; install hotserve again)"
    return "plain Python (installed without a C compiler)"


messages_of_rows: Final[Callable[[bytes, bytes, bytes, list[int], int, int], list[bytes]]] = (
    _fast_proto.messages_of_rows if _READS_MESSAGES else messages_in_python
)
