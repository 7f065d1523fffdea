"""When a version folder may be loaded: not while it is still being copied.

A folder is admitted once it is quiet (its files have the same sizes and times at two looks in a row, or nothing in it
has changed for long) and the platform that reads it finds all its parts. Copies by `cp -r`, rsync or a download tool
are then never picked up half-way, and the users of the server need no renaming trick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from hotserve.sources.storage import Snapshot, Storage

OLD_ENOUGH_SECONDS = 10.0
"""A folder in which nothing has changed for so long counts as quiet at the first look."""

_BESIDE_MODEL = "assets.extra/"
"""Where warm-up requests and the like are, which are put there while a version serves, too."""


class VersionAdmission:
    """Follows one version folder from look to look.

    Attributes:
        fingerprint: Stands for the content that was admitted; empty before.
        waiting_for: What the folder lacks, in words for the user; empty once it was admitted.
        is_settling: Whether it waits only because its files are still changing, or have only just appeared.
        has_changed: Whether the last look has found another model in the place of the one that was admitted.
    """

    def __init__(
        self,
        path: Path,
        storage: Storage,
        missing_parts: Callable[[Path], str | None],
        clock: Callable[[], float],
    ) -> None:
        """Starts to follow a folder.

        Args:
            path: The folder.
            storage: Where it is.
            missing_parts: Says what the folder lacks to be a whole model; None for nothing.
            clock: Seconds since the epoch.
        """
        self.path = path
        self._storage = storage
        self._missing_parts = missing_parts
        self._clock = clock
        self._previous: Snapshot | None = None
        self._admitted: Snapshot | None = None
        self.fingerprint = ""
        self.waiting_for = "it has not been looked at yet"
        self.is_settling = True
        self.has_changed = False
        self._waited_for = ""

    def look(self) -> None:
        """Takes a snapshot and updates `fingerprint` and `waiting_for`.

        A folder that was admitted once stays admitted; its fingerprint changes when its content has changed and is
        whole and quiet again.
        """
        self._waited_for = self.waiting_for
        self.is_settling = self.has_changed = False
        try:
            snapshot = self._storage.snapshot(self.path)
        except OSError as error:
            self._wait(_unreadable(error))
            return
        previous, self._previous = self._previous, snapshot
        if snapshot == self._admitted:
            return
        if not snapshot:
            self._wait("the folder is empty")
        elif snapshot != previous and not self._is_old(snapshot):
            self._wait("its files are still changing, or have only just appeared")
            self.is_settling = self._admitted is None
        else:
            missing = self._what_is_missing()
            if missing is not None:
                self._wait(missing)
            else:
                before, self._admitted = self._admitted, snapshot
                self.has_changed = before is not None and _model_files(before) != _model_files(snapshot)
                self.fingerprint = _fingerprint(snapshot)
                self.waiting_for = ""

    @property
    def is_pending(self) -> bool:
        """Whether another look soon may tell more."""
        return self.waiting_for != "" or self._previous != self._admitted

    @property
    def is_stuck(self) -> bool:
        """Whether it waits for the same as at the look before, and not for its files to come to rest."""
        return self.waiting_for != "" and self.waiting_for == self._waited_for and not self.is_settling

    def _what_is_missing(self) -> str | None:
        try:
            return self._missing_parts(self.path)
        except OSError as error:  # a file went away, or cannot be opened: one version waits, the others go on
            return _unreadable(error)

    def _wait(self, reason: str) -> None:
        if self._admitted is None:
            self.waiting_for = reason

    def _is_old(self, snapshot: Snapshot) -> bool:
        newest = max(stamp.changed_ns for stamp in snapshot.values()) / 1e9
        return self._clock() - newest >= OLD_ENOUGH_SECONDS


def _unreadable(error: OSError) -> str:
    return f"the folder cannot be read: {error.strerror or error}"


def _model_files(snapshot: Snapshot) -> Mapping[str, tuple[int, int]]:
    """What tells one model from another: not what stands beside it, nor permissions."""
    return {
        name: (stamp.size, stamp.modified_ns) for name, stamp in snapshot.items() if not name.startswith(_BESIDE_MODEL)
    }


def _fingerprint(snapshot: Snapshot) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, stamp in sorted(snapshot.items()):
        digest.update(f"{name}\0{stamp.size}\0{stamp.modified_ns}\0{stamp.changed_ns}\n".encode(errors="replace"))
    return digest.hexdigest()
