"""The cells that requests are counted in, and how many requests are counted at a time.

To find the buckets of one request takes longer than to read its numbers from a request; for many at a time numpy does
it in a few steps. So a request is noted first, and counted with the next ones, or when somebody reads the metrics.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from hotserve.observability.instruments import HistogramCell, NumberCell, observe_many
from hotserve.observability.spans import observe_spans

FEW = 8
"""So few requests are counted faster one by one."""


class RequestCells:
    """The cells of the requests to one signature that ended in one way; None where there is none to count in."""

    __slots__ = ("decode", "duration", "encode", "in_flight", "in_original", "latency", "received", "requests", "sent")

    def __init__(
        self,
        in_flight: NumberCell,
        requests: NumberCell,
        received: NumberCell,
        sent: NumberCell,
        in_original: NumberCell | None,
        latency: HistogramCell | None,
        duration: HistogramCell | None,
        decode: HistogramCell | None,
        encode: HistogramCell | None,
    ) -> None:
        self.in_flight = in_flight
        self.requests = requests
        self.received = received
        self.sent = sent
        self.in_original = in_original
        self.latency = latency
        self.duration = duration
        self.decode = decode
        self.encode = encode


Note = tuple[RequestCells, float, float, float, float, int, int]
"""A request that has ended: its cells; when it began, was decoded, had run and was answered, in seconds, the second and
the third of them 0 if it did not get there; the bytes that were received and sent."""


def count(notes: Sequence[Note], limits: tuple[float, ...]) -> None:
    """Counts requests.

    Args:
        notes: The requests, of any cells.
        limits: The upper limits of the buckets of all histograms of the cells, in microseconds.
    """
    by_cells: dict[RequestCells, list[Note]] = {}
    cells = None
    for note in notes:
        if note[0] is not cells:  # most follow one of the same cells
            cells = note[0]
            theirs = by_cells.setdefault(cells, [])
        theirs.append(note)
    for cells, of_it in by_cells.items():
        if len(of_it) <= FEW:
            for note in of_it:
                count_one(note, limits)
        else:
            count_many(cells, of_it, limits)


def count_one(note: Note, limits: tuple[float, ...]) -> None:
    """Counts one request; for the arguments see `count`."""
    cells, start, decoded, ran, end, received, sent = note
    cells.requests.number += 1
    cells.received.number += received
    cells.sent.number += sent
    if cells.in_original is not None:
        cells.in_original.number += 1
    if cells.duration is None:
        return
    microseconds = 1e6 * (end - start)
    bucket = bisect_right(limits, microseconds)
    for cell in (cells.duration, cells.latency):
        if cell is not None:
            cell.counts[bucket] += 1
            cell.total += microseconds
    if ran:
        for cell, seconds in ((cells.decode, decoded - start), (cells.encode, end - ran)):
            if cell is not None:
                cell.counts[bisect_right(limits, 1e6 * seconds)] += 1
                cell.total += 1e6 * seconds


def count_many(cells: RequestCells, notes: Sequence[Note], limits: tuple[float, ...]) -> None:
    """As `count_one` for each of many requests of the same cells."""
    _, start, decoded, ran, end, received, sent = zip(*notes, strict=True)
    cells.requests.number += len(notes)
    cells.received.number += sum(received)
    cells.sent.number += sum(sent)
    if cells.in_original is not None:
        cells.in_original.number += len(notes)
    if cells.duration is None:
        return
    times = np.array((start, decoded, ran, end))
    if not all(ran):
        observe_many([(cells.duration, cells.latency)], 1e6 * (times[3:] - times[:1]), limits)
        times = times[:, times[2] != 0]
        observe_many([(cells.decode,), (cells.encode,)], 1e6 * (times[1::2] - times[::2]), limits)
        return
    spans = np.empty((3, len(notes)))
    np.subtract(times[1::2], times[::2], spans[:2])
    np.subtract(times[3], times[0], spans[2])
    spans *= 1e6
    observe_many([(cells.decode,), (cells.encode,), (cells.duration, cells.latency)], spans, limits)


def count_together(
    cells: RequestCells,
    starts: list[float],
    decoded: list[float],
    ran: float,
    end: float,
    received_bytes: int,
    sent_bytes: int,
    limits: tuple[float, ...],
) -> None:
    """Counts requests that were run and answered together.

    Args:
        cells: Of all of them.
        starts: When each began; and what follows as in `Metrics.count_gathered`.
        decoded: When each was decoded.
        ran: When all had run.
        end: When all were answered.
        received_bytes: What came of all of them.
        sent_bytes: What they were answered with.
        limits: As in `count`.
    """
    number = len(starts)
    cells.requests.number += number
    cells.received.number += received_bytes
    cells.sent.number += sent_bytes
    if cells.in_original is not None:
        cells.in_original.number += number
    if cells.duration is not None:
        observe_spans(starts, end, (cells.duration, cells.latency), limits)
        observe_spans(starts, decoded, (cells.decode,), limits)
        observe_spans([ran] * number, end, (cells.encode,), limits)
