"""A storage: something that holds folders of versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells whether a file has changed.

    Attributes:
        size: Bytes.
        modified_ns: The modification time, which a copy may preserve from elsewhere.
        changed_ns: When the file last changed here, by the storage's clock; cannot be set by users.
    """

    size: int
    modified_ns: int
    changed_ns: int


Snapshot = Mapping[str, FileStamp]
"""Path below a version folder -> stamp, for every file in it."""


class Storage(Protocol):
    """Lists what is there. Every method may block, and is called from the poller's thread only."""

    def children(self, path: Path) -> Sequence[str]:
        """The names of a folder's direct entries.

        Raises:
            OSError: The folder is missing or cannot be read.
        """
        ...

    def snapshot(self, path: Path) -> Snapshot:
        """The stamps of all files below a folder (of the file itself, under "", when it is one).

        Raises:
            OSError: It is missing, or cannot be read.
        """
        ...
