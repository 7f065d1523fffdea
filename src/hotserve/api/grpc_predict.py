"""Predict over gRPC.

A request like one that has been answered takes a short cut: its bytes are read without protobuf, and what the checks
said of the other holds for it, too. The rest of the way is the same for all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from numpy import ndarray

from hotserve.api.codec_threads import LARGE_BYTES, CodecThreads, size_of
from hotserve.api.exchange import GrpcRequest
from hotserve.api.gathered import CallRoad, Gatherer
from hotserve.api.grpc_calls import counted, model_spec_of, parse
from hotserve.api.grpc_gathered import GrpcRoad
from hotserve.api.predict_messages import NONE_CUT, decode_inputs, encode_large_response, encode_response, parse_predict
from hotserve.codecs.compiled import UsualPredict, read_predict
from hotserve.codecs.cut_tensors import CutValues
from hotserve.codecs.prediction_log import LogKind
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.served_versions import ModelSpec, ServedVersions
from hotserve.errors import InvalidArgument
from hotserve.handlers.checked_kinds import CheckedKind, remember_kind
from hotserve.handlers.checks import explain, find_signature, select_outputs
from hotserve.handlers.predict import Predict
from hotserve.observability.logged_call import GrpcCall
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_log import RequestLog
from hotserve.observability.request_record import RequestRecord
from hotserve.protos import messages
from hotserve.tensors import Array, Signature

_MAX_NAMED: Final = 1024
_MAX_SPEC_BYTES: Final = 512
"""How many `model_spec`s are remembered, and how long such a one may be."""


class GrpcPredict:
    """Answers Predict."""

    def __init__(
        self,
        manager: ServedVersions,
        predict: Predict,
        metrics: Metrics,
        request_log: RequestLog,
        codec_threads: CodecThreads,
        *,
        as_content: bool,
        check_method_name: bool,
        gatherer: Gatherer | None = None,
    ) -> None:
        """Makes the method; for the arguments see `GrpcServices`."""
        self._manager = manager
        self._predict = predict
        self._metrics = metrics
        self._request_log = request_log
        self._codec_threads = codec_threads
        self._as_content = as_content
        self._check_method_name = check_method_name
        self._named: dict[bytes, tuple[ModelSpec, str]] = {}
        self.road: CallRoad | None = None
        """Where calls are to be handed in first."""
        if gatherer is not None:
            self.road = GrpcRoad(
                manager, gatherer, metrics, request_log, self._named, self._resume, as_content=as_content
            )

    async def __call__(self, request: GrpcRequest) -> bytes:
        """Answers one call."""
        start = time.perf_counter()
        data = request.message
        is_large = len(data) >= LARGE_BYTES
        usual = None if is_large else read_predict(data)
        named = None if usual is None else self._named.get(usual[0])
        message, cut = None, NONE_CUT
        if named is not None:
            model = named[0].name
        else:
            if is_large:
                message, cut = await self._codec_threads.run(parse_predict, data)
            else:
                message = parse(messages.PredictRequest, data)
            model = message.model_spec.name
        with (
            counted(self._metrics, model, "Predict", start, request) as call,
            self._manager.lease(model_spec_of(message) if named is None else named[0]) as lease,
        ):
            kind = None
            if usual is not None and named is not None:
                kind = lease.remembered.get((named[1], usual[1], usual[2]))
            if usual is not None and kind is not None:
                name, signature, outputs = kind.signature_name, kind.signature, kind.outputs
                call.version, call.signature = kind.version, name
                values = usual[3]
                inputs: dict[str, Array] = {
                    alias: ndarray(shape, dtype, values[index]) for alias, index, shape, dtype, _ in kind.places
                }
                call.decoded = time.perf_counter()
                answer = await self._predict.run_checked(
                    lease, name, signature, inputs, outputs, request.timeout_seconds
                )
            else:
                if message is None:
                    message = parse(messages.PredictRequest, data)
                name, signature, inputs, outputs = await self._read(message, cut, is_large, lease, call)
                call.mark_decoded()
                answer = await self._predict(lease, name, signature, inputs, outputs, request.timeout_seconds)
            written = await self._write(data, lease, name, signature, answer, outputs, call)
            if usual is not None and kind is None:
                self._remember(message, usual, lease, name, signature, inputs, outputs)
            return written

    async def _resume(
        self,
        request: GrpcRequest,
        handle: VersionHandle,
        kind: CheckedKind,
        inputs: Mapping[str, Array],
        times: tuple[float, float],
    ) -> bytes:
        """Answers a call that has been read, because it could not be answered where it gathered.

        Args:
            request: The call.
            handle: The version that it was read for.
            kind: What calls like it have in common.
            inputs: Its arrays.
            times: When it was there and when it had been read, as `RequestRecord` has them.
        """
        lease = handle.acquire()
        if lease is None:
            return await self(request)  # the version has been withdrawn since
        with lease, counted(self._metrics, handle.id.name, "Predict", times[0], request) as call:
            call.version, call.signature, call.decoded = kind.version, kind.signature_name, times[1]
            answer = await self._predict.run_checked(
                lease, kind.signature_name, kind.signature, inputs, kind.outputs, request.timeout_seconds
            )
            return await self._write(
                request.message, lease, kind.signature_name, kind.signature, answer, kind.outputs, call
            )

    async def _write(
        self,
        data: bytes,
        lease: Lease,
        name: str,
        signature: Signature,
        answer: Mapping[str, Array],
        outputs: Sequence[str],
        call: RequestRecord,
    ) -> bytes:
        """Writes the answer to the message `data`, and logs both."""
        call.mark_ran()
        if size_of(answer) < LARGE_BYTES:
            written = encode_response(lease, name, signature, answer, outputs, self._as_content)
        else:
            written = await self._codec_threads.run_with(
                lease, encode_large_response, lease, name, signature, answer, outputs, self._as_content
            )
        call.sent_bytes = len(written)
        if self._request_log.logs(lease.id.name):
            self._request_log.offer(lease.id, GrpcCall(LogKind.PREDICT, name, data, written), lease.servable)
        return written

    async def _read(
        self, message: Any, cut: Mapping[str, CutValues], is_large: bool, lease: Lease, call: RequestRecord
    ) -> tuple[str, Signature, dict[str, Array], Sequence[str]]:
        """What is called, its arrays, and the outputs that are wanted.

        Raises:
            ServingError: The request does not fit the version.
        """
        call.version = str(lease.id.version)
        name, signature = find_signature(
            lease, message.model_spec.signature_name, check_method_name=self._check_method_name
        )
        call.signature = name
        inputs: dict[str, Array] = {}
        try:
            if is_large:
                await self._codec_threads.run(decode_inputs, message, signature, inputs, cut)
            else:
                decode_inputs(message, signature, inputs)
            outputs = select_outputs(signature, message.output_filter)
        except InvalidArgument as error:
            raise explain(error, name, signature, inputs) from error
        return name, signature, inputs, outputs

    def _remember(
        self,
        message: Any,
        usual: UsualPredict,
        lease: Lease,
        name: str,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
    ) -> None:
        spec, wanted, kinds, _ = usual
        if len(spec) > _MAX_SPEC_BYTES:
            return
        if len(self._named) >= _MAX_NAMED:
            self._named.clear()
        signature_name = message.model_spec.signature_name
        self._named[spec] = model_spec_of(message), signature_name
        aliases = [alias for alias, _, _ in kinds]
        remember_kind(lease, (signature_name, wanted, kinds), name, signature, outputs, inputs, aliases)
