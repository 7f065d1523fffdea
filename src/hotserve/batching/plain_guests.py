"""Requests that take part in a run, who answers them, and what all of some of them have.

`_guests.pyx` is the compiled twin of it, but for `Clerk`; `guests` chooses between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, Protocol

from hotserve.core.handle import Lease, VersionHandle
from hotserve.errors import ServingError
from hotserve.tensors import Array

Answers = Mapping[str, Array]
"""Output alias -> array, with the rows of all requests."""


class Clerk(Protocol):
    """Knows the requests of one API for one signature: writes their answers, or sends them the usual way."""

    def answer(self, lease: Lease, guests: list[Guest], answers: Answers, starts: list[int] | None) -> None:
        """Answers requests.

        Args:
            lease: The version that has run.
            guests: The requests.
            answers: The answer to all of them, perhaps among others.
            starts: Where the rows of each begin in it; None where it is the answer to the only request, whatever its
                shape.

        Raises:
            NotHere: It cannot; nobody has been answered, and all of them have to be sent on.
            ServingError: The same; the usual way tells each of them why.
        """
        ...

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        """Sends a request the usual way.

        Args:
            guest: The request.
            handle: The version that it was read for.
            inputs: Its arrays.
        """
        ...

    def fail(self, guest: Guest, error: ServingError) -> None:
        """Answers a request with an error."""
        ...


class Guest:
    """A request that takes part.

    Attributes:
        clerk: Who answers it.
        client: Who waits for the answer; the clerk's affair.
        request: What came; the clerk's affair.
        rows: How many rows it has.
        size: The bytes of its inputs.
        start: When it was there, in seconds of `time.perf_counter`.
        decoded: When it had been read.
        contents: The bytes of each input.
        deadline: When nobody waits for the answer any more, by the same clock; infinite for never.
        received: How many bytes have come.
    """

    __slots__ = ("clerk", "client", "contents", "deadline", "decoded", "received", "request", "rows", "size", "start")

    def __init__(
        self,
        clerk: Clerk,
        client: Any,
        request: Any,
        rows: int,
        size: int,
        start: float,
        decoded: float,
        contents: Sequence[bytes],
        deadline: float = inf,
        received: int = 0,
    ) -> None:
        self.clerk = clerk
        self.client = client
        self.request = request
        self.rows = rows
        self.size = size
        self.start = start
        self.decoded = decoded
        self.contents = contents
        self.deadline = deadline
        self.received = received


class Waiting:
    """Requests that wait.

    Attributes:
        guests: They, in order.
        rows: How many rows they have together.
        size: How many bytes.
        deadline: No deadline of theirs is earlier.
        handle: The version that they are for; None where nobody waits, so that none is kept.
        is_mixed: Whether there may be several clerks.
        room: How many bytes those could have together who shared the last run.
    """

    __slots__ = ("_clerk", "_max_rows", "deadline", "guests", "handle", "is_mixed", "room", "rows", "size")

    guests: list[Guest]
    rows: int
    size: int
    deadline: float
    handle: VersionHandle | None
    is_mixed: bool
    _clerk: Clerk | None  # of the last one who came

    def __init__(self, max_rows: int) -> None:
        """Has nobody wait.

        Args:
            max_rows: The most rows that those have who share a run.
        """
        self._max_rows = max_rows
        self.room = inf
        self.clear()

    def add(self, guest: Guest, handle: VersionHandle) -> bool:
        """Adds a request for a version, which is the same for all; returns whether they fill a run."""
        self.handle = handle
        self.guests.append(guest)
        self.rows += guest.rows
        self.size += guest.size
        if guest.clerk is not self._clerk:
            self.is_mixed = self.is_mixed or self._clerk is not None
            self._clerk = guest.clerk
        if guest.deadline < self.deadline:
            self.deadline = guest.deadline
        return self.size > self.room or self.rows >= self._max_rows

    def clear(self) -> None:
        """Forgets all who wait; whoever has `guests` keeps them."""
        self.guests = []
        self.rows = self.size = 0
        self.deadline = inf
        self.handle = self._clerk = None
        self.is_mixed = False


def column_of(guests: list[Guest], index: int) -> bytearray:
    """The bytes of one input of all of them, which may be written to.

    Args:
        guests: The requests.
        index: Where it stands in `Guest.contents`.
    """
    return bytearray().join([guest.contents[index] for guest in guests])


def times_of(guests: list[Guest]) -> tuple[list[float], list[float], int]:
    """When each began, when each was decoded, and how many bytes have come of all."""
    starts, decoded = [guest.start for guest in guests], [guest.decoded for guest in guests]
    return starts, decoded, sum(guest.received for guest in guests)


def rows_of(guests: list[Guest]) -> tuple[list[int], list[int]]:
    """Where the rows of each begin in what all share, and how many each has."""
    counts = [guest.rows for guest in guests]
    return list(accumulate(counts, initial=0))[:-1], counts
