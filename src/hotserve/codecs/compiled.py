"""The compiled twin of the JSON codec's inner loops, where this installation has it.

It is built with the package where there is a C compiler. Without it everything works the same, and slower.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from hotserve.tensors import Array, DType

try:
    from hotserve.codecs import _fast
except ImportError:
    _fast = None  # type: ignore[assignment]


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

    def strings(self, index: int) -> list[tuple[bytes, bool]] | None:
        """The strings of a column, each with whether it is base64; None where they are no strings."""
        ...


class Extension(Protocol):
    """The functions of `_fast`."""

    def read_values(self, data: bytes) -> Values | None:
        """Reads a predict body; None where it is not of one of the usual forms, be it right or wrong.

        From 64 KiB on it does so without the GIL.
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


SWITCH: Final = "HOTSERVE_NO_EXTENSION"
"""The environment variable that turns the extension off, if it is set to anything."""

_REVISION: Final = 1
"""What `_fast.REVISION` is in the sources that belong to this file: an editable install may be older than they are."""

EXTENSION: Final[Extension | None] = _fast if getattr(_fast, "REVISION", None) == _REVISION else None
"""The extension, if it is there and belongs to these sources."""

IS_USED: Final = EXTENSION is not None and not os.environ.get(SWITCH)
"""Whether the codec uses it."""

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


def describe_codec() -> str:
    """Which codec reads and writes JSON, and why, in one line for people."""
    if IS_USED:
        return "compiled"
    if EXTENSION is not None:
        return f"plain Python ({SWITCH} is set)"
    if _fast is not None:
        return "plain Python (the extension is of another version; install hotserve again)"
    return "plain Python (installed without a C compiler)"
