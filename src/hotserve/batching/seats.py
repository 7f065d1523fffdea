"""Which kinds of requests may gather, and where."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np

from hotserve.batching.gathering import Gathering
from hotserve.batching.guests import Clerk
from hotserve.batching.lane import INLINE_SECONDS, SHARED_INLINE_SECONDS, Lane

_ENOUGH: Final = SHARED_INLINE_SECONDS / INLINE_SECONDS
"""Where runs on the loop may be shared by so many, each has no more than a short run of it. What one of them would take
alone need not be known: where all have come together so far, nobody has run alone."""

_MAX_GATHERINGS: Final = 256
"""How many kinds of rows gather for a lane; clients choose them."""

Input = tuple[str, int, tuple[int, ...], np.dtype[Any]]
"""An input's alias, where its values stand among those of a request, and the array's shape and dtype."""


class Seat:
    """What all requests of a kind have in common where they gather.

    Attributes:
        lane: Where they run.
        gathering: Where they gather for it.
        clerk: Who answers them.
        order: Where the values of each input stand among those of a request, in the order of the gathering's columns.
        rows: How many rows each has.
        size: The bytes of the inputs of each.
        times: The lane's.
        era: Of these, when `is_open` was asked last.
        was_open: What it said.
    """

    __slots__ = ("clerk", "era", "gathering", "lane", "order", "rows", "size", "times", "was_open")

    def __init__(
        self, lane: Lane, gathering: Gathering, clerk: Clerk, order: Sequence[int], rows: int, size: int
    ) -> None:
        self.lane = lane
        self.gathering = gathering
        self.clerk = clerk
        self.order = tuple(order)
        self.rows = rows
        self.size = size
        self.times = lane.times
        self.era: object = None
        self.was_open = False

    def is_open(self) -> bool:
        """Whether a run for one such request is known to be short, or one that enough of them share; and whether the
        lane still has its requests share runs."""
        lane = self.lane
        if self.times.era is not self.era:
            self.era = self.times.era
            self.was_open = lane.rules is self.gathering.rules and (
                lane.is_short(self.size) or lane.room_on_loop() >= _ENOUGH * self.size
            )
        return self.was_open


def seat_in(lane: Lane, clerk: Clerk, inputs: Sequence[Input]) -> Seat | None:
    """The seat of a kind of requests.

    Args:
        lane: Where they run.
        clerk: Who answers them.
        inputs: Their inputs.

    Returns:
        It; None where such requests do not share runs, or only in ways that the queue alone knows.
    """
    rules = lane.rules
    if not rules.max_rows or rules.is_strict or rules.timeout_seconds or not inputs:
        return None
    if any(not shape or 0 in shape for _, _, shape, _ in inputs):
        return None
    inputs = sorted(inputs, key=lambda entry: entry[0])
    rows, weight, key = lane.admit({alias: np.empty(shape, dtype) for alias, _, shape, dtype in inputs})
    if weight != rows or rows > rules.max_rows:
        return None
    columns = tuple((alias, shape[1:], dtype) for alias, _, shape, dtype in inputs)
    gathering = lane.gatherings.get((key, columns, rules))
    if gathering is None:
        if len(lane.gatherings) >= _MAX_GATHERINGS:
            return None
        gathering = lane.gatherings[key, columns, rules] = Gathering(rules, columns)
    size = sum(prod(shape) * dtype.itemsize for _, _, shape, dtype in inputs)
    return Seat(lane, gathering, clerk, [index for _, index, _, _ in inputs], rows, size)
