"""Usual calls of Predict over gRPC, that gather: see `hotserve.batching.gathering`."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from math import inf
from typing import Any, Final, Protocol
from weakref import ref

from hotserve.api.codec_threads import LARGE_BYTES
from hotserve.api.exchange import GrpcRequest
from hotserve.api.gathered import Client, CountedClerk, Gatherer, GatheringRoad, check_size, give_out
from hotserve.api.predict_messages import encode_response, encode_responses
from hotserve.batching.guests import Answers, Guest, rows_of
from hotserve.batching.seats import Seat
from hotserve.codecs.compiled import Frame, PlainFrame, PlainTarget, Target, place_of_values, read_predict
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.served_versions import ModelSpec, ServedVersions
from hotserve.errors import ServingError
from hotserve.handlers.checked_kinds import CheckedKind
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_log import RequestLog
from hotserve.tensors import Array


class Resume(Protocol):
    """Answers a call the usual way that has been read already; see `GrpcPredict.resume`."""

    def __call__(
        self,
        request: GrpcRequest,
        handle: VersionHandle,
        kind: CheckedKind,
        inputs: Mapping[str, Array],
        times: tuple[float, float],
    ) -> Coroutine[Any, Any, bytes]: ...


_MOST_FORMS: Final = 256
"""How many messages are remembered; clients choose them."""

_MOST_FORM_BYTES: Final = 4096
"""A message of which more than this is not values is not remembered."""


class _Form:
    """A message that has gathered, without its values: one that is the same but for them need not be read.

    Attributes:
        target: What it names.
        is_judged: Whether it is told from its bytes that it does.
        frame: All of it but its values.
        era: `ServedVersions.era` before the version was looked up.
        model: The name of its model.
        handle: The version, which is not kept from being forgotten once it is unloaded.
        kind: What such calls have in common.
        seat: Where they gather.
    """

    __slots__ = ("era", "frame", "handle", "is_judged", "kind", "model", "seat", "target")

    def __init__(
        self,
        target: PlainTarget,
        is_judged: bool,
        frame: PlainFrame,
        era: object,
        handle: VersionHandle,
        kind: CheckedKind,
        seat: Seat,
    ) -> None:
        self.target = target
        self.is_judged = is_judged
        self.frame = frame
        self.era = era
        self.model = handle.id.name
        self.handle = ref(handle)
        self.kind = kind
        self.seat = seat


class GrpcRoad(GatheringRoad):
    """Takes the messages of calls of Predict."""

    __slots__ = ("_as_content", "_forms", "_last_era", "_last_form", "_last_target", "_named", "_resume")

    def __init__(
        self,
        manager: ServedVersions,
        gatherer: Gatherer,
        metrics: Metrics,
        request_log: RequestLog,
        named: Mapping[bytes, tuple[ModelSpec, str]],
        resume: Resume,
        *,
        as_content: bool,
    ) -> None:
        """Makes the road.

        Args:
            manager: Resolves names to versions.
            gatherer: Where calls gather.
            metrics: Counts them.
            request_log: Logs them.
            named: What the bytes of a `model_spec` say that has come before, and the signature that it names.
            resume: The usual way.
            as_content: Whether the tensors that answer are sent as raw bytes, in `tensor_content`.
        """
        super().__init__(manager, gatherer, metrics, request_log)
        self._named = named
        self._resume = resume
        self._as_content = as_content
        self._forms: dict[int, _Form] = {}  # by the length of the message
        # Of the last one that was looked at, for `refusal`: what it names, and when that led to its seat.
        self._last_target: PlainTarget | None = None
        self._last_era: object = None
        self._last_form: _Form | None = None  # if `refusal` looks at others like it

    def refusal(self, message: bytes, size: int, timeout_seconds: float | None) -> ServingError | None:
        """See `Road.refusal`."""
        last = self._last
        if last is None or last.lane.guests <= last.lane.few or self._last_era is not self._manager.era:
            return None
        target = self._last_target
        if target is None or not target.is_named_by(message):
            return None
        return self._refusal(last, size, timeout_seconds)

    def standing_refusal(self, timeout_seconds: float | None) -> tuple[Callable[[bytes], bool], ServingError] | None:
        """See `CallRoad.standing_refusal`."""
        last, target = self._last, self._last_target
        if last is None or target is None or self._last_era is not self._manager.era:
            return None
        refused = last.lane.refused
        return None if refused is None or refused[0] != timeout_seconds else (target.is_named_by, refused[1])

    def count_refused(self, calls: int, size: int) -> None:
        """See `CallRoad.count_refused`."""
        last = self._last
        assert last is not None
        assert last.lane.refused is not None, "the loop has done nothing else since"
        clerk: _GrpcClerk = last.clerk  # type: ignore[assignment]  # it is from here
        clerk.count(last.lane.refused[1], size, calls)
        self._gatherer.count_refused(last.lane, calls)

    def take(self, message: bytes, client: Client, timeout_seconds: float | None = None) -> bool:
        """See `Road.take`."""
        form = self._forms.get(len(message))
        if (
            form is None
            or form.era is not self._manager.era
            or form.kind.seat is not form.seat
            or not self._gatherer.may_gather(form.seat)
            or self._request_log.logs(form.model)
            or (handle := form.handle()) is None
            or (content := form.frame.values(message)) is None
        ):
            return self._read(message, client, timeout_seconds)
        if form is not self._last_form:  # `refusal` has not looked
            self._last_target, self._last_era = form.target, form.era
            self._last_form = form if form.is_judged else None
            if self._is_refused(form.seat, client, len(message), timeout_seconds):
                return True
        start = time.perf_counter()
        seat = form.seat
        clerk: _GrpcClerk = seat.clerk  # type: ignore[assignment]  # it is from here
        clerk.in_flight.number += 1
        deadline = inf if timeout_seconds is None else start + timeout_seconds
        request = (self, form.kind, message)
        size = len(message)
        guest = Guest(clerk, client, request, seat.rows, seat.size, start, start, (content,), deadline, size)
        self._gatherer.gather(seat, handle, guest)
        return True

    def _read(self, message: bytes, client: Client, timeout_seconds: float | None) -> bool:
        if not self._patience.is_worth_it():
            return False
        start = time.perf_counter()
        usual = read_predict(message) if len(message) < LARGE_BYTES else None
        if usual is None:
            return self._patience.found(None)
        named = self._named.get(usual[0])
        if named is None:
            return self._patience.found(None)
        era = self._manager.era
        try:
            handle = self._manager.find(named[0])
        except ServingError:
            return False
        kind: CheckedKind | None = None if handle is None else handle.remembered.get((named[1], usual[1], usual[2]))
        if handle is None or kind is None:
            return self._patience.found(None)
        seat = self._seat(handle, kind, partial(self._clerk, handle, kind))
        if seat is None:
            return False
        target = Target(usual[0], usual[1])
        self._remember(message, target, era, handle, kind, seat)
        last = self._last_target
        if seat is not self._last or last is None or self._last_era is not era or not last.is_named_by(message):
            self._last_target, self._last_era = target, era
            self._last_form = None
            if self._is_refused(seat, client, len(message), timeout_seconds):
                return True
        values = usual[3]
        contents = [values[index] for index in seat.order]
        clerk: _GrpcClerk = seat.clerk  # type: ignore[assignment]  # it is from here
        clerk.in_flight.number += 1
        deadline = inf if timeout_seconds is None else start + timeout_seconds
        request = (self, kind, message)
        decoded = time.perf_counter()
        guest = Guest(clerk, client, request, seat.rows, seat.size, start, decoded, contents, deadline, len(message))
        self._gatherer.gather(seat, handle, guest)
        return True

    def _remember(
        self, message: bytes, target: PlainTarget, era: object, handle: VersionHandle, kind: CheckedKind, seat: Seat
    ) -> None:
        place = place_of_values(message)
        if place is None or len(message) - (place[1] - place[0]) > _MOST_FORM_BYTES:
            return
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
        frame = Frame(message, *place)
        self._forms[len(message)] = _Form(target, target.is_named_by(message), frame, era, handle, kind, seat)

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        """Sends a call the usual way."""
        kind, times = guest.request[1], (guest.start, guest.decoded)
        work = partial(self._resume, handle=handle, kind=kind, inputs=inputs, times=times)
        self._go_on(guest, handle, work, "GRPC", "Predict")

    def _clerk(self, handle: VersionHandle, kind: CheckedKind) -> _GrpcClerk:
        key = (_GrpcClerk, kind.signature_name, kind.outputs)
        clerk: _GrpcClerk | None = handle.remembered.get(key)
        if clerk is None:
            clerk = handle.remembered[key] = _GrpcClerk(self._metrics, handle, kind, as_content=self._as_content)
        return clerk


class _GrpcClerk(CountedClerk):
    """Answers those that want the same outputs of the same signature."""

    __slots__ = ("_as_content", "_outputs", "_signature", "_signature_name")

    def __init__(self, metrics: Metrics, handle: VersionHandle, kind: CheckedKind, *, as_content: bool) -> None:
        super().__init__(metrics, (handle.id.name, kind.version, kind.signature_name, "Predict", "GRPC"))
        self._as_content = as_content
        self._signature_name = kind.signature_name
        self._signature = kind.signature
        self._outputs = kind.outputs

    def answer(self, lease: Lease, guests: list[Guest], answers: Answers, starts: list[int] | None) -> None:
        ran = time.perf_counter()
        check_size(guests, answers, LARGE_BYTES)
        about = (lease, self._signature_name, self._signature, answers, self._outputs, self._as_content)
        bodies = [encode_response(*about)] if starts is None else encode_responses(*about, starts, rows_of(guests)[1])
        give_out(self._metrics, self._cells, guests, bodies, ran)

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        self.in_flight.number -= 1  # counted anew
        guest.request[0].send_on(guest, handle, inputs)
