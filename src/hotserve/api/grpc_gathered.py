"""Usual calls of Predict over gRPC, that gather: see `hotserve.batching.gathering`."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from hotserve.api.codec_threads import LARGE_BYTES
from hotserve.api.exchange import GrpcRequest
from hotserve.api.gathered import Client, Gatherer, GatheringRoad, check_size, give_out
from hotserve.api.predict_messages import encode_response, encode_responses
from hotserve.batching.gathering import Answers, Guest
from hotserve.codecs.compiled import read_predict
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


class GrpcRoad(GatheringRoad):
    """Takes the messages of calls of Predict."""

    __slots__ = ("_as_content", "_named", "_resume")

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

    def take(self, message: bytes, client: Client) -> bool:
        """See `Road.take`."""
        if not self._patience.is_worth_it():
            return False
        start = time.perf_counter()
        usual = read_predict(message) if len(message) < LARGE_BYTES else None
        if usual is None:
            return self._patience.found(None)
        named = self._named.get(usual[0])
        if named is None:
            return self._patience.found(None)
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
        values = usual[3]
        contents = [values[index] for index in seat.order]
        clerk: _GrpcClerk = seat.clerk  # type: ignore[assignment]  # it is from here
        clerk.in_flight.number += 1
        self._enter(seat, handle, kind, message, client, start, contents)
        return True

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        """Sends a call the usual way."""
        _, kind, message = guest.request
        times = (guest.start, guest.decoded)
        guest.client.go_on(message, partial(self._resume, handle=handle, kind=kind, inputs=inputs, times=times))

    def _clerk(self, handle: VersionHandle, kind: CheckedKind) -> _GrpcClerk:
        key = (_GrpcClerk, kind.signature_name, kind.outputs)
        clerk: _GrpcClerk | None = handle.remembered.get(key)
        if clerk is None:
            clerk = handle.remembered[key] = _GrpcClerk(self._metrics, handle, kind, as_content=self._as_content)
        return clerk


class _GrpcClerk:
    """Answers those that want the same outputs of the same signature."""

    __slots__ = ("_as_content", "_cells", "_metrics", "_outputs", "_signature", "_signature_name", "in_flight")

    def __init__(self, metrics: Metrics, handle: VersionHandle, kind: CheckedKind, *, as_content: bool) -> None:
        self._metrics = metrics
        self._as_content = as_content
        self._signature_name = kind.signature_name
        self._signature = kind.signature
        self._outputs = kind.outputs
        self._cells = metrics.answered_cells(handle.id.name, kind.version, kind.signature_name, "Predict", "GRPC")
        self.in_flight = self._cells.in_flight

    def answer(self, lease: Lease, guests: Sequence[Guest], answers: Answers, starts: Sequence[int] | None) -> None:
        ran = time.perf_counter()
        check_size(guests, answers, LARGE_BYTES)
        about = (lease, self._signature_name, self._signature, answers, self._outputs, self._as_content)
        if starts is None:
            bodies = [encode_response(*about)]
        else:
            bodies = encode_responses(*about, starts, [guest.rows for guest in guests])
        give_out(self._metrics, self._cells, guests, bodies, ran)

    def send_on(self, guest: Guest, handle: VersionHandle, inputs: Mapping[str, Array]) -> None:
        self.in_flight.number -= 1  # counted anew
        guest.request[0].send_on(guest, handle, inputs)
