"""gRPC over our own HTTP/2, as clients see it: real sockets, and frames that no client library would send."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from unittest.mock import MagicMock
from urllib.parse import unquote

import pytest

from hotserve.api.grpc_framing import frame as framed
from hotserve.wires.grpc_http2 import GrpcConnection, GrpcLimits, GrpcWire
from hotserve.wires.http2_connection import Http2Connection
from hotserve.wires.http2_events import DataReceived, RequestReceived
from hotserve.wires.http2_frames import ErrorCode
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.http2_outbox import Outbox
from support.grpc_wire import CHAT, COUNT, ECHO, FAIL, WAIT, RawClient, RunningWire, TestServices
from support.http2 import (
    ACK,
    CALL,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    START,
    Answer,
    answer_on,
    data,
    frame,
    headers,
    parse,
    rst_stream,
    settings,
    window_update,
    with_value,
)
from support.in_process import PATIENCE
from support.server_process import wait_until

OPEN = PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 30)) + window_update(0, 1 << 30)
"""What a client sends first that has room for everything."""


def message(text: bytes) -> bytes:
    return framed(text, pack=False)


def call(stream_id: int, path: str, body: bytes | None, *more: tuple[str, str]) -> bytes:
    """All frames of a call; None leaves the request open."""
    fields = [*with_value(":path", path), *more]
    return headers(stream_id, fields) + (b"" if body is None else data(stream_id, body, end=True))


def status(answer: Answer) -> tuple[int, str]:
    """`grpc-status` and `grpc-message`, wherever they stand."""
    fields = answer.trailers or answer.header
    return int(fields["grpc-status"]), unquote(fields.get("grpc-message", ""))


@pytest.fixture(scope="module")
def echo() -> Iterator[RunningWire]:
    """A wire for tests that leave it as it was."""
    with RunningWire(limits=GrpcLimits(max_message_bytes=1 << 20)) as made:
        yield made


def ask(wire: RunningWire, *frames: bytes, stream_id: int = 1, start: bytes = START) -> Answer:
    """Sends frames on a connection of their own; what came back on one stream."""
    with RawClient(wire, start) as client:
        client.send(*frames)
        client.read_answer(stream_id)
        return answer_on(stream_id, client.frames)


# Calls.


class Written(asyncio.Transport):
    """Keeps what is written, in the pieces in which it was."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False


def test_answers_to_calls_that_come_together_leave_in_one_piece_though_their_headers_differ() -> None:
    services, transport = TestServices(), Written()

    async def main() -> None:
        connection = GrpcWire(services, GrpcLimits(), asyncio.get_running_loop()).protocol()
        connection.connection_made(transport)
        connection.data_received(START)
        transport.pieces.clear()
        calls = [call(each, ECHO, message(b"a"), ("grpc-timeout", f"{each}S")) for each in range(101, 201, 2)]
        connection.data_received(b"".join(calls))
        connection.connection_lost(None)

    asyncio.run(main())
    assert len(services.timeouts) == 50
    assert len(transport.pieces) == 1


@pytest.mark.parametrize("path", [ECHO, WAIT])
def test_a_connection_that_has_ended_leaves_nothing_to_the_garbage_collector(path: str) -> None:
    parts = (GrpcConnection, Http2Connection, Outbox, RequestReceived, DataReceived)

    def count() -> int:
        return sum(isinstance(each, parts) for each in gc.get_objects())

    async def main() -> None:
        connection = GrpcWire(TestServices(), GrpcLimits(), asyncio.get_running_loop()).protocol()
        connection.connection_made(Written())
        connection.data_received(START + call(1, path, message(b"a")) + call(3, path, message(b"b")))
        await asyncio.sleep(0)
        assert count() == before + 3  # and nothing of what came last
        connection.connection_lost(None)
        del connection
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        await asyncio.sleep(0)
        assert count() == before

    gc.collect()
    gc.disable()
    try:
        before = count()
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_call_is_answered_with_a_header_a_message_and_trailers(echo: RunningWire) -> None:
    answer = ask(echo, call(1, ECHO, message(b"hello")))
    assert answer.header == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-accept-encoding": "identity,gzip",
    }
    assert answer.body == message(b"hello")
    assert answer.trailers == {"grpc-status": "0"}


def test_calls_that_come_together_are_answered_in_one_piece(echo: RunningWire) -> None:
    with RawClient(echo) as client:
        client.read_until(lambda found: found.kind == SETTINGS and bool(found.flags & ACK))
        client.send(*(call(stream_id, ECHO, message(b"x")) for stream_id in (1, 3, 5, 7)))
        client.read_answer(1)
        # One write of the server is one read here: it is small, and all of it is there at once.
        assert all(answer_on(stream_id, client.frames).ended for stream_id in (1,))
        client.read_answer(7)
        assert [answer_on(stream_id, client.frames).body for stream_id in (1, 3, 5, 7)] == [message(b"x")] * 4


def test_a_request_may_come_byte_by_byte(echo: RunningWire) -> None:
    sent = START + call(1, ECHO, message(b"slowly"))
    with RawClient(echo, b"") as client:
        for position in range(len(sent)):
            client.send(sent[position : position + 1])
        client.read_answer(1)
        assert answer_on(1, client.frames).body == message(b"slowly")


def test_a_message_may_come_in_many_small_frames_and_end_with_an_empty_one(echo: RunningWire) -> None:
    whole = message(bytes(range(256)) * 40)
    parts = [data(1, whole[position : position + 7]) for position in range(0, len(whole), 7)]
    answer = ask(echo, call(1, ECHO, None), *parts, data(1, end=True))
    assert answer.body == whole


def test_a_message_may_be_followed_by_trailers(echo: RunningWire) -> None:
    answer = ask(echo, call(1, ECHO, None), data(1, message(b"x")), headers(1, [("x-more", "1")], end=True))
    assert answer.body == message(b"x")


def test_an_error_is_one_header_with_its_text_encoded(echo: RunningWire) -> None:
    answer = ask(echo, call(1, FAIL, message(b"refuse")))
    assert (answer.body, answer.trailers) == (b"", {})
    assert answer.header[":status"] == "200"
    assert status(answer) == (3, "bad: ä % \n end ")


def test_a_fault_of_ours_is_a_status(echo: RunningWire) -> None:
    code, text = status(ask(echo, call(1, FAIL, message(b""))))
    assert code == 13
    assert text.startswith("ValueError: a fault of the service. This is a fault of the server")


def test_an_unknown_method_is_unimplemented(echo: RunningWire) -> None:
    assert status(ask(echo, call(1, "/no.Such/Method", message(b"")))) == (12, "Method not found: /no.Such/Method.")


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"", 3, "Expected one gRPC message, which has at least 5 bytes; got 0."),
        (b"\0\0", 3, "Expected one gRPC message, which has at least 5 bytes; got 2."),
        (b"\0\0\0\0\x02x", 3, "Expected one gRPC message of 2 bytes, as its prefix says; got 1."),
        (b"\0\0\0\0\x01xy", 3, "Expected one gRPC message of 1 bytes, as its prefix says; got 2."),
        (b"\x02\0\0\0\x01x", 3, "Expected 0 or 1 as the first byte of a gRPC message; got 2."),
        (b"\x01\0\0\0\x01x", 12, "Messages packed with 'identity' are not supported; supported: identity, gzip."),
    ],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_a_body_that_is_not_one_message_is_refused(
    echo: RunningWire, body: bytes, code: int, text: str, parts: int
) -> None:
    sent = data(1, body, end=True) if parts == 1 else data(1, body) + data(1, end=True)
    assert status(ask(echo, call(1, ECHO, None), sent)) == (code, text)


def test_a_request_without_a_body_is_refused(echo: RunningWire) -> None:
    answer = ask(echo, headers(1, with_value(":path", ECHO), end=True))
    assert status(answer)[0] == 3


@pytest.mark.parametrize("timeout", ["", "1", "S", "123456789S", "1s", "-1S"])
def test_a_timeout_that_is_none_is_refused(echo: RunningWire, timeout: str) -> None:
    code, text = status(ask(echo, call(1, ECHO, message(b""), ("grpc-timeout", timeout))))
    assert code == 3
    assert text.startswith(f"grpc-timeout: {timeout!r} is none")


def test_gzip_goes_in_and_for_those_who_send_it_out(echo: RunningWire) -> None:
    text = b"again and " * 1000
    packed = gzip.compress(text)
    body = b"\x01" + len(packed).to_bytes(4, "big") + packed
    answer = ask(echo, call(1, ECHO, body, ("grpc-encoding", "gzip")))
    assert answer.header["grpc-encoding"] == "gzip"
    assert answer.body[0] == 1
    assert gzip.decompress(answer.body[5:]) == text


def test_a_message_that_unpacks_to_too_much_is_refused(echo: RunningWire) -> None:
    packed = gzip.compress(bytes(2 << 20))
    body = b"\x01" + len(packed).to_bytes(4, "big") + packed
    assert status(ask(echo, call(1, ECHO, body, ("grpc-encoding", "gzip"))))[0] == 8


def test_a_message_over_the_limit_is_refused_as_soon_as_its_length_is_known(echo: RunningWire) -> None:
    with RawClient(echo) as client:
        client.send(call(1, ECHO, None), data(1, b"\0" + (5 << 20).to_bytes(4, "big") + b"begin"))
        client.read_until(lambda found: found.kind == RST_STREAM)
        assert status(answer_on(1, client.frames)) == (
            8,
            "Received message larger than max (5242880 vs. 1048576). The limit is set by --max_message_bytes.",
        )
        assert client.frames[-1].number == ErrorCode.NO_ERROR
        client.send(data(1, bytes(1000), end=True), call(3, ECHO, message(b"next")))
        client.read_answer(3)
        assert answer_on(3, client.frames).body == message(b"next")


def test_a_message_longer_than_it_says_is_refused_before_it_fills_the_memory(echo: RunningWire) -> None:
    with RawClient(echo) as client:
        client.send(call(1, ECHO, None), data(1, message(b"x")), *[data(1, bytes(16384))] * 65)
        client.read_until(lambda found: found.kind == RST_STREAM)
        assert status(answer_on(1, client.frames))[0] == 8


def test_a_header_over_the_limit_is_told_so(echo: RunningWire) -> None:
    big = [(f"x-{number}", "y" * 900) for number in range(80)]
    code, text = status(ask(echo, *in_parts(1, [*CALL, *big])))
    assert code == 8
    assert text.startswith("Received metadata larger than the limit (")


def in_parts(stream_id: int, fields: list[tuple[str, str]]) -> list[bytes]:
    whole = headers(stream_id, fields)[9:]
    parts = [whole[position : position + 16000] for position in range(0, len(whole), 16000)]
    frames = [frame(HEADERS, 0, stream_id, parts[0])]
    return [*frames, *(frame(9, 4 if part is parts[-1] else 0, stream_id, part) for part in parts[1:])]


# What is no call.


@pytest.mark.parametrize("content_type", ["application/json", "application/grpc-web", "application/grpc-web+proto", ""])
def test_what_is_not_grpc_is_an_unsupported_media_type(echo: RunningWire, content_type: str) -> None:
    with RawClient(echo) as client:
        client.send(headers(1, with_value("content-type", content_type), end=True))
        client.read_until(lambda found: found.kind == 0 and bool(found.flags & 1))
        answer = answer_on(1, client.frames)
    assert answer.header[":status"] == "415"
    assert int(answer.header["content-length"]) == len(answer.body)
    assert b"application/grpc" in answer.body


def test_what_is_not_posted_is_not_allowed(echo: RunningWire) -> None:
    with RawClient(echo) as client:
        client.send(
            headers(1, with_value(":method", "GET"), end=True), headers(3, with_value(":method", "HEAD"), end=True)
        )
        client.read_until(lambda found: found.stream_id == 3 and bool(found.flags & 1))
        get, head = answer_on(1, client.frames), answer_on(3, client.frames)
    assert (get.header[":status"], get.header["allow"], get.body) == (
        "405",
        "POST",
        b"gRPC calls are sent with POST.\n",
    )
    assert (head.header, head.body) == (get.header, b"")


# Deadlines and cancellation.


def test_a_call_gets_what_is_left_of_its_time() -> None:
    with RunningWire() as wire:
        ask(wire, call(1, ECHO, message(b""), ("grpc-timeout", "20S")))
        ask(wire, call(1, ECHO, message(b"")))
        first, second = wire.services.timeouts
        assert first is not None
        assert 0 < first <= 20
        assert second is None


def test_a_deadline_may_be_centuries_away() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, WAIT, message(b"x"), ("grpc-timeout", "99999999H")))
        wait_until(lambda: wire.services.waiting == 1)
        wire.on_loop(wire.services.go_on)
        client.read_answer(1)
        assert status(answer_on(1, client.frames)) == (0, "")


@pytest.mark.parametrize("path", [WAIT, COUNT])
def test_a_deadline_ends_a_call_that_waits(path: str) -> None:
    with RunningWire() as wire:
        answer = ask(wire, call(1, path, message(b"wait"), ("grpc-timeout", "20m")))
        assert status(answer)[0] == 4
        assert (answer.body != b"") == (path == COUNT), "what was sent before stays sent"
        wait_until(lambda: wire.services.cancelled == 1)


def test_a_deadline_ends_a_request_that_does_not_come() -> None:
    with RunningWire() as wire:
        assert status(ask(wire, call(1, ECHO, None, ("grpc-timeout", "20m"))))[0] == 4


def test_deadlines_pass_in_their_order_whatever_the_order_of_the_calls() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        timeouts = {1: "60m", 3: "20m", 5: "40m", 7: "100S"}
        client.send(*(call(key, WAIT, message(b""), ("grpc-timeout", value)) for key, value in timeouts.items()))
        for stream_id in (3, 5, 1):
            client.read_answer(stream_id)
        ended = [found.stream_id for found in client.frames if found.kind == HEADERS]
        assert ended == [3, 5, 1]
        wait_until(lambda: wire.services.waiting == 1)


def test_a_call_that_was_answered_leaves_no_deadline_behind() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, WAIT, message(b"x"), ("grpc-timeout", "1H")))
        wait_until(lambda: wire.services.waiting == 1)
        wire.on_loop(wire.services.go_on)
        client.read_answer(1)
        assert not wire.on_loop(lambda: dict(wire.wire.deadlines._due))


def test_a_call_that_was_given_up_makes_room_for_another_once_it_has_ended() -> None:
    limits = GrpcLimits(http2=Http2Limits(max_concurrent_streams=1))
    with RunningWire(limits=limits) as wire, RawClient(wire) as client:
        for number in range(3):
            client.send(call(4 * number + 1, WAIT, message(b"")))
            wait_until(lambda: wire.services.waiting == 1)
            client.send(rst_stream(4 * number + 1))
            wait_until(lambda number=number: wire.services.cancelled == number + 1)  # type: ignore[misc]
            client.send(call(4 * number + 3, ECHO, message(b"next")))
            client.read_answer(4 * number + 3)
            assert answer_on(4 * number + 3, client.frames).body == message(b"next")


@pytest.mark.parametrize("path", [WAIT, COUNT, CHAT])
def test_a_client_that_gives_up_cancels_its_call(path: str) -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, path, message(b"wait")))
        wait_until(lambda: wire.services.waiting == 1)
        client.send(rst_stream(1))
        wait_until(lambda: wire.services.cancelled == 1)
        client.send(call(3, ECHO, message(b"still here")))
        client.read_answer(3)


@pytest.mark.parametrize("abort", [False, True])
def test_a_lost_connection_cancels_its_calls(abort: bool) -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, WAIT, message(b"")), call(3, COUNT, message(b"wait")), call(5, CHAT, None))
        wait_until(lambda: wire.services.waiting == 2)
        if abort:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.socket.close()
        wait_until(lambda: wire.services.cancelled == 2)
        wait_until(lambda: wire.wire.connections == 0)


# Streams.


def test_a_stream_of_answers_waits_for_its_reader() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, COUNT, message(b"300")))
        client.read_until(lambda found: found.kind == 0)
        wire.run(_turns(200))
        assert wire.services.sent < 30, "the window is 65535 bytes, and as much again may wait"
        client.send(settings((INITIAL_WINDOW_SIZE, 1 << 30)), window_update(0, 1 << 30))
        client.read_answer(1)
        assert len(answer_on(1, client.frames).body) == 300 * 10_005


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_conversation_answers_each_message_as_it_comes() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, CHAT, None))
        for text in (b"one", b"two"):
            client.send(data(1, message(text)))
            assert client.read_until(lambda found: found.kind == 0).payload == message(text)
        client.send(data(1, end=True))
        client.read_answer(1)
        assert status(answer_on(1, client.frames)) == (0, "")


def test_a_conversation_that_is_not_read_keeps_its_client_from_sending() -> None:
    limits = GrpcLimits(http2=Http2Limits(stream_window_bytes=65535))
    with RunningWire(limits=limits) as wire, RawClient(wire, OPEN) as client:
        client.send(call(1, CHAT, None), data(1, message(b"wait")), data(1, message(bytes(60_000))))
        wait_until(lambda: wire.services.waiting == 1)
        client.send(frame(PING, 0, 0, b"in order"))
        client.read_until(lambda found: found.kind == PING)
        assert not [found for found in client.frames if found.kind == 8 and found.stream_id == 1]
        wire.on_loop(wire.services.go_on)
        client.read_until(lambda found: found.kind == 8 and found.stream_id == 1)


@pytest.mark.parametrize(
    ("sent", "code"), [(message(b"x")[:-1], 3), (b"\0" + (1 << 30).to_bytes(4, "big"), 8), (b"\x07\0\0\0\0", 3)]
)
def test_a_conversation_with_a_broken_message_ends_with_its_status(echo: RunningWire, sent: bytes, code: int) -> None:
    assert status(ask(echo, call(1, CHAT, None), data(1, sent, end=True)))[0] == code


# Drain.


def test_an_idle_connection_ends_at_once() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.read_until(lambda found: found.kind == SETTINGS and bool(found.flags & ACK))
        wire.on_loop(wire.wire.begin_drain)
        ping = client.read_until(lambda found: found.kind == PING)
        client.send(frame(PING, ACK, 0, ping.payload))
        client.read_to_end()
        assert client.goaways == [(2**31 - 1, 0), (0, 0)]


def test_a_client_may_still_send_when_the_server_has_said_its_last_word() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        wire.on_loop(wire.wire.begin_drain)
        ping = client.read_until(lambda found: found.kind == PING)
        client.send(frame(PING, ACK, 0, ping.payload))
        client.read_to_end()
        # A socket that is closed at once would answer the first with a reset, and so destroy what is still unread.
        for _ in range(5):
            client.send(frame(PING, 0, 0, bytes(8)))


def test_calls_under_way_are_answered_before_the_end_and_so_are_those_that_cross_with_its_news() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, WAIT, message(b"first")), call(3, WAIT, None))
        wait_until(lambda: wire.services.waiting == 1)
        wire.on_loop(wire.wire.begin_drain)
        ping = client.read_until(lambda found: found.kind == PING)
        client.send(call(5, WAIT, message(b"crossed")), frame(PING, ACK, 0, ping.payload))
        assert client.read_until(lambda found: found.kind == GOAWAY).goaway == (5, 0)
        client.send(call(7, WAIT, message(b"too late")), data(3, message(b"second"), end=True))
        wait_until(lambda: wire.services.waiting == 3)
        wire.on_loop(wire.services.go_on)
        client.read_to_end()
        answers = [answer_on(stream_id, client.frames).body for stream_id in (1, 3, 5, 7)]
        assert answers == [message(b"first"), message(b"second"), message(b"crossed"), b""]
        wait_until(lambda: wire.wire.connections == 0)


def test_a_large_answer_that_is_being_written_is_written_to_its_end() -> None:
    with RunningWire() as wire, RawClient(wire, OPEN) as client:
        big = message(bytes(20 << 20))
        client.send(call(1, ECHO, None))
        for position in range(0, len(big), 60000):
            client.send(data(1, big[position : position + 60000]))
        client.send(data(1, end=True))
        client.read_until(lambda found: found.kind == 0)
        wire.on_loop(wire.wire.begin_drain)
        client.read_to_end()
        answer = answer_on(1, client.frames)
        assert (len(answer.body), answer.ended) == (len(big), True)


def test_a_client_that_does_not_react_does_not_hold_up_the_end() -> None:
    with RunningWire() as wire, RawClient(wire), RawClient(wire, b""):
        wait_until(lambda: wire.wire.connections == 2)
        wire.drain()


def test_a_connection_that_is_made_during_the_drain_is_answered_and_ends() -> None:
    with RunningWire() as wire:
        wire.on_loop(wire.wire.begin_drain)
        with RawClient(wire) as client:
            client.send(call(1, ECHO, message(b"late")))
            client.read_to_end()
            assert answer_on(1, client.frames).body == message(b"late")
            assert client.goaways[-1] == (1, 0)


def test_whoever_waits_for_the_end_does_not_wait_for_ever() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, WAIT, message(b"")))
        wait_until(lambda: wire.services.waiting == 1)
        wire.on_loop(wire.wire.begin_drain)
        assert not wire.run(wire.wire.wait_idle(0.01))
        wire.on_loop(wire.services.go_on)
        assert wire.run(wire.wire.wait_idle(PATIENCE))


def test_abort_cuts_calls_off() -> None:
    with RunningWire() as wire, RawClient(wire) as client:
        client.send(call(1, WAIT, message(b"")))
        wait_until(lambda: wire.services.waiting == 1)
        wire.on_loop(wire.wire.abort)
        client.read_to_end()
        wait_until(lambda: wire.services.cancelled == 1 and wire.wire.connections == 0)


# Clients that are up to no good.


def test_a_broken_connection_says_why_and_closes_and_others_go_on(echo: RunningWire) -> None:
    with RawClient(echo) as broken, RawClient(echo) as other:
        broken.send(call(1, WAIT, None), frame(PING, 0, 1, bytes(8)))
        broken.read_to_end()
        assert broken.goaways == [(1, ErrorCode.PROTOCOL_ERROR)]
        other.send(call(1, ECHO, message(b"fine")))
        other.read_answer(1)
        assert answer_on(1, other.frames).body == message(b"fine")


def test_http1_is_not_understood_and_not_waited_for(echo: RunningWire) -> None:
    with RawClient(echo, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        client.read_to_end()
        assert client.goaways == [(0, ErrorCode.PROTOCOL_ERROR)]


def looked(wire: RunningWire, seconds: float) -> None:
    """Has the timer look at all connections, so much later."""

    def look() -> None:
        for connection in tuple(wire.wire._connections):
            connection.look(wire.wire.loop.time() + seconds)

    wire.on_loop(look)


def test_a_client_that_never_speaks_is_cut_off() -> None:
    with RunningWire(limits=GrpcLimits(handshake_seconds=5)) as wire, RawClient(wire, PREFACE) as client:
        wait_until(lambda: wire.wire.connections == 1)
        looked(wire, 4)
        assert wire.wire.connections == 1
        looked(wire, 6)
        client.read_to_end()
        wait_until(lambda: wire.wire.connections == 0)


def test_an_idle_connection_is_drained_and_a_busy_one_is_not() -> None:
    with RunningWire(limits=GrpcLimits(idle_seconds=50)) as wire, RawClient(wire) as client, RawClient(wire) as busy:
        client.send(call(1, ECHO, message(b"")))
        client.read_answer(1)
        busy.send(call(1, WAIT, message(b"")))
        wait_until(lambda: wire.services.waiting == 1)
        looked(wire, 51)
        client.read_to_end()
        assert client.goaways[-1] == (1, 0)
        wire.on_loop(wire.services.go_on)
        busy.read_answer(1)
        assert busy.goaways == []


class Spoken:
    """A connection without a socket, on a loop whose time the test says."""

    def __init__(self, limits: GrpcLimits) -> None:
        self.now = 1000.0
        self.transport = MagicMock()
        self.transport.is_closing.return_value = False
        self.transport.get_write_buffer_size.return_value = 0
        loop = MagicMock()
        loop.time.side_effect = lambda: self.now
        self.connection = GrpcWire(TestServices(), limits, loop).protocol()
        self.connection.connection_made(self.transport)

    def says(self, data: bytes, seconds: float) -> None:
        """The client sends something after so many seconds, and then the connection is looked at."""
        self.now += seconds
        self.connection.data_received(data)
        self.connection.look(self.now)

    def heard(self) -> list[int]:
        """The kinds of frames that the client has been sent."""
        self.connection._send()
        written = b"".join(call.args[0] for call in self.transport.write.call_args_list)
        return [each.kind for each in parse(written)]


def test_a_client_that_takes_its_time_to_say_what_comes_first_is_cut_off() -> None:
    spoken = Spoken(GrpcLimits(handshake_seconds=10))
    for part in (PREFACE[:2], PREFACE[2:4], PREFACE[4:6]):
        spoken.says(part, 4)
        assert spoken.transport.abort.called == (spoken.now > 1010)


def test_a_connection_that_is_read_when_the_turn_has_lasted_for_long_waits_for_the_next_one() -> None:
    spoken = Spoken(GrpcLimits())
    spoken.says(START, 0)
    spoken.says(call(1, ECHO, message(b"a")), 0.04)
    assert not spoken.transport.pause_reading.called
    spoken.says(call(3, ECHO, message(b"b")), 0.02)
    assert spoken.transport.pause_reading.call_count == 1
    end_turn = spoken.connection.loop.call_soon.call_args_list[0].args[0]
    assert not spoken.transport.resume_reading.called
    end_turn()
    assert spoken.transport.resume_reading.call_count == 1
    spoken.says(call(5, ECHO, message(b"c")), 0.02)
    assert spoken.transport.pause_reading.call_count == 1


def test_many_connections_are_looked_at_a_part_at_a_time_all_of_them_in_a_second() -> None:
    loop = MagicMock()
    loop.time.return_value = 1000.0
    wire = GrpcWire(TestServices(), GrpcLimits(handshake_seconds=10), loop)
    transports = []
    for _ in range(300):
        transports.append(MagicMock())
        transports[-1].is_closing.return_value = False
        transports[-1].get_write_buffer_size.return_value = 0
        wire.protocol().connection_made(transports[-1])
    assert loop.call_later.call_count == 1
    loop.time.return_value = 1011.0
    found = []
    for _ in range(6):
        seconds, look = loop.call_later.call_args.args
        look()
        found.append((round(seconds, 3), sum(each.abort.call_count for each in transports)))
    assert found == [(1.0, 128), (0.333, 256), (0.333, 300), (0.333, 428), (0.333, 556), (0.333, 600)]
    assert all(each.abort.call_count == 2 for each in transports)


def test_a_connection_on_which_there_is_no_call_is_drained_whatever_else_comes() -> None:
    spoken = Spoken(GrpcLimits(idle_seconds=50))
    spoken.says(START, 1)
    for _ in range(5):
        spoken.says(frame(PING, 0, 0, bytes(8)), 9.5)
    assert GOAWAY not in spoken.heard()
    spoken.says(frame(PING, 0, 0, bytes(8)), 2)
    assert GOAWAY in spoken.heard()


def test_a_request_that_stops_halfway_is_ended_and_a_conversation_may_pause() -> None:
    with RunningWire(limits=GrpcLimits(stall_seconds=30)) as wire, RawClient(wire) as client:
        client.send(call(1, ECHO, None), data(1, b"\0\0"), call(3, CHAT, None))
        client.send(frame(PING, 0, 0, bytes(8)))
        client.read_until(lambda found: found.kind == PING)
        looked(wire, 29)
        looked(wire, 31)
        client.read_answer(1)
        assert status(answer_on(1, client.frames))[0] == 4
        client.send(data(3, message(b"still there?")))
        client.read_until(lambda found: found.kind == 0 and found.stream_id == 3)


def test_a_client_that_takes_no_answer_is_cut_off() -> None:
    with RunningWire(limits=GrpcLimits(stall_seconds=30)) as wire:
        start = PREFACE + settings((INITIAL_WINDOW_SIZE, 10))
        with RawClient(wire, start) as client:
            client.send(call(1, ECHO, message(bytes(100))))
            client.read_until(lambda found: found.kind == 0)
            looked(wire, 0)
            looked(wire, 31)
            client.read_to_end()
            wait_until(lambda: wire.wire.connections == 0)


def test_a_client_that_reads_nothing_is_cut_off_and_what_waits_for_it_is_bounded() -> None:
    with RunningWire(limits=GrpcLimits(stall_seconds=30)) as wire, RawClient(wire, OPEN) as client:
        client.socket.settimeout(0.2)
        tracemalloc.start()
        try:
            big = message(bytes(1 << 20))
            stream_id = 1
            try:
                for _ in range(3000):
                    client.send(call(stream_id, ECHO, None))
                    for position in range(0, len(big), 60000):
                        client.send(data(stream_id, big[position : position + 60000]))
                    client.send(data(stream_id, end=True))
                    stream_id += 2
                    if stream_id > 600:
                        break
            except TimeoutError:
                pass
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 400 << 20, "256 streams of a megabyte"
        looked(wire, 0)
        looked(wire, 31)
        wait_until(lambda: wire.wire.connections == 0)


def test_a_silent_client_is_asked_and_cut_off_if_it_does_not_answer() -> None:
    limits = GrpcLimits(keepalive_seconds=100, keepalive_timeout_seconds=10)
    with RunningWire(limits=limits) as wire, RawClient(wire) as client:
        client.read_until(lambda found: found.kind == SETTINGS and bool(found.flags & ACK))
        looked(wire, 101)
        ping = client.read_until(lambda found: found.kind == PING)
        client.send(frame(PING, ACK, 0, ping.payload), frame(PING, 0, 0, bytes(8)))
        client.read_until(lambda found: found.kind == PING)
        looked(wire, 105)
        client.read_until(lambda found: found.kind == PING)
        looked(wire, 116)
        client.read_to_end()


def flood(client: RawClient, make: Callable[[int], bytes], number: int) -> None:
    try:
        for index in range(number):
            client.send(make(index))
    except (BrokenPipeError, ConnectionResetError):
        pass
    client.read_to_end()


FLOODS: dict[str, Callable[[int], bytes]] = {
    "rapid resets": lambda index: call(2 * index + 1, WAIT, message(b"")) + rst_stream(2 * index + 1),
    "pings": lambda index: frame(PING, 0, 0, bytes(8)),
    "settings": lambda index: settings((INITIAL_WINDOW_SIZE, 65535 + index)),
    "continuations": lambda index: frame(HEADERS if index == 0 else 9, 0, 1, b""),
    "empty data": lambda index: data(1) if index else call(1, WAIT, None),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection_and_leaves_the_server_as_it_was(name: str) -> None:
    limits = GrpcLimits(http2=Http2Limits(idle_frames=500, resets=100))
    with RunningWire(limits=limits) as wire:
        with RawClient(wire) as client:
            flood(client, FLOODS[name], 3000)
            # Where the system throws away what was sent because more had come, the error is lost.
            assert len(client.goaways) <= 1
            assert all(code == ErrorCode.ENHANCE_YOUR_CALM for _, code in client.goaways)
        wait_until(lambda: wire.wire.connections == 0 and wire.services.waiting == 0)
        assert ask(wire, call(1, ECHO, message(b"fine"))).body == message(b"fine")


def test_more_calls_than_allowed_are_refused_and_the_others_answered() -> None:
    limits = GrpcLimits(http2=Http2Limits(max_concurrent_streams=3))
    with RunningWire(limits=limits) as wire, RawClient(wire) as client:
        client.send(*(call(stream_id, WAIT, message(b"x")) for stream_id in (1, 3, 5, 7)))
        refused = client.read_until(lambda found: found.kind == RST_STREAM)
        assert (refused.stream_id, refused.number) == (7, ErrorCode.REFUSED_STREAM)
        wire.on_loop(wire.services.go_on)
        for stream_id in (1, 3, 5):
            client.read_answer(stream_id)


def test_a_connection_that_was_used_much_leaves_nothing_behind() -> None:
    with RunningWire() as wire, RawClient(wire, OPEN) as client:
        stream_id = 1
        sizes = []
        tracemalloc.start()
        try:
            for _ in range(4):
                for _ in range(100):
                    client.send(call(stream_id, ECHO, message(bytes(1000)), ("x-request-id", str(stream_id))))
                    client.read_answer(stream_id)
                    stream_id += 2
                client.frames.clear()
                sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert sizes[-1] - sizes[0] < 100_000
