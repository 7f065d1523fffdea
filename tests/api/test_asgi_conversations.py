from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from types import MappingProxyType

import pytest

from hotserve.api.asgi import Message
from hotserve.api.grpc_framing import PREFIX_BYTES, frame
from hotserve.errors import Code, InvalidArgument
from support.asgi_client import DISCONNECT, FakeClient, GrpcReply, body_events, exchange, grpc_scope, read_reply
from support.in_process import PATIENCE, InProcess

LIMIT = 1000
ECHO = "/test.Test/Echo"


class Echo:
    """Says what it hears, one message at a time.

    Attributes:
        ended: Set once a conversation has ended, in whatever way.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        try:
            async for message in requests:
                if message == b"bad":
                    raise InvalidArgument("this is bad")
                if message == b"crash":
                    raise KeyError("oops")
                yield message
        finally:
            self.ended.set()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def apis(echo: Echo) -> Iterator[InProcess]:
    with InProcess({}, max_message_bytes=LIMIT) as running:
        running.grpc_services.bidirectional = MappingProxyType({ECHO: echo})
        yield running


def plain(*texts: bytes) -> bytes:
    return b"".join(frame(text, pack=False) for text in texts)


def said(reply: GrpcReply) -> list[bytes]:
    return [packet[PREFIX_BYTES:] for packet in reply.messages]


def talk(apis: InProcess, *parts: bytes, **headers: str) -> GrpcReply:
    scope = grpc_scope(ECHO, {name.replace("_", "-"): value for name, value in headers.items()})
    return read_reply(exchange(apis.app, scope, body_events(*parts)))


@pytest.mark.parametrize(
    "parts",
    [
        [plain(b"one", b"two", b"")],
        [plain(b"one"), plain(b"two", b"")],
        [bytes([byte]) for byte in plain(b"one", b"two", b"")],
        [plain(b"one", b"two", b""), b""],
    ],
    ids=["in one part", "in two", "byte by byte", "with an empty end"],
)
def test_messages_are_taken_apart_however_they_come(apis: InProcess, parts: list[bytes]) -> None:
    reply = talk(apis, *parts)
    assert (said(reply), reply.status) == ([b"one", b"two", b""], Code.OK)


def test_a_stream_of_no_messages_ends_well(apis: InProcess) -> None:
    reply = talk(apis, b"")
    assert (said(reply), reply.status) == ([], Code.OK)


def test_packed_messages_are_unpacked_and_answered_in_kind(apis: InProcess) -> None:
    reply = talk(apis, frame(b"x" * LIMIT, pack=True), grpc_encoding="gzip")
    assert (reply.status, reply.headers["grpc-encoding"]) == (Code.OK, "gzip")
    assert said(reply) == [b"x" * LIMIT]


def test_an_answer_goes_out_before_the_next_question_comes(apis: InProcess, echo: Echo) -> None:
    async def run() -> list[Message]:
        first: Message = {"type": "http.request", "body": plain(b"one"), "more_body": True}
        client = FakeClient([first])
        call = asyncio.create_task(apis.app(grpc_scope(ECHO), client.receive, client.send))
        await client.wait_sent(2)  # headers, and the echo
        client.hang_up()
        await asyncio.wait_for(call, PATIENCE)
        await asyncio.wait_for(echo.ended.wait(), PATIENCE)
        return client.sent

    start, echoed = asyncio.run(run())
    assert (start["status"], echoed["body"]) == (200, plain(b"one"))


def test_a_client_that_leaves_ends_the_conversation(apis: InProcess, echo: Echo) -> None:
    async def run() -> None:
        client = FakeClient([{"type": "http.request", "body": b"", "more_body": True}, DISCONNECT])
        await apis.app(grpc_scope(ECHO), client.receive, client.send)
        assert client.sent == []

    asyncio.run(run())


def test_a_deadline_ends_the_conversation(apis: InProcess, echo: Echo) -> None:
    async def run() -> list[Message]:
        client = FakeClient([{"type": "http.request", "body": plain(b"one"), "more_body": True}])
        scope = grpc_scope(ECHO, {"grpc-timeout": "50m"})
        await asyncio.wait_for(apis.app(scope, client.receive, client.send), PATIENCE)
        await asyncio.wait_for(echo.ended.wait(), PATIENCE)
        return client.sent

    reply = read_reply(asyncio.run(run()))
    assert (said(reply), reply.status) == ([b"one"], Code.DEADLINE_EXCEEDED)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (plain(b"bad", b"two"), Code.INVALID_ARGUMENT, "this is bad"),
        (plain(b"crash"), Code.INTERNAL, "KeyError: 'oops'. This is a fault of the server; see its log."),
        (plain(b"two")[:-1], Code.INVALID_ARGUMENT, "The last gRPC message is cut off: 7 bytes of it came."),
        (b"\x02" + plain(b"two")[1:], Code.INVALID_ARGUMENT, "Expected 0 or 1 as the first byte of a gRPC message"),
        (b"\x01" + plain(b"two")[1:], Code.UNIMPLEMENTED, "Messages packed with 'identity' are not supported"),
        (plain(b"x" * (LIMIT + 1))[:5], Code.RESOURCE_EXHAUSTED, "Received message larger than max (1001 vs. 1000)."),
    ],
    ids=["refused", "crash", "cut off", "unknown flag", "unknown packing", "too large"],
)
def test_what_goes_wrong_in_the_middle_comes_after_the_answers_before_it(
    apis: InProcess, body: bytes, code: Code, text: str
) -> None:
    reply = talk(apis, plain(b"one"), body)
    assert said(reply) == [b"one"]
    assert reply.status == code
    assert reply.text.startswith(text)
