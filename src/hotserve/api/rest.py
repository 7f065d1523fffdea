"""REST: method, path, headers and body in, status and body out. Knows nothing of what carries it.

Source of the routes: tensorflow_serving/model_servers/http_rest_api_util.cc and http_rest_api_handler.cc.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from hotserve.api.codec_threads import LARGE_TEXT_BYTES, CodecThreads, size_of
from hotserve.api.compression import gunzip
from hotserve.api.cors import CorsPolicy, no_cors
from hotserve.api.exchange import RestRequest, RestResponse
from hotserve.api.gathered import Gatherer, Road
from hotserve.api.predict_formats import AskedPredict, PredictAnswer, PredictFormat, PredictFormats
from hotserve.api.rest_errors import error_response
from hotserve.api.rest_gathered import RestRoad
from hotserve.api.status_codes import CONTENT_TOO_LARGE, HTTP_STATUS
from hotserve.codecs import compiled
from hotserve.codecs.inference_results import Classified, Regressed
from hotserve.codecs.json_apart import APART_BYTES
from hotserve.codecs.json_examples import KINDS_IN_JSON
from hotserve.codecs.json_examples_body import read_examples_body
from hotserve.codecs.json_predict import PredictBody
from hotserve.codecs.json_request import PredictInputs
from hotserve.codecs.json_response import encode_error
from hotserve.codecs.json_results import encode_classifications, encode_regressions
from hotserve.codecs.status_json import encode_engines, encode_metadata, encode_status
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.servable import engine_report
from hotserve.core.served_versions import ModelSpec, ServedVersions
from hotserve.errors import Code, Internal, InvalidArgument, NotFound, ServingError
from hotserve.handlers.checked_kinds import CheckedKind, remember_kind
from hotserve.handlers.checks import (
    check_predict_method,
    explain,
    known_signature,
    other_signatures,
    select_outputs,
)
from hotserve.handlers.classify import CLASSIFY
from hotserve.handlers.examples import ExamplesRefused, OnExamples
from hotserve.handlers.health import Health
from hotserve.handlers.metadata import signature_def_map
from hotserve.handlers.predict import Predict
from hotserve.handlers.regress import REGRESS
from hotserve.handlers.status import model_status
from hotserve.observability import prometheus
from hotserve.observability.instruments import Instrument
from hotserve.observability.logged_call import RestOnExamples, RestPredict
from hotserve.observability.metrics import Metrics
from hotserve.observability.request_log import NO_REQUEST_LOG, RequestLog
from hotserve.observability.request_record import RequestRecord
from hotserve.tensors import DEFAULT_SIGNATURE, Array, Signature

logger = logging.getLogger(__name__)

_POST_ROUTE = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_GET_ROUTE = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata|engines))?",
    re.IGNORECASE | re.ASCII,
)
_EXPECTED_ROUTES = (
    "Expected POST /v1/models/NAME:predict, :classify or :regress, or GET /v1/models/NAME or /v1/models/NAME/metadata;"
    " /versions/NUMBER or /labels/LABEL may follow NAME, and nothing may follow the whole."
)
_MAX_VERSION = 2**63 - 1

_OK = Code.OK.name  # looked up once: an attribute of an enum takes long

_MAX_TARGETS, _MAX_TARGET_CHARACTERS = 1024, 512
"""How many paths are remembered with what they name, and how long such a one may be."""

_SMALL_PACKED_BYTES = APART_BYTES // 1100
"""Packed bodies below that are small unpacked, too: deflate makes no more than 1032 bytes of one."""

_PAGE_SLICE_SECONDS = 0.001
"""How long the page with the metrics is written at a stretch: with a thousand models it takes a tenth of a second."""


class RestApi:
    """Answers REST requests.

    Attributes:
        codec_threads: Read and write what is large.
    """

    def __init__(
        self,
        manager: ServedVersions,
        predict: Predict,
        health: Health,
        metrics: Metrics,
        *,
        timeout_seconds: float | None,
        max_message_bytes: int,
        request_log: RequestLog = NO_REQUEST_LOG,
        codec_threads: CodecThreads | None = None,
        cors: CorsPolicy = no_cors,
        metrics_path: str = prometheus.DEFAULT_PATH,
        read_metrics: Callable[[], Awaitable[Iterable[Instrument]]] | None = None,
        as_content: bool = False,
        check_method_name: bool = False,
        gatherer: Gatherer | None = None,
    ) -> None:
        """Makes the API.

        Args:
            manager: Resolves names to versions.
            predict: Runs requests.
            health: Answers `/healthz` and `/readyz`.
            metrics: Counts requests.
            timeout_seconds: How long an inference may take; None for as long as it takes.
            max_message_bytes: The largest body, before and after decompression.
            request_log: Where requests go that have been answered.
            codec_threads: Read and write what is large; threads of its own without it.
            cors: What browsers are told about pages of other origins.
            metrics_path: Where the page with the metrics is; empty for none.
            read_metrics: Reads what that page shows; `metrics` if it is not given.
            as_content: Whether the tensors of an answer in protobuf are raw bytes, in `tensor_content`.
            check_method_name: Whether a signature must have been exported for the method that calls it; see
                `OnExamples` and `check_predict_method`.
            gatherer: Where predict requests gather; without it, all go the usual way.
        """
        self._gatherer = gatherer
        self._manager = manager
        self._predict = predict
        self._classify = OnExamples(CLASSIFY, predict, check_method_name=check_method_name)
        self._regress = OnExamples(REGRESS, predict, check_method_name=check_method_name)
        self._check_method_name = check_method_name
        self._health = health
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._max_message_bytes = max_message_bytes
        self._request_log = request_log
        self.codec_threads = codec_threads or CodecThreads()
        self._cors = cors
        self._metrics_path = metrics_path
        self._read_metrics = read_metrics or metrics.read
        self._targets: dict[str, tuple[str, str, ModelSpec]] = {}
        self._roads: dict[ModelSpec, RestRoad] = {}
        self._formats = PredictFormats(max_message_bytes=max_message_bytes, as_content=as_content)
        self._pages = MappingProxyType(
            {
                "/healthz": self._healthz,
                "/readyz": self._readyz,
                **({metrics_path: self._metrics_page} if metrics_path else {}),
            }
        )

    async def handle(self, request: RestRequest) -> RestResponse:
        """Answers one request; never raises anything but cancellation."""
        if request.path not in self._targets:  # no page is among those
            page = self._pages.get(request.path.partition("?")[0])
            if page is not None:
                return await page(request)
            if request.path[:4].lower() != "/v1/":
                *others, last = self._pages
                return error_response(
                    NotFound(
                        f"Not found: {request.method} {request.path}. Models answer under /v1/models/<name>; see also"
                        f" {', '.join(others)} and {last}."
                    )
                )
        call = RequestRecord("REST", len(request.body))
        self._metrics.begin_request(call)
        if request.method == "POST":
            return await self._counted(request, call, self._post)
        return await self._counted(request, call, self._answer_at_once)

    def road(self, method: str, path: str, headers: Mapping[str, str]) -> Road | None:
        """Where requests with this head are to be handed in first; None where `handle` is asked at once.

        Args:
            method: As in `RestRequest`.
            path: The same.
            headers: The same.
        """
        if (
            self._gatherer is None
            or not compiled.IS_USED
            or method != "POST"
            or self._cors is not no_cors
            or not self._formats.is_json(headers)
            or "gzip" in headers.get("content-encoding", "")
        ):
            return None
        try:
            _, verb, spec = self._read_target(RestRequest(method, path), RequestRecord("REST", 0))
        except ServingError:
            return None
        if verb != "predict":
            return None
        road = self._roads.get(spec)  # heads differ in the length of the body, at least
        if road is not None:
            return road
        if len(self._roads) >= _MAX_TARGETS:
            self._roads.clear()
        road = self._roads[spec] = RestRoad(
            self._manager,
            self._gatherer,
            self._metrics,
            self._request_log,
            spec,
            self._resume,
            self._timeout_seconds,
        )
        return road

    async def _resume(
        self,
        request: RestRequest,
        spec: ModelSpec,
        handle: VersionHandle,
        kind: CheckedKind,
        inputs: Mapping[str, Array],
        row_format: bool,
        times: tuple[float, float],
    ) -> RestResponse:
        """Answers a predict request in JSON that has been read, because it could not be answered where it gathered.

        Args:
            request: The request.
            spec: What its path names.
            handle: The version that it was read for.
            kind: What requests like it have in common.
            inputs: Its arrays.
            row_format: Whether they stood under `instances`.
            times: When it was there and when it had been read, as `RequestRecord` has them.
        """

        async def run(request: RestRequest, call: RequestRecord) -> RestResponse:
            call.model, call.api = spec.name, "predict"
            lease = handle.acquire()
            if lease is None:
                return await self._predict_answer(request, spec, call)  # the version has been withdrawn since
            with lease:
                call.version, call.signature, call.decoded = kind.version, kind.signature_name, times[1]
                timeout = self._timeout_seconds
                if timeout is not None:  # some of it has passed where it gathered
                    timeout -= time.perf_counter() - times[0]
                answer = await self._predict.run_checked(
                    lease, kind.signature_name, kind.signature, inputs, kind.outputs, timeout
                )
                call.mark_ran()
                said = PredictAnswer(lease, kind.signature_name, kind.signature, answer, row_format)
                return await self._write(request, inputs, said, self._formats.json)

        call = RequestRecord("REST", len(request.body), times[0])
        self._metrics.begin_request(call)
        return await self._counted(request, call, run)

    async def _counted(
        self,
        request: RestRequest,
        call: RequestRecord,
        answer: Callable[[RestRequest, RequestRecord], Coroutine[Any, Any, RestResponse]],
    ) -> RestResponse:
        """Counts a request by what comes of it; never raises anything but cancellation."""
        code = _OK
        try:
            response = await answer(request, call)
            if response.status != HTTP_STATUS[Code.OK]:
                code = Code.INVALID_ARGUMENT.name
        except ServingError as error:
            code = error.code.name
            response = error_response(error)
        except Exception as error:  # the edge: whatever went wrong here must not end the connection without an answer
            logger.exception("%s %s failed", request.method, request.path)
            code = Code.INTERNAL.name
            response = error_response(
                Internal(f"{type(error).__name__}: {error}. This is a fault of the server; see its log.")
            )
        except BaseException:
            self._metrics.count_request(call, Code.CANCELLED.name)
            raise
        call.sent_bytes = len(response.body)
        self._metrics.count_request(call, code)
        if self._cors is not no_cors:
            headers = self._cors(request.headers)
            return RestResponse(response.status, response.body, response.content_type, headers)
        return response

    def refuse_body(self, request: RestRequest) -> RestResponse:
        """Answers a request whose body has been cut off, because it is over the limit."""
        if request.path[:4].lower() == "/v1/":
            call = RequestRecord("REST", 0)
            match_ = _POST_ROUTE.fullmatch(request.path)
            if match_ is not None and match_[4].islower():
                call.model, call.api = unquote(match_[1]), match_[4]
            self._metrics.begin_request(call)
            self._metrics.count_request(call, Code.RESOURCE_EXHAUSTED.name)
        text = f"The body is larger than {self._max_message_bytes} bytes, the limit set by --max_message_bytes."
        return RestResponse(CONTENT_TOO_LARGE, encode_error(text), headers=self._cors(request.headers))

    async def _answer_at_once(self, request: RestRequest, call: RequestRecord) -> RestResponse:
        match request.method:
            case "GET":
                return self._get(request, call)
            case "OPTIONS":
                # A browser's preflight; whether a page may read answers is said by headers, not by this status.
                origin = request.headers.get("origin", "")
                allowed = "http://" in origin or "https://" in origin
                return RestResponse(200 if allowed else 400, b"", "text/html; charset=ISO-8859-1")
            case _:
                raise _malformed(request)

    def _post(self, request: RestRequest, call: RequestRecord) -> Coroutine[Any, Any, RestResponse]:
        target = self._targets.get(request.path)
        if target is None:
            target = self._read_target(request, call)
        call.model, call.api, spec = target
        if call.api == "predict":
            return self._predict_answer(request, spec, call)
        return self._examples_answer(request, spec, call)

    def _read_target(self, request: RestRequest, call: RequestRecord) -> tuple[str, str, ModelSpec]:
        """The model, the verb, and the version of the model that a path names; clients name few, again and again."""
        match_ = _POST_ROUTE.fullmatch(request.path)
        if match_ is None:
            raise _malformed(request)
        name, version, label, verb = match_.groups()
        call.model = unquote(name)
        if not verb.islower():
            # As in the original: the route takes any case, and then there is nobody to answer.
            raise _malformed(request)
        call.api = verb
        target = call.model, verb, _model_spec(name, version, label)
        if len(self._targets) < _MAX_TARGETS and len(request.path) < _MAX_TARGET_CHARACTERS:
            self._targets[request.path] = target
        return target

    def _get(self, request: RestRequest, call: RequestRecord) -> RestResponse:
        match_ = _GET_ROUTE.fullmatch(request.path)
        if match_ is None:
            raise _malformed(request)
        name, version, label, about = match_.groups()
        if name is None:
            models = ", ".join(self._manager.model_names()) or "none"
            raise InvalidArgument(f"Missing model name in request. Models: {models}.")
        call.model = unquote(name)
        spec = _model_spec(name, version, label)
        if about == "engines":
            with self._lease(spec, call) as lease:
                return RestResponse(200, encode_engines(spec.name, lease.id.version, engine_report(lease.servable)))
        if about == "metadata":
            with self._lease(spec, call) as lease:
                return RestResponse(200, encode_metadata(spec.name, lease.id.version, signature_def_map(lease)))
        # As in the original, a label is not looked at: the status shows all versions.
        return RestResponse(200, encode_status(model_status(self._manager, spec.name, spec.version)))

    async def _predict_answer(self, request: RestRequest, spec: ModelSpec, call: RequestRecord) -> RestResponse:
        form = self._formats.of_request(request.headers)
        is_large = _is_large(request, form)
        if is_large:
            asked = await self.codec_threads.run(self._read, form, request)
        else:
            asked = self._read(form, request)
        with self._manager.lease(asked.refine(spec)) as lease:
            usual = asked.usual
            kind: CheckedKind | None = None if usual is None else lease.remembered.get(usual.key)
            outputs: Sequence[str]
            if usual is not None and kind is not None:
                call.version, call.signature = kind.version, kind.signature_name
                name, signature, outputs = kind.signature_name, kind.signature, kind.outputs
                try:
                    if is_large:
                        decoded = await self.codec_threads.run(_decode_known, usual, kind)
                    else:
                        decoded = _decode_known(usual, kind)
                except ServingError as error:
                    raise explain(error, name, signature, {}) from error
                call.mark_decoded()
                answer = await self._predict.run_checked(
                    lease, name, signature, decoded.inputs, outputs, self._timeout_seconds
                )
            else:
                name, signature, decoded, outputs = await self._decode(asked, is_large, lease, call)
                call.mark_decoded()
                answer = await self._predict(lease, name, signature, decoded.inputs, outputs, self._timeout_seconds)
                if usual is not None:
                    remember_kind(lease, usual.key, name, signature, outputs, decoded.inputs, usual.aliases)
            call.mark_ran()
            form = self._formats.of_answer(request.headers, form)
            said = PredictAnswer(lease, name, signature, answer, decoded.row_format)
            return await self._write(request, decoded.inputs, said, form)

    async def _write(
        self, request: RestRequest, inputs: Mapping[str, Array], said: PredictAnswer, form: PredictFormat
    ) -> RestResponse:
        """Writes the answer to a predict request, and logs both."""
        lease = said.lease
        if size_of(said.tensors) < form.large_answer_bytes:
            body, content_type = form.write(said)
        else:
            body, content_type = await self.codec_threads.run_with(lease, form.write, said)
        if self._request_log.logs(lease.id.name):
            size = len(request.body) + len(body)
            logged = RestPredict(said.signature_name, said.signature, inputs, said.tensors, size)
            self._request_log.offer(lease.id, logged, lease.servable)
        return RestResponse(200, body, content_type)

    async def _decode(
        self, asked: AskedPredict, is_large: bool, lease: Lease, call: RequestRecord
    ) -> tuple[str, Signature, PredictInputs, Sequence[str]]:
        """What is called, its arrays, and the outputs that are wanted.

        Raises:
            ServingError: The request does not fit the version.
        """
        call.version = str(lease.id.version)
        name, signature = _find_signature(lease, asked.signature_name, asked.takes_no_inputs)
        call.signature = name
        if self._check_method_name:
            check_predict_method(name, signature)
        try:
            if is_large:
                decoded = await self.codec_threads.run(asked.decode, signature, name)
            else:
                decoded = asked.decode(signature, name)
            outputs = select_outputs(signature, asked.output_filter)
        except ServingError as error:
            raise explain(error, name, signature, {}) from error
        return name, signature, decoded, outputs

    async def _examples_answer(self, request: RestRequest, spec: ModelSpec, call: RequestRecord) -> RestResponse:
        # Unlike the tensors of a predict request, examples are read before the model is looked up.
        if _is_large(request):
            wanted, examples = await self.codec_threads.run(self._read_examples, request)
        else:
            wanted, examples = self._read_examples(request)
        result: Classified | Regressed
        with self._lease(spec, call) as lease:
            call.signature = known_signature(lease, wanted)
            call.mark_decoded()
            try:
                if call.api == "classify":
                    classified = await self._classify(lease, wanted, examples, self._timeout_seconds)
                    call.mark_ran()
                    result, body = classified, encode_classifications(classified)
                else:
                    regressed = await self._regress(lease, wanted, examples, self._timeout_seconds)
                    call.mark_ran()
                    result, body = regressed, encode_regressions(regressed)
            except ExamplesRefused as error:
                raise ExamplesRefused(f"{error.message} {KINDS_IN_JSON}", error.code) from error
            if self._request_log.logs(lease.id.name):
                size = len(request.body) + len(body)
                logged = RestOnExamples(wanted or DEFAULT_SIGNATURE, examples, result, size)
                self._request_log.offer(lease.id, logged, lease.servable)
            return RestResponse(200, body)

    def _read(self, form: PredictFormat, request: RestRequest) -> AskedPredict:
        return form.read(self._plain_body(request), request.headers)

    def _read_examples(self, request: RestRequest) -> tuple[str, Array]:
        return read_examples_body(self._plain_body(request))

    def _plain_body(self, request: RestRequest) -> bytes:
        if "gzip" not in request.headers.get("content-encoding", ""):
            return request.body
        try:
            return gunzip(request.body, self._max_message_bytes)
        except InvalidArgument as error:
            # The original takes such a body for an empty one.
            raise InvalidArgument(
                f"JSON Parse error: The document is empty. The body has the content encoding gzip. {error.message}"
            ) from error

    def _lease(self, spec: ModelSpec, call: RequestRecord) -> Lease:
        lease = self._manager.lease(spec)
        call.version = str(lease.id.version)
        return lease

    async def _healthz(self, request: RestRequest) -> RestResponse:
        return RestResponse(200, b'{"status": "alive"}\n')

    async def _readyz(self, request: RestRequest) -> RestResponse:
        readiness = self._health.readiness()
        status = "ready" if readiness.ready else "stopping" if readiness.stopping else "not ready"
        body = json.dumps({"status": status, "models": dict(readiness.models)}, indent=1) + "\n"
        return RestResponse(200 if readiness.ready else 503, body.encode())

    async def _metrics_page(self, request: RestRequest) -> RestResponse:
        if request.path != self._metrics_path:
            text = f"Unexpected path: {request.path}. Should be {self._metrics_path}"
            return RestResponse(HTTP_STATUS[Code.INVALID_ARGUMENT], text.encode(), prometheus.CONTENT_TYPE)
        instruments = await self._read_metrics()
        parts: list[str] = []
        started = time.perf_counter()
        for part in prometheus.parts(instruments):
            parts.append(part)
            if time.perf_counter() - started > _PAGE_SLICE_SECONDS:
                await asyncio.sleep(0)  # requests have their turn
                started = time.perf_counter()
        return RestResponse(200, prometheus.page(parts), prometheus.CONTENT_TYPE)


def _decode_known(body: PredictBody, kind: CheckedKind) -> PredictInputs:
    return body.decode_known(kind.places) or body.decode(kind.signature, kind.signature_name)


def _is_large(request: RestRequest, form: PredictFormat | None = None) -> bool:
    """Whether a body is read on a thread."""
    body = request.body
    if len(body) < _SMALL_PACKED_BYTES:
        return False
    if "gzip" in request.headers.get("content-encoding", ""):
        return True
    return len(body) >= LARGE_TEXT_BYTES if form is None else form.is_large(body)


def _model_spec(name: str, version: str | None, label: str | None) -> ModelSpec:
    number = None if version is None else _version_number(version)
    return ModelSpec(unquote(name), number, None if label is None else unquote(label))


def _version_number(digits: str) -> int:
    significant = digits.lstrip("0") or "0"
    # By length first: Python refuses to read thousands of digits.
    if len(significant) <= len(str(_MAX_VERSION)) and int(significant) <= _MAX_VERSION:
        return int(significant)
    # The original answers with an empty body here.
    raise InvalidArgument(f"Failed to convert version: {digits} to numeric. The largest is {_MAX_VERSION}.")


def _find_signature(lease: Lease, wanted: str, takes_no_inputs: bool) -> tuple[str, Signature]:
    """As `checks.find_signature`, in the words that the contract has for REST."""
    name = wanted or DEFAULT_SIGNATURE
    signature = lease.servable.signatures.get(name)
    if signature is None:
        raise InvalidArgument(f'Serving signature name: "{name}" not found in signature def. {other_signatures(lease)}')
    if not signature.inputs and not takes_no_inputs:
        raise InvalidArgument(
            f"Failed to get input map for signature: {wanted or 'DEFAULT'}. A signature without inputs can be called"
            " over gRPC, or with a PredictRequest as the body (Content-Type: application/x-protobuf)."
        )
    return name, signature


def _malformed(request: RestRequest) -> InvalidArgument:
    return InvalidArgument(f"Malformed request: {request.method} {request.path}. {_EXPECTED_ROUTES}")
