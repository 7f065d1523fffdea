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

from collections.abc import Sequence, Set
from itertools import islice
from math import inf
from typing import Any, Final

import numpy as np

from hotserve.batching.guests import Answers, Clerk, Guest, Waiting, column_of, rows_of
from hotserve.batching.options import BatchRules
from hotserve.core.handle import VersionHandle
from hotserve.tensors import Array

PREDICT: Final = "Predict"
"""What clients of those who gather call, for the metrics: there are no others."""


class NotHere(Exception):  # no error: somebody else answers
    """What a clerk raises who leaves requests to the usual way."""


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

    def without(self, gone: Set[Guest]) -> Party:
        """The same without some of them."""
        guests = [guest for guest in self.guests if guest not in gone]
        rows, size = sum(guest.rows for guest in guests), sum(guest.size for guest in guests)
        clerk = guests[0].clerk if guests else self.clerk
        return Party(self.handle, guests, rows, size, clerk, is_mixed=self.is_mixed)


class Gathering(Waiting):
    """Where requests of a lane gather whose rows are alike.

    Attributes:
        rules: The rules of the lane when the gathering was made: under others nobody gathers here.
        columns: The inputs.
    """

    __slots__ = ("columns", "rules")

    def __init__(self, rules: BatchRules, columns: Sequence[Column]) -> None:
        super().__init__(rules.max_rows)
        self.rules = rules
        self.columns = tuple(columns)

    def next_party(self, room: float) -> Party:
        """Takes out those who came first, as many as share a run; there has to be somebody.

        Args:
            room: The most bytes that they may have together, if they are several.
        """
        guests, handle = self.guests, self.handle
        assert handle is not None  # somebody waits
        if self.rows <= self.rules.max_rows and self.size <= room:
            party = Party(handle, guests, self.rows, self.size, guests[0].clerk, is_mixed=self.is_mixed)
            self.clear()
            return party
        rows, size = guests[0].rows, guests[0].size
        count = 1
        for guest in islice(guests, 1, None):
            if rows + guest.rows > self.rules.max_rows or size + guest.size > room:
                break
            count += 1
            rows += guest.rows
            size += guest.size
        party = Party(handle, guests[:count], rows, size, guests[0].clerk, is_mixed=self.is_mixed)
        del guests[:count]
        self.rows -= rows
        self.size -= size
        if not guests:
            self.clear()
        return party

    def put_back(self, guests: list[Guest], handle: VersionHandle) -> None:
        """Has some who were taken out with the first party gather again, before all others."""
        self.handle = handle
        self.guests = guests + self.guests
        self.rows += sum(guest.rows for guest in guests)
        self.size += sum(guest.size for guest in guests)
        self.deadline = min([self.deadline, *(guest.deadline for guest in guests)])
        self.is_mixed = True  # as far as is known

    def take_late(self, now: float) -> list[Guest]:
        """Takes out those whose deadlines have passed."""
        late = [guest for guest in self.guests if guest.deadline <= now]
        if late:
            self.guests = [guest for guest in self.guests if guest.deadline > now]
            self.rows -= sum(guest.rows for guest in late)
            self.size -= sum(guest.size for guest in late)
        self.deadline = min((guest.deadline for guest in self.guests), default=inf)
        if not self.guests:
            self.clear()
        return late

    def inputs(self, guests: list[Guest], rows: int) -> dict[str, Array]:
        """The inputs of some requests, which have so many rows together; input alias -> array."""
        if len(guests) == 1:
            contents = guests[0].contents
            return {
                alias: np.ndarray((rows, *tail), dtype, content)
                for (alias, tail, dtype), content in zip(self.columns, contents, strict=True)
            }
        return {
            alias: np.ndarray((rows, *tail), dtype, column_of(guests, index))
            for index, (alias, tail, dtype) in enumerate(self.columns)
        }


def can_be_divided(answers: Answers, rows: int) -> bool:
    """Whether every output has a row for each row that was run."""
    return all(array.ndim and array.shape[0] == rows for array in answers.values())


def by_clerk(party: Party) -> dict[Clerk, tuple[list[Guest], list[int]]]:
    """Whom each clerk has to answer, and where the rows of each of them begin in what all share."""
    if not party.is_mixed:
        return {party.clerk: (party.guests, rows_of(party.guests)[0])}
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
