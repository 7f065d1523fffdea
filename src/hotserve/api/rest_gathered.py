"""Usual predict requests over REST, that gather: see `hotserve.batching.gathering`."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from math import inf
from typing import Any, Final, Protocol
from weakref import ref

from hotserve.api.codec_threads import LARGE_TEXT_BYTES
from hotserve.api.exchange import RestRequest, RestResponse
from hotserve.api.gathered import Client, CountedClerk, Gatherer, GatheringRoad, check_size, give_out
from hotserve.batching.guests import Answers, Guest, rows_of
from hotserve.batching.seats import Seat
from hotserve.codecs import compiled
from hotserve.codecs.json_around import AroundValues, around_values
from hotserve.codecs.json_response import encode_predictions, encode_rows
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.served_versions import ModelSpec, ServedVersions
from hotserve.errors import ServingError
from hotserve.handlers.checked_kinds import CheckedKind
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_log import RequestLog
from hotserve.tensors import Array

_LARGEST: Final = LARGE_TEXT_BYTES - 1

_LARGE_ANSWER: Final = LARGE_TEXT_BYTES // 4
"""As of `PredictFormat.large_answer_bytes`."""


_MOST_COLUMNS: Final = 16
"""Bodies with more are read anew each time."""


def _none() -> None:
    """The version of no request."""


class Resume(Protocol):
    """Answers a request the usual way that has been read already; see `RestApi.resume`."""

    def __call__(
        self,
        request: RestRequest,
        spec: ModelSpec,
        handle: VersionHandle,
        kind: CheckedKind,
        inputs: Mapping[str, Array],
        row_format: bool,
        times: tuple[float, float],
    ) -> Coroutine[Any, Any, RestResponse]: ...


class RestRoad(GatheringRoad):
    """Takes the bodies of predict requests in JSON to one path, that are answered in JSON."""

    __slots__ = ("_around", "_era", "_handle", "_kind", "_last_era", "_resume", "_spec", "_timeout_seconds")

    def __init__(
        self,
        manager: ServedVersions,
        gatherer: Gatherer,
        metrics: Metrics,
        request_log: RequestLog,
        spec: ModelSpec,
        resume: Resume,
        timeout_seconds: float | None,
    ) -> None:
        """Makes the road.

        Args:
            manager: Resolves names to versions.
            gatherer: Where requests gather.
            metrics: Counts them.
            request_log: Logs them.
            spec: What the path names.
            resume: The usual way.
            timeout_seconds: How long a request may take; None for as long as it takes.
        """
        super().__init__(manager, gatherer, metrics, request_log)
        self._spec = spec
        self._resume = resume
        self._timeout_seconds = timeout_seconds
        # Of the last request that has gathered, for others like it; its seat is `_last`.
        self._kind: CheckedKind | None = None
        self._handle: Callable[[], VersionHandle | None] = _none  # which is not kept from being forgotten
        self._era: object = None  # `ServedVersions.era` before the version was looked up
        # Of the first one that took the seat, for `refusal`: what names its signature, if that can be told of others
        # unread, and `ServedVersions.era`.
        self._around: AroundValues | None = None
        self._last_era: object = None

    def refusal(self, message: bytes, size: int, timeout_seconds: float | None) -> ServingError | None:
        """See `Road.refusal`."""
        last = self._last
        if last is None or last.lane.guests <= last.lane.few:
            return None
        around = self._around
        if around is None or self._last_era is not self._manager.era or not around.is_of(message, len(message) - size):
            self._last = None  # it may be for others: `take` finds out, and asks
            return None
        return self._refusal(last, size, self._timeout_seconds)

    def take(self, message: bytes, client: Client, timeout_seconds: float | None = None) -> bool:
        """See `Road.take`."""
        kind, seat = self._kind, self._last
        if (
            kind is None
            or seat is None
            or kind.seat is not seat
            or self._era is not self._manager.era
            or not self._gatherer.may_gather(seat)
            or self._request_log.logs(self._spec.name)
            or len(message) > _LARGEST
            or (handle := self._handle()) is None
        ):
            return self._patience.is_worth_it() and self._read(message, client)
        assert kind.pattern is not None, "it has been remembered with one"
        start = time.perf_counter()
        contents = kind.pattern.read(message)
        if not isinstance(contents, tuple):
            self._kind = None
            return self._patience.is_worth_it() and self._take(message, contents, client, start)
        clerk: _RestClerk = seat.clerk  # type: ignore[assignment]  # it is from here
        clerk.in_flight.number += 1
        deadline = inf if self._timeout_seconds is None else start + self._timeout_seconds
        decoded = time.perf_counter()
        request = (self, kind, message)
        guest = Guest(clerk, client, request, seat.rows, seat.size, start, decoded, contents, deadline, len(message))
        self._gatherer.gather(seat, handle, guest)
        return True

    def _read(self, message: bytes, client: Client) -> bool:
        start = time.perf_counter()
        assert compiled.EXTENSION is not None, "there is no road without it"
        values = compiled.EXTENSION.read_values(message) if len(message) <= _LARGEST else None
        return self._take(message, values, client, start)

    def _take(self, message: bytes, values: compiled.Values | None, client: Client, start: float) -> bool:
        """Takes a request that has been read, if it is one that may gather."""
        if values is None:
            return self._patience.found(None)
        era = self._manager.era
        try:
            handle = self._manager.find(self._spec)
        except ServingError:
            return False
        key = values.key
        kind: CheckedKind | None = None if handle is None else handle.remembered.get(key)
        if handle is None or kind is None:
            return self._patience.found(None)
        seat = self._seat(handle, kind, partial(self._clerk, handle, kind, key[1]))
        if seat is None:
            return False
        if seat is not self._last:
            self._around, self._last_era = around_values(message), era
            if self._is_refused(seat, client, len(message), self._timeout_seconds):
                return True
        contents = []
        for index in seat.order:
            content = values.content(index, kind.letters[index])
            if content is None:
                return False
            contents.append(content)
        self._remember(key, kind, seat, handle, era)
        clerk: _RestClerk = seat.clerk  # type: ignore[assignment]  # it is from here
        clerk.in_flight.number += 1
        deadline = inf if self._timeout_seconds is None else start + self._timeout_seconds
        request = (self, kind, message)
        decoded = time.perf_counter()
        guest = Guest(clerk, client, request, seat.rows, seat.size, start, decoded, contents, deadline, len(message))
        self._gatherer.gather(seat, handle, guest)
        return True

    def _remember(self, key: compiled.Key, kind: CheckedKind, seat: Seat, handle: VersionHandle, era: object) -> None:
        """Has the next one like this be read by its pattern."""
        if len(key[2]) > _MOST_COLUMNS:
            return
        if kind.pattern is None:
            assert compiled.EXTENSION is not None, "there is no road without it"
            order = tuple((index, kind.letters[index]) for index in seat.order)
            kind.pattern = compiled.EXTENSION.Pattern(key, order)
        self._kind = kind
        self._handle = ref(handle)
        self._era = era

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array], row_format: bool) -> None:
        """Sends a request the usual way."""
        kind = guest.request[1]
        work = partial(
            self._resume,
            spec=self._spec,
            handle=handle,
            kind=kind,
            inputs=inputs,
            row_format=row_format,
            times=(guest.start, guest.decoded),
        )
        self._go_on(guest, handle, work, "REST", "predict")

    def _clerk(self, handle: VersionHandle, kind: CheckedKind, row_format: bool) -> _RestClerk:
        key = (_RestClerk, kind.signature_name, kind.outputs, row_format)
        clerk: _RestClerk | None = handle.remembered.get(key)
        if clerk is None:
            clerk = handle.remembered[key] = _RestClerk(self._metrics, handle, kind, row_format)
        return clerk


class _RestClerk(CountedClerk):
    """Answers those that want the same outputs of the same signature in the same form."""

    __slots__ = ("_row_format",)

    def __init__(self, metrics: Metrics, handle: VersionHandle, kind: CheckedKind, row_format: bool) -> None:
        super().__init__(metrics, (handle.id.name, kind.version, kind.signature_name, "predict", "REST"))
        self._row_format = row_format

    def answer(self, lease: Lease, guests: list[Guest], answers: Answers, starts: list[int] | None) -> None:
        ran = time.perf_counter()
        check_size(guests, answers, _LARGE_ANSWER)
        if starts is None:
            bodies = [encode_predictions(answers, self._row_format)]
        else:
            bodies = encode_rows(answers, self._row_format, starts, rows_of(guests)[1])
        give_out(self._metrics, self._cells, guests, bodies, ran)

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        self.in_flight.number -= 1  # counted anew
        guest.request[0].send_on(guest, handle, inputs, self._row_format)
