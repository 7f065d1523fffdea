"""What REST and gRPC have in common for requests that gather: see `hotserve.batching.gathering`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from hotserve.api.codec_threads import size_of
from hotserve.batching.gathering import NotHere
from hotserve.batching.guests import Answers, Clerk, Guest, times_of
from hotserve.batching.lane import Lane
from hotserve.batching.seats import Input, Seat
from hotserve.core.handle import VersionHandle
from hotserve.core.served_versions import ServedVersions
from hotserve.errors import Code, ServingError, Unavailable
from hotserve.handlers.checked_kinds import CheckedKind
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_cells import RequestCells
from hotserve.observability.request_log import RequestLog
from hotserve.observability.request_record import RequestRecord

logger = logging.getLogger(__name__)

_UNREAD: Final = 8
"""So many requests are not looked at after one that could not gather, before the next one is: looking means to read
them, and they are read again on the usual way."""


class Patience:
    """Which requests are worth looking at, going by the last one that was.

    Attributes:
        asked: The seat of the last one, if a request like it is known to be able to gather now.
    """

    __slots__ = ("_gatherer", "_last", "_unread", "asked")

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer
        self._last: Seat | None = None
        self._unread = 0
        self.asked: Seat | None = None

    def is_worth_it(self) -> bool:
        """Whether to look at the next request; `found` has to follow where it has another seat than `asked`, or can
        have none."""
        last = self._last
        self.asked = last if last is not None and self._gatherer.may_gather(last) else None
        if self.asked is not None or (last is None and not self._unread):
            return True
        self._unread = (self._unread or _UNREAD) - 1
        return not self._unread

    def found(self, seat: Seat | None) -> bool:
        """Notes what was found; returns whether the request may gather now.

        Args:
            seat: Its seat; None for one that has none.
        """
        if seat is None:
            self._last = None
            self._unread = _UNREAD
            return False
        self._last = seat
        return self._gatherer.may_gather(seat)


class Gatherer(Protocol):
    """Where requests gather; `EngineThreads` is it."""

    def seat(
        self, handle: VersionHandle, signature_name: str, outputs: Sequence[str], clerk: Clerk, inputs: Sequence[Input]
    ) -> Seat | None:
        """See `EngineThreads.seat`."""
        ...

    def may_gather(self, seat: Seat) -> bool:
        """See `EngineThreads.may_gather`."""
        ...

    def gather(self, seat: Seat, handle: VersionHandle, guest: Guest) -> None:
        """See `EngineThreads.gather`."""
        ...

    def refusal(self, lane: Lane, size: int, timeout_seconds: float | None) -> Unavailable | None:
        """See `EngineThreads.refusal`."""
        ...

    def count_refused(self, lane: Lane, requests: int) -> None:
        """See `EngineThreads.count_refused`."""
        ...


class Client(Protocol):
    """Who waits for the answer to a request that has gathered: a connection, or a call."""

    def answer(self, body: bytes) -> None:
        """Takes the answer; of no effect if nobody waits any more."""
        ...

    def refuse(self, error: ServingError) -> None:
        """Has a request answered with an error; of no effect if nobody waits any more.

        Args:
            error: Many may have the same object, so that what is made of it can be kept.
        """
        ...

    def go_on(self, message: bytes, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
        """Has a request answered the usual way after all; of no effect if nobody waits any more.

        Args:
            message: What came: the body, or the message.
            work: Answers it, given all of the request.
        """
        ...


class Road(Protocol):
    """Where a wire hands in requests of one kind first, before it asks the API."""

    def refusal(self, message: bytes, size: int, timeout_seconds: float | None) -> ServingError | None:
        """Why a request is refused before anybody reads it, because too many like it wait; None where it is not.

        It is counted as refused, and the client has to be told. `take` may still refuse one that is none of the usual
        ones here.

        Args:
            message: What came; it ends with the body, or the message.
            size: How many bytes of it are that.
            timeout_seconds: How long the client waits, as it has said; None where it has not.

        Returns:
            The same object for many, so that what is made of it can be kept.
        """
        ...

    def take(self, message: bytes, client: Client, timeout_seconds: float | None = None) -> bool:
        """Takes a request, if it is one that may gather.

        Args:
            message: The body, or the message.
            client: Is told the answer, perhaps before this returns.
            timeout_seconds: How long the client waits, as it has said; None where it has not.

        Returns:
            Whether it was taken; if not, nothing has happened, and the API has to answer it.
        """
        ...


class CallRoad(Road, Protocol):
    """A road of whose refusals a wire can be told once for many calls."""

    def standing_refusal(self, timeout_seconds: float | None) -> tuple[Callable[[bytes], bool], ServingError] | None:
        """What the last call was told that was refused, if that still goes for others; None where it may not.

        It does at most until the loop goes on to something else than to read calls.

        Args:
            timeout_seconds: How long the clients of these wait.

        Returns:
            Whether a message is that of a call that is refused as well, and why.
        """
        ...

    def count_refused(self, calls: int, size: int) -> None:
        """Counts calls that were refused for what `standing_refusal` said.

        Args:
            calls: How many.
            size: How many bytes their messages had.
        """
        ...


class GatheringRoad:
    """What the roads of both APIs have in common: which requests gather, and how they come in."""

    __slots__ = ("_gatherer", "_last", "_manager", "_metrics", "_patience", "_request_log")

    def __init__(self, manager: ServedVersions, gatherer: Gatherer, metrics: Metrics, request_log: RequestLog) -> None:
        """Makes the road.

        Args:
            manager: Resolves names to versions.
            gatherer: Where requests gather.
            metrics: Counts them.
            request_log: Where requests go that have been answered: those of models that are logged go the usual way.
        """
        self._manager = manager
        self._gatherer = gatherer
        self._metrics = metrics
        self._request_log = request_log
        self._patience = Patience(gatherer)
        self._last: Seat | None = None  # of the last request that was looked at

    def _refusal(self, seat: Seat, size: int, timeout_seconds: float | None) -> ServingError | None:
        """Why a request of so many bytes that would take a seat is refused, and counted; None where it is not."""
        if seat.lane.guests <= seat.lane.few:
            return None
        error = self._gatherer.refusal(seat.lane, seat.size, timeout_seconds)
        if error is not None:
            clerk: CountedClerk = seat.clerk  # type: ignore[assignment]  # those of both roads are
            clerk.count(error, size)
        return error

    def _is_refused(self, seat: Seat, client: Client, size: int, timeout_seconds: float | None) -> bool:
        """As `refusal` for a request that has been read, because its seat is not that of the last one."""
        self._last = seat
        error = self._refusal(seat, size, timeout_seconds)
        if error is None:
            return False
        client.refuse(error)
        return True

    def _seat(self, handle: VersionHandle, kind: CheckedKind, clerk: Callable[[], Clerk]) -> Seat | None:
        """The seat of a request; None if it does not gather now."""
        seat = kind.seat
        if seat is None or seat is not self._patience.asked:
            seat = seat or seat_of(kind, self._gatherer, handle, clerk)
            if not self._patience.found(seat):
                return None
        return None if self._request_log.logs(handle.id.name) else seat

    def _go_on(
        self,
        guest: Guest,
        handle: VersionHandle,
        work: Callable[[Any], Coroutine[Any, Any, Any]],
        entrypoint: str,
        api: str,
    ) -> None:
        """Has `work` answer a request the usual way, where it is counted; if its client has left, counts it here.

        For the last two see `RequestRecord`.
        """
        _, kind, message = guest.request
        is_taken = False

        def begin(request: Any) -> Coroutine[Any, Any, Any]:
            nonlocal is_taken
            is_taken = True
            return work(request)

        guest.client.go_on(message, begin)
        if not is_taken:
            record = RequestRecord(entrypoint, len(message), guest.start)
            record.model, record.version, record.signature = handle.id.name, kind.version, kind.signature_name
            record.api, record.decoded = api, guest.decoded
            self._metrics.begin_request(record)
            self._metrics.count_request(record, Code.CANCELLED.name)


class CountedClerk:
    """What the clerks of both APIs have in common: how requests are counted that are not answered."""

    __slots__ = ("_cells", "_failed", "_labels", "_metrics", "in_flight")

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str, str, str]) -> None:
        """Makes a clerk.

        Args:
            metrics: Where its requests are counted.
            labels: Under what: model, version, signature, API and entry point.
        """
        self._metrics = metrics
        self._labels = labels
        self._cells = metrics.answered_cells(*labels)
        self._failed: dict[type[ServingError], RequestCells] = {}
        self.in_flight = self._cells.in_flight

    def count(self, error: ServingError, received_bytes: int, requests: int = 1) -> None:
        """Counts requests that have failed alike, of which so many bytes have come together."""
        cells = self._failed.get(type(error))
        if cells is None:
            cells = self._failed[type(error)] = self._metrics.cells_of(*self._labels, error.code.name)
        cells.requests.number += requests
        cells.received.number += received_bytes
        if cells.in_original is not None:
            cells.in_original.number += requests

    def fail(self, guest: Guest, error: ServingError) -> None:
        """See `Clerk.fail`."""
        self.in_flight.number -= 1
        self.count(error, guest.received)
        try:
            guest.client.refuse(error)
        except Exception:  # the others must have their answers
            logger.exception("An answer could not be handed over")


def seat_of(kind: CheckedKind, gatherer: Gatherer, handle: VersionHandle, clerk: Callable[[], Clerk]) -> Seat | None:
    """The seat of a kind of requests, found once; None where they do not gather."""
    if kind.seat is None and kind.may_gather:
        if all(letter for _, _, _, _, letter in kind.places):
            inputs = [place[:4] for place in kind.places]
            kind.seat = gatherer.seat(handle, kind.signature_name, kind.outputs, clerk(), inputs)
        kind.may_gather = kind.seat is not None
    return kind.seat


def check_size(guests: Sequence[Guest], answers: Answers, limit: int) -> None:
    """Has requests whose answers are large go the usual way, where threads write them, now and from now on.

    Args:
        guests: Those who share the answers; their `request` has their kind second.
        answers: The arrays.
        limit: How many bytes for each of them are large.

    Raises:
        NotHere: They are.
    """
    if size_of(answers) >= limit * len(guests):
        for guest in guests:
            kind = guest.request[1]
            kind.seat, kind.may_gather = None, False
        raise NotHere


def give_out(metrics: Metrics, cells: RequestCells, guests: list[Guest], bodies: Sequence[bytes], ran: float) -> None:
    """Counts requests that have been answered, and gives their answers to those who wait.

    Args:
        metrics: Where they are counted.
        cells: Of all of them.
        guests: The requests.
        bodies: Their answers.
        ran: When the arrays of the answers were there, in seconds of `time.perf_counter`.
    """
    starts, decoded, received = times_of(guests)
    metrics.count_gathered(cells, starts, decoded, ran, time.perf_counter(), received, sum(map(len, bodies)))
    for guest, body in zip(guests, bodies, strict=True):
        try:
            guest.client.answer(body)
        except Exception:  # the others must have their answers
            logger.exception("An answer could not be handed over")
