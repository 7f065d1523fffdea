from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

import pytest

from hotserve.api.asgi import Message
from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_framing import frame, unframe
from hotserve.codecs.tensor_proto import decode_tensor
from hotserve.errors import Code, NotFound
from hotserve.protos import messages
from support.asgi_client import (
    DISCONNECT,
    FakeClient,
    body_events,
    exchange,
    exchange_grpc,
    exchange_rest,
    grpc_scope,
    http_scope,
    predict_call,
    read_reply,
)
from support.in_process import CHECK, PATIENCE, WATCH, Gate, InProcess, adder

LIMIT = 50_000
ROW = b'{"instances": [1.0]}'


@pytest.fixture
def apis() -> Iterator[InProcess]:
    with InProcess({"m": {1: adder(1)}}, max_message_bytes=LIMIT) as running:
        yield running


@pytest.fixture
def gate() -> Iterator[Gate]:
    held = Gate()
    yield held
    held.open()


def unpacked(packet: bytes) -> dict[str, list[float]]:
    response = messages.PredictResponse.FromString(unframe(packet, "gzip", 1 << 30))
    return {name: decode_tensor(proto).tolist() for name, proto in response.outputs.items()}


# REST.


def test_a_rest_request_is_answered_with_type_and_length(apis: InProcess) -> None:
    status, headers, body = exchange_rest(apis.app, "POST", "/v1/models/m:predict", ROW)
    assert (status, json.loads(body)) == (200, {"predictions": [2.0]})
    assert headers == {"content-type": "application/json", "content-length": str(len(body))}


@pytest.mark.parametrize(
    "events",
    [
        body_events(ROW),
        body_events(*(bytes([byte]) for byte in ROW)),
        body_events(b"", ROW[:5], b"", ROW[5:], b""),
        [{"type": "http.request", "body": ROW}],
        [{"type": "http.request", "more_body": True}, {"type": "http.request", "body": ROW}],
        [{"type": "http.request", "body": ROW, "more_body": True}, {"type": "http.request"}],
    ],
)
def test_a_body_may_come_in_any_number_of_parts(apis: InProcess, events: list[Message]) -> None:
    start, content = exchange(apis.app, http_scope("POST", "/v1/models/m:predict"), events)
    assert start["status"] == 200
    assert json.loads(content["body"]) == {"predictions": [2.0]}


def test_a_request_without_a_body_has_an_empty_one(apis: InProcess) -> None:
    start, _ = exchange(apis.app, http_scope("GET", "/v1/models/m"), [{"type": "http.request"}])
    assert start["status"] == 200


def test_the_path_is_taken_as_it_came_with_its_query() -> None:
    with InProcess({"a/b c": {1: adder(1)}}) as apis:
        status, _, body = exchange_rest(apis.app, "POST", "/v1/models/a%2Fb%20c:predict", ROW)
        assert (status, json.loads(body)) == (200, {"predictions": [2.0]})
        status, _, body = exchange_rest(apis.app, "POST", "/v1/models/a%2Fb%20c:predict?x=%41", ROW)
        assert status == 400
        assert json.loads(body)["error"].startswith("Malformed request: POST /v1/models/a%2Fb%20c:predict?x=%41. ")


@pytest.mark.parametrize("raw_path", [None, b""])
def test_a_server_that_hands_over_no_raw_path_will_do(raw_path: bytes | None) -> None:
    with InProcess({"é b": {1: adder(1)}}) as apis:
        scope = http_scope("POST", "/v1/models/%C3%A9%20b:predict", raw_path=raw_path)
        start, _ = exchange(apis.app, scope, body_events(ROW))
        assert start["status"] == 200
        del scope["raw_path"]
        start, _ = exchange(apis.app, scope, body_events(ROW))
        assert start["status"] == 200


def test_a_server_without_extensions_will_do(apis: InProcess) -> None:
    for extensions in ({}, None):
        scope = http_scope("POST", "/v1/models/m:predict", extensions=extensions)
        assert exchange(apis.app, scope, body_events(ROW))[0]["status"] == 200


def test_an_answer_to_head_has_the_length_of_a_body_and_no_body(apis: InProcess) -> None:
    status, headers, body = exchange_rest(apis.app, "HEAD", "/healthz")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == "20"


def test_a_packed_body_is_unpacked(apis: InProcess) -> None:
    headers = {"Content-Encoding": "gzip"}
    status, _, _ = exchange_rest(apis.app, "POST", "/v1/models/m:predict", gzip.compress(ROW), headers)
    assert status == 200


def test_a_body_of_the_largest_size_passes(apis: InProcess) -> None:
    status, _, _ = exchange_rest(apis.app, "POST", "/v1/models/m:predict", ROW.ljust(LIMIT))
    assert status == 200


@pytest.mark.parametrize(
    "events",
    [
        body_events(b" " * (LIMIT + 1)),
        body_events(*([b" " * 1000] * 51)),
    ],
)
def test_a_body_over_the_limit_is_refused_by_its_limit_and_flag(apis: InProcess, events: list[Message]) -> None:
    start, content = exchange(apis.app, http_scope("POST", "/v1/models/m:predict"), events)
    assert start["status"] == 413
    assert json.loads(content["body"]) == {
        "error": "The body is larger than 50000 bytes, the limit set by --max_message_bytes."
    }


def test_nothing_more_is_read_of_a_body_that_is_too_large(apis: InProcess) -> None:
    async def run() -> FakeClient:
        client = FakeClient([{"type": "http.request", "body": b" " * (LIMIT + 1), "more_body": True}])
        # No further event comes: reading on would wait for ever.
        await apis.app(http_scope("POST", "/v1/models/m:predict"), client.receive, client.send)
        return client

    assert asyncio.run(run()).sent[0]["status"] == 413


def test_a_client_that_leaves_in_the_middle_of_its_body_gets_no_answer(apis: InProcess) -> None:
    events = [*body_events(b'{"inst', b"never")[:1], DISCONNECT]
    assert exchange(apis.app, http_scope("POST", "/v1/models/m:predict"), events) == []
    assert exchange(apis.app, grpc_scope(), events) == []
    assert list(apis.metrics.requests.cells()) == []


@pytest.mark.parametrize("gone_after", [0, 1])
def test_a_client_that_leaves_before_its_answer_is_no_error(apis: InProcess, gone_after: int) -> None:
    async def run(scope: Message, body: bytes) -> None:
        client = FakeClient(body_events(body), gone_after=gone_after)
        await apis.app(scope, client.receive, client.send)
        assert len(client.sent) == gone_after

    asyncio.run(run(http_scope("POST", "/v1/models/m:predict"), ROW))
    asyncio.run(run(grpc_scope(), frame(predict_call("m", x=[1]), pack=False)))
    asyncio.run(run(grpc_scope(), b"no frame"))


def test_clients_are_told_to_go_elsewhere_once_the_server_stops(apis: InProcess) -> None:
    _, headers, _ = exchange_rest(apis.app, "GET", "/healthz")
    assert "connection" not in headers
    apis.health.stopping = True
    _, headers, _ = exchange_rest(apis.app, "GET", "/healthz")
    assert headers["connection"] == "close"
    # HTTP/2 knows no such header; its connections end by GOAWAY.
    start, _ = exchange(apis.app, http_scope("GET", "/healthz", http_version="2"), body_events(b""))
    assert b"connection" not in dict(start["headers"])


# What is neither.


def test_a_websocket_is_refused(apis: InProcess) -> None:
    sent = exchange(apis.app, {"type": "websocket", "headers": []}, [{"type": "websocket.connect"}])
    assert sent == [{"type": "websocket.close"}]


def test_the_lifespan_protocol_is_refused_as_the_specification_asks(apis: InProcess) -> None:
    with pytest.raises(NotImplementedError, match="hotserve speaks HTTP, not lifespan"):
        exchange(apis.app, {"type": "lifespan"}, [{"type": "lifespan.startup"}])


# gRPC.


def test_a_call_is_answered_with_a_message_and_a_status(apis: InProcess) -> None:
    answer = exchange_grpc(apis.app, predict_call("m", x=[1, 2]))
    assert (answer.status, answer.text) == (0, "")
    assert [unpacked(packet) for packet in answer.messages] == [{"y": [2.0, 3.0]}]
    assert answer.headers == {"content-type": "application/grpc", "grpc-accept-encoding": "identity,gzip"}


def test_a_message_may_come_in_any_number_of_parts(apis: InProcess) -> None:
    packet = frame(predict_call("m", x=[1]), pack=False)
    for parts in ([bytes([byte]) for byte in packet], [packet[:3], b"", packet[3:]], [packet, b""]):
        answer = read_reply(exchange(apis.app, grpc_scope(), body_events(*parts)))
        assert unpacked(answer.messages[0]) == {"y": [2.0]}


@pytest.mark.parametrize(
    ("content_type", "is_call"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("Application/GRPC", True),
        ("application/grpc;charset=x", True),
        ("application/grpc-web", False),
        ("application/grpc-web+proto", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_the_content_type_tells_a_call_from_a_rest_request(apis: InProcess, content_type: str, is_call: bool) -> None:
    scope = http_scope("POST", CHECK, {"content-type": content_type}, http_version="2")
    start, *_ = exchange(apis.app, scope, body_events(frame(b"", pack=False)))
    assert start["status"] == (200 if is_call else 404)


def test_a_call_over_a_wire_without_trailers_is_refused_in_a_form_that_wire_has(apis: InProcess) -> None:
    status, headers, body = exchange_rest(
        apis.app, "POST", CHECK, frame(b"", pack=False), {"content-type": "application/grpc"}
    )
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["error"].startswith("A gRPC call needs HTTP/2 and a client that takes trailers")


def test_a_refusal_is_a_status_without_a_message(apis: InProcess) -> None:
    answer = exchange_grpc(apis.app, predict_call("nope"))
    assert answer.status == Code.NOT_FOUND
    assert answer.text.startswith("Servable not found for request: Latest(nope)")
    assert answer.messages == []


@pytest.mark.parametrize(
    ("body", "headers", "code", "text"),
    [
        (b"", {}, Code.INVALID_ARGUMENT, "Expected one gRPC message, which has at least 5 bytes; got 0."),
        (b"\0\0\0\0\5x", {}, Code.INVALID_ARGUMENT, "Expected one gRPC message of 5 bytes, as its prefix says; got 1."),
        (b"\7\0\0\0\0", {}, Code.INVALID_ARGUMENT, "Expected 0 or 1 as the first byte of a gRPC message; got 7."),
        (b"\1\0\0\0\0", {}, Code.UNIMPLEMENTED, "Messages packed with 'identity' are not supported"),
        (b"\1\0\0\0\0", {"grpc-encoding": "snappy"}, Code.UNIMPLEMENTED, "Messages packed with 'snappy' are not"),
        (b"\1\0\0\0\1x", {"grpc-encoding": "gzip"}, Code.INVALID_ARGUMENT, "It cannot be unpacked as gzip"),
        (b"\0\0\0\0\1\xff", {}, Code.INTERNAL, "The 1 bytes received are no tensorflow.serving.PredictRequest message"),
        (b"\0\0\0\0\0", {"grpc-timeout": "soon"}, Code.INVALID_ARGUMENT, "grpc-timeout: 'soon' is none"),
        (
            frame(b"x" * (LIMIT + 1), pack=False),
            {},
            Code.RESOURCE_EXHAUSTED,
            "Received message larger than max (50001 vs. 50000). The limit is set by --max_message_bytes.",
        ),
        (
            frame(b"x" * (LIMIT + 1), pack=True),
            {"grpc-encoding": "gzip"},
            Code.RESOURCE_EXHAUSTED,
            "The compressed message unpacks to more than 50000 bytes, the limit set by --max_message_bytes.",
        ),
    ],
)
def test_a_call_that_is_not_well_formed_ends_with_a_status(
    apis: InProcess, body: bytes, headers: dict[str, str], code: Code, text: str
) -> None:
    answer = read_reply(exchange(apis.app, grpc_scope(headers=headers), body_events(body)))
    assert answer.status == code
    assert answer.text.startswith(text)


def test_a_message_of_the_largest_size_passes(apis: InProcess) -> None:
    request = messages.PredictRequest.FromString(predict_call("m", x=[1]))
    request.client_id = b"x" * (LIMIT - request.ByteSize() - 4)
    assert request.ByteSize() == LIMIT
    assert exchange_grpc(apis.app, request.SerializeToString()).status == Code.OK


def test_a_method_that_there_is_not_is_unimplemented(apis: InProcess) -> None:
    assert exchange_grpc(apis.app, b"", "/a.B/C").status == Code.UNIMPLEMENTED


MANY = [1.0] * 5000


def test_a_client_that_packs_gets_a_packed_answer(apis: InProcess) -> None:
    events = body_events(frame(predict_call("m", x=MANY), pack=True))
    answer = read_reply(exchange(apis.app, grpc_scope(headers={"grpc-encoding": "gzip"}), events))
    assert answer.headers["grpc-encoding"] == "gzip"
    (packet,) = answer.messages
    assert packet[0] == 1
    assert len(packet) < 1000
    assert unpacked(packet) == {"y": [2.0] * 5000}


def test_a_client_that_only_could_unpack_gets_an_answer_as_it_is(apis: InProcess) -> None:
    # As every grpcio client says; packing costs more than it saves on most networks.
    answer = exchange_grpc(
        apis.app, predict_call("m", x=MANY), headers={"grpc-accept-encoding": "identity, deflate, gzip"}
    )
    assert "grpc-encoding" not in answer.headers
    assert answer.messages[0][0] == 0


def test_a_fault_of_ours_is_a_warning_in_the_log(apis: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hotserve"):
        exchange_grpc(apis.app, b"\xff")
        exchange_grpc(apis.app, predict_call("nope"))
    (record,) = caplog.records
    assert record.getMessage().startswith("Answering a call with INTERNAL: The 1 bytes received are no")


# Deadlines and clients that leave.


def run_call(
    apis: InProcess, act: Callable[[FakeClient], Awaitable[None]], headers: dict[str, str] | None = None
) -> list[Message]:
    """Calls `m`, does something meanwhile, and waits for the end of the call; what was sent."""

    async def run() -> list[Message]:
        client = FakeClient(body_events(frame(predict_call("m", x=[1]), pack=False)))
        call = asyncio.ensure_future(apis.app(grpc_scope(headers=headers), client.receive, client.send))
        await act(client)
        await asyncio.wait_for(call, PATIENCE)
        return client.sent

    return asyncio.run(run())


async def nothing(client: FakeClient) -> None:
    """Lets the call go on."""


@pytest.mark.parametrize("timeout", ["10m", "0n"])
def test_a_call_ends_at_its_deadline_although_its_run_goes_on(gate: Gate, timeout: str) -> None:
    with InProcess({"m": {1: gate.servable}}) as apis:
        answer = read_reply(run_call(apis, nothing, {"grpc-timeout": timeout}))
        assert answer.status == Code.DEADLINE_EXCEEDED
        assert "deadline" in answer.text.lower()
        gate.open()


def test_a_deadline_far_away_changes_nothing(apis: InProcess) -> None:
    answer = read_reply(run_call(apis, nothing, {"grpc-timeout": "99999999H"}))
    assert answer.status == Code.OK


def test_a_client_that_leaves_takes_its_queued_run_with_it(gate: Gate) -> None:
    waiting = adder(1)
    with InProcess({"busy": {1: gate.servable}, "m": {1: waiting}}, engine_threads=1) as apis:

        async def run() -> None:
            first = FakeClient(body_events(frame(predict_call("busy", x=[1]), pack=False)))
            busy = asyncio.ensure_future(apis.app(grpc_scope(), first.receive, first.send))
            await asyncio.to_thread(gate.wait_entered)
            second = FakeClient(body_events(frame(predict_call("m", x=[1]), pack=False)))
            call = asyncio.ensure_future(apis.app(grpc_scope(), second.receive, second.send))
            second.hang_up()
            await asyncio.wait_for(call, PATIENCE)
            assert second.sent == []
            gate.open()
            await asyncio.wait_for(busy, PATIENCE)
            assert read_reply(first.sent).status == Code.OK

        asyncio.run(run())
        assert exchange_grpc(apis.app, predict_call("busy", x=[1])).status == Code.OK  # whatever was queued has run
        assert waiting.runs == 0


def test_a_version_is_not_unloaded_under_a_run_whose_client_has_left(gate: Gate) -> None:
    with InProcess({"m": {1: gate.servable}}) as apis:

        async def leave(client: FakeClient) -> None:
            await asyncio.to_thread(gate.wait_entered)
            client.hang_up()

        assert run_call(apis, leave) == []
        apis.source.aspire("m")
        assert not apis.manager.wait_settled(["m"], 0.05)
        assert not gate.servable.unloaded.is_set()
        gate.open()
        assert gate.servable.unloaded.wait(PATIENCE)


def test_a_server_that_gives_a_call_up_cancels_its_work(gate: Gate) -> None:
    with InProcess({"m": {1: gate.servable}}) as apis:

        async def run() -> None:
            client = FakeClient(body_events(frame(predict_call("m", x=[1]), pack=False)))
            call = asyncio.ensure_future(apis.app(grpc_scope(), client.receive, client.send))
            await asyncio.to_thread(gate.wait_entered)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert client.sent == []
            # The work has seen it, too: nothing is left that would answer.
            assert all(task is asyncio.current_task() or task.cancelling() for task in asyncio.all_tasks())

        asyncio.run(run())
        gate.open()


# Streams.


def test_a_watch_goes_on_until_its_client_leaves(apis: InProcess) -> None:
    async def run() -> list[Message]:
        client = FakeClient(body_events(frame(b"", pack=False)))
        call = asyncio.ensure_future(apis.app(grpc_scope(WATCH), client.receive, client.send))
        await client.wait_sent(2)
        assert not call.done()
        client.hang_up()
        await asyncio.wait_for(call, PATIENCE)
        return client.sent

    start, first = asyncio.run(run())
    assert start["type"] == "http.response.start"
    assert messages.HealthCheckResponse.FromString(first["body"][5:]).status == 1


def test_a_watch_ends_well_when_the_server_stops(apis: InProcess) -> None:
    async def run() -> list[Message]:
        client = FakeClient(body_events(frame(b"", pack=False)))
        call = asyncio.ensure_future(apis.app(grpc_scope(WATCH), client.receive, client.send))
        await client.wait_sent(2)
        apis.health.stopping = True
        apis.health_service.notify()
        await asyncio.wait_for(call, PATIENCE)
        return client.sent

    answer = read_reply(asyncio.run(run()))
    assert [messages.HealthCheckResponse.FromString(packet[5:]).status for packet in answer.messages] == [1, 2]
    assert answer.status == Code.OK


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NotFound("gone"), Code.NOT_FOUND, "gone"),
        (KeyError("oops"), Code.INTERNAL, "KeyError: 'oops'. This is a fault of the server; see its log."),
    ],
)
def test_a_stream_that_fails_ends_with_a_status_after_what_it_gave(
    apis: InProcess, error: Exception, code: Code, text: str
) -> None:
    closed = []

    async def stream(request: GrpcRequest) -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            raise error
        finally:
            closed.append(request.path)

    apis.grpc_services.streaming = {"/a.B/C": stream}
    answer = exchange_grpc(apis.app, b"", "/a.B/C")
    assert answer.messages == [frame(b"one", pack=False)]
    assert (answer.status, answer.text) == (code, text)
    assert closed == ["/a.B/C"]


def test_a_stream_is_closed_when_its_client_leaves(apis: InProcess) -> None:
    async def run() -> None:
        closed = asyncio.Event()

        async def stream(request: GrpcRequest) -> AsyncGenerator[bytes, None]:
            try:
                while True:
                    yield b"again"
                    await asyncio.sleep(0)
            finally:
                closed.set()

        apis.grpc_services.streaming = {"/a.B/C": stream}
        client = FakeClient(body_events(frame(b"", pack=False)))
        call = asyncio.ensure_future(apis.app(grpc_scope("/a.B/C"), client.receive, client.send))
        await client.wait_sent(5)
        client.hang_up()
        await asyncio.wait_for(call, PATIENCE)
        await asyncio.wait_for(closed.wait(), PATIENCE)

    asyncio.run(run())
