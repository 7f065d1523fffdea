"""What is noted as it happens and counted many at a time, or when somebody reads the metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

MANY: Final = 256
"""So many notes are counted at once: one request in so many waits for it, for a quarter of a millisecond at most."""

Note = TypeVar("Note")


class Notes(Generic[Note]):
    """Notes that are not counted yet. Any thread may add some, and any may count them."""

    __slots__ = ("_count", "_counting", "_notes")

    def __init__(self, count: Callable[[Sequence[Note]], None]) -> None:
        """Makes an empty list.

        Args:
            count: Counts notes; called by one thread at a time.
        """
        self._count = count
        self._counting = threading.Lock()
        self._notes: list[Note] = []

    def add(self, note: Note) -> None:
        """Adds a note, and counts all of them if they are many."""
        notes = self._notes
        notes.append(note)
        if len(notes) >= MANY:
            self.count(wait=False)

    def count(self, *, wait: bool = True) -> None:
        """Counts all notes.

        Args:
            wait: Whether somebody wants to read what they are counted in. If not, they may be left to whoever is
                counting just now: that may be this very thread, in which the collector ends a request.
        """
        if not self._counting.acquire(blocking=wait):
            return
        try:
            noted = self._notes[:]  # others go on adding
            del self._notes[: len(noted)]
            self._count(noted)
        finally:
            self._counting.release()
