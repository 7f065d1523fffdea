"""Which entries of a base path are versions: pure functions of names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

# As strings::safe_strto64 reads them: decimal digits, an optional sign, white space around; leading zeros are usual
# (`00000123`). Negative numbers parse in the original but are outside its contract.
_VERSION_NAME = re.compile(r"\s*\+?0*([0-9]{1,19})\s*", re.ASCII)

_MAX_VERSION = 2**63 - 1


def version_number(name: str) -> int | None:
    """The number that a folder's name stands for, None if it is no version.

    Source: FileSystemStoragePathSource::ParseVersionNumber.
    """
    match = _VERSION_NAME.fullmatch(name)
    if match is None:
        return None
    number = int(match[1])
    return number if number <= _MAX_VERSION else None


def versions_among(names: Iterable[str]) -> Mapping[int, str]:
    """Version number -> name of its folder.

    Two names for one number (`1` and `001`): the lexicographically last one counts, as in the original.
    """
    found: dict[int, str] = {}
    for name in sorted(names):
        number = version_number(name)
        if number is not None:
            found[number] = name
    return MappingProxyType(found)


def twins_among(names: Iterable[str]) -> Mapping[int, tuple[str, ...]]:
    """The numbers that several names stand for, with those names, sorted; users should hear of them."""
    grouped: dict[int, list[str]] = {}
    for name in sorted(names):
        number = version_number(name)
        if number is not None:
            grouped.setdefault(number, []).append(name)
    return MappingProxyType({number: tuple(names) for number, names in grouped.items() if len(names) > 1})
