"""Requests of one kind that come in the same turn of the event loop, and are run and answered together at its end.

Small models are run faster than a request goes the usual way: a coroutine, a place in a queue, an array of its own.
Where the run is short enough for the loop and nobody waits, requests need none of it. Their values are put side by
side as they come, one call of the engine takes all of them, and its answer is written for each. Whatever is unusual
about a request, or becomes so, sends it the usual way, which has the words for what is wrong.

More than fit into one run wait for the next ones. How many may, and who is too late, is the affair of the lane and of
`EngineThreads`.

No thread, no clock and no loop: `EngineThreads` has them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, Final, Protocol

import numpy as np

from hotserve.batching.options import BatchRules
from hotserve.core.handle import Lease, VersionHandle
from hotserve.errors import ServingError
from hotserve.tensors import Array

PREDICT: Final = "Predict"
"""What clients of those who gather call, for the metrics: there are no others."""

Answers = Mapping[str, Array]
"""Output alias -> array, with the rows of all requests."""


class NotHere(Exception):  # no error: somebody else answers
    """What a clerk raises who leaves requests to the usual way."""


class Clerk(Protocol):
    """Knows the requests of one API for one signature: writes their answers, or sends them the usual way."""

    def answer(self, lease: Lease, guests: Sequence[Guest], answers: Answers, starts: Sequence[int] | None) -> None:
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
    """

    __slots__ = ("clerk", "client", "contents", "deadline", "decoded", "request", "rows", "size", "start")

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


Column = tuple[str, tuple[int, ...], np.dtype[Any]]
"""An input: its alias, the shape of a row, and the dtype."""


class Party:
    """Those who share a run.

    Attributes:
        handle: The version that they are for.
        guests: The requests, in order.
        rows: How many rows they have together.
        size: How many bytes.
        clerk: Who answers the first of them.
        is_mixed: Whether others may answer some.
    """

    __slots__ = ("clerk", "guests", "handle", "is_mixed", "rows", "size")

    def __init__(
        self, handle: VersionHandle, guests: list[Guest], rows: int, size: int, clerk: Clerk, *, is_mixed: bool
    ) -> None:
        self.handle = handle
        self.guests = guests
        self.rows = rows
        self.size = size
        self.clerk = clerk
        self.is_mixed = is_mixed


class Gathering:
    """Where requests of a lane gather whose rows are alike.

    Attributes:
        rules: The rules of the lane when the gathering was made: under others nobody gathers here.
        columns: The inputs.
        guests: Those who wait, in order.
        rows: How many rows they have together.
        size: How many bytes.
        deadline: No deadline of theirs is earlier.
        handle: The version that they are for; None where nobody waits, so that none is kept.
        room: How many bytes those could have together who shared the last run.
    """

    __slots__ = ("_clerk", "_is_mixed", "columns", "deadline", "guests", "handle", "room", "rows", "rules", "size")

    def __init__(self, rules: BatchRules, columns: Sequence[Column]) -> None:
        self.rules = rules
        self.columns = tuple(columns)
        self.guests: deque[Guest] = deque()
        self.rows = 0
        self.size = 0
        self.deadline = inf
        self.handle: VersionHandle | None = None
        self.room = inf
        self._clerk: Clerk | None = None  # of the last one who came
        self._is_mixed = False  # whether there may be several

    def add(self, guest: Guest, handle: VersionHandle) -> None:
        """Adds a request for a version, which is the same for all."""
        self.handle = handle
        self.guests.append(guest)
        self.rows += guest.rows
        self.size += guest.size
        if guest.clerk is not self._clerk:
            self._is_mixed = self._is_mixed or self._clerk is not None
            self._clerk = guest.clerk
        if guest.deadline < self.deadline:
            self.deadline = guest.deadline

    def next_party(self, room: float) -> Party:
        """Takes out those who came first, as many as share a run; there has to be somebody.

        Args:
            room: The most bytes that they may have together, if they are several.
        """
        guests, handle = self.guests, self.handle
        assert handle is not None  # somebody waits
        if self.rows <= self.rules.max_rows and self.size <= room:
            party = Party(handle, list(guests), self.rows, self.size, guests[0].clerk, is_mixed=self._is_mixed)
            guests.clear()
        else:
            guest = guests.popleft()
            party = Party(handle, [guest], guest.rows, guest.size, guest.clerk, is_mixed=self._is_mixed)
            while guests:
                guest = guests[0]
                if party.rows + guest.rows > self.rules.max_rows or party.size + guest.size > room:
                    break
                party.guests.append(guests.popleft())
                party.rows += guest.rows
                party.size += guest.size
        self.rows -= party.rows
        self.size -= party.size
        if not guests:
            self.clear()
        return party

    def clear(self) -> None:
        """Forgets all who wait."""
        self.guests.clear()
        self.rows = self.size = 0
        self.deadline = inf
        self.handle = self._clerk = None
        self._is_mixed = False

    def take_late(self, now: float) -> list[Guest]:
        """Takes out those whose deadlines have passed."""
        late = [guest for guest in self.guests if guest.deadline <= now]
        if late:
            self.guests = deque(guest for guest in self.guests if guest.deadline > now)
            self.rows -= sum(guest.rows for guest in late)
            self.size -= sum(guest.size for guest in late)
        self.deadline = min((guest.deadline for guest in self.guests), default=inf)
        if not self.guests:
            self.clear()
        return late

    def inputs(self, guests: Sequence[Guest], rows: int) -> dict[str, Array]:
        """The inputs of some requests, which have so many rows together; input alias -> array."""
        contents: Sequence[bytes | bytearray]
        if len(guests) == 1:
            contents = guests[0].contents
        elif len(self.columns) == 1:
            contents = (bytearray().join([guest.contents[0] for guest in guests]),)
        else:
            contents = [bytearray().join(parts) for parts in zip(*[guest.contents for guest in guests], strict=True)]
        return {
            alias: np.ndarray((rows, *tail), dtype, content)
            for (alias, tail, dtype), content in zip(self.columns, contents, strict=True)
        }


def can_be_divided(answers: Answers, rows: int) -> bool:
    """Whether every output has a row for each row that was run."""
    return all(array.ndim and array.shape[0] == rows for array in answers.values())


def by_clerk(party: Party) -> dict[Clerk, tuple[list[Guest], list[int]]]:
    """Whom each clerk has to answer, and where the rows of each of them begin in what all share."""
    if not party.is_mixed:
        starts = list(accumulate([guest.rows for guest in party.guests[:-1]], initial=0))
        return {party.clerk: (party.guests, starts)}
    served: dict[Clerk, tuple[list[Guest], list[int]]] = {}
    start = 0
    for guest in party.guests:
        theirs = served.get(guest.clerk)
        if theirs is None:
            theirs = served[guest.clerk] = ([], [])
        theirs[0].append(guest)
        theirs[1].append(start)
        start += guest.rows
    return served
