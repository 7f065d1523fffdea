"""Requests that a road takes before the API is asked: over HTTP/1.1 and over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
import pytest
from hpack import Decoder

from hotserve.api.exchange import GrpcRequest, RestRequest, RestResponse
from hotserve.api.gathered import Client, Road
from hotserve.api.grpc_framing import frame as framed
from hotserve.errors import InvalidArgument, ServingError, Unavailable
from support.grpc_wire import ECHO, WAIT, RawClient, RunningWire
from support.http1_wire import PATIENCE_SECONDS, WireServer, answers, read_to_end
from support.http2 import DATA, END_STREAM, data, headers, rst_stream, with_value
from support.in_process import PATIENCE

FULL = Unavailable("The batch scheduling queue is full.")
BODIES = [b"refused", b"too many", b"now", b"later", b"not at all", b"by the usual way", b"wrong", b"wait"]


class Crossing:
    """A road that does what a message says: answers it `now`, or when told to; or sends it on."""

    def __init__(self) -> None:
        self.held: list[Client] = []
        self.refused: list[int] = []
        self.stands = False
        self.counted: list[tuple[int, int]] = []
        self.came = threading.Semaphore(0)

    def refusal(self, message: bytes, size: int, timeout_seconds: float | None) -> ServingError | None:
        if not message.endswith(b"too many"):
            return None
        self.refused.append(size)
        return FULL

    def standing_refusal(self, timeout_seconds: float | None) -> tuple[Callable[[bytes], bool], ServingError] | None:
        return (lambda message: message.startswith(b"far "), FULL) if self.stands else None

    def count_refused(self, calls: int, size: int) -> None:
        self.counted.append((calls, size))

    def take(self, message: bytes, client: Client, timeout_seconds: float | None = None) -> bool:
        match message:
            case b"now":
                client.answer(b"[1]")
            case b"refused":
                client.refuse(FULL)
            case b"later":
                self.held.append(client)
                self.came.release()
            case b"by the usual way" | b"wrong" | b"wait":
                client.go_on(message, self._answer)
            case _:
                return False
        return True

    async def _answer(self, request: RestRequest | GrpcRequest) -> Any:
        is_rest = isinstance(request, RestRequest)
        message = request.body if isinstance(request, RestRequest) else request.message
        if message == b"wrong":
            if is_rest:
                return RestResponse(400, b"no")
            raise InvalidArgument("no")
        said = b"usual: " + message
        return RestResponse(200, said) if is_rest else said

    def let_go(self) -> None:
        """Answers all who have been told to wait; on the loop."""
        held, self.held = self.held, []
        for client in held:
            client.answer(b"[2]")


def post(body: bytes, more: bytes = b"", path: bytes = b"/echo") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (path, more, len(body), body)


@pytest.fixture
def crossing() -> Crossing:
    return Crossing()


@pytest.fixture
def server(crossing: Crossing) -> Iterator[WireServer]:
    def road_of(method: str, target: str, headers: Mapping[str, str]) -> Road | None:
        return crossing if target == "/road" else None

    with WireServer(road_of=road_of) as running:
        yield running


class Talk:
    """One connection that is kept."""

    def __init__(self, server: WireServer) -> None:
        self.socket = server.connect()
        self.socket.settimeout(PATIENCE_SECONDS)
        self._read = self.socket.makefile("rb")

    def ask(self, request: bytes) -> tuple[bytes, bytes]:
        self.socket.sendall(request)
        return self.hear()

    def hear(self) -> tuple[bytes, bytes]:
        status = self._read.readline().split(b" ", 1)[1].strip()
        length = 0
        while line := self._read.readline().strip():
            name, _, value = line.partition(b": ")
            if name == b"Content-Length":
                length = int(value)
        return status, self._read.read(length)

    def close(self) -> None:
        self._read.close()
        self.socket.close()


@pytest.fixture
def talk(server: WireServer) -> Iterator[Talk]:
    talk = Talk(server)
    # A head is usual from its second time on.
    for body in BODIES:
        if body not in (b"wait", b"later"):
            talk.ask(post(b"x" * len(body), path=b"/road"))
    for body in (b"later", b"wait", b"now"):
        talk.ask(post(b"y" * len(body), path=b"/road"))
    yield talk
    talk.close()


def test_a_request_is_answered_by_the_road_that_takes_it(server: WireServer, talk: Talk) -> None:
    before = len(server.api.requests)
    assert talk.ask(post(b"now", path=b"/road")) == (b"200 OK", b"[1]")
    assert talk.ask(post(b"now", path=b"/road")) == (b"200 OK", b"[1]")
    assert len(server.api.requests) == before


def test_a_request_that_no_road_takes_is_answered_by_the_api(server: WireServer, talk: Talk) -> None:
    before = len(server.api.requests)
    assert talk.ask(post(b"not at all", path=b"/road"))[0] == b"200 OK"
    assert talk.ask(post(b"now"))[0] == b"200 OK"
    assert len(server.api.requests) == before + 2


def test_a_request_that_is_sent_on_is_answered_the_usual_way(talk: Talk) -> None:
    assert talk.ask(post(b"by the usual way", path=b"/road")) == (b"200 OK", b"usual: by the usual way")
    assert talk.ask(post(b"wrong", path=b"/road")) == (b"400 Bad Request", b"no")
    assert talk.ask(post(b"now", path=b"/road")) == (b"200 OK", b"[1]")


@pytest.mark.parametrize("body", [b"too many", b"refused"])
def test_a_request_that_is_refused_is_told_why_and_its_connection_stays(
    server: WireServer, talk: Talk, crossing: Crossing, body: bytes
) -> None:
    before = len(server.api.requests)
    for _ in range(3):
        assert talk.ask(post(body, path=b"/road")) == (
            b"503 Service Unavailable",
            b'{\n    "error": "The batch scheduling queue is full."\n}',
        )
    assert talk.ask(post(b"now", path=b"/road")) == (b"200 OK", b"[1]")
    assert len(server.api.requests) == before
    assert crossing.refused == ([len(body)] * 3 if body == b"too many" else [])


def test_the_first_request_of_a_connection_is_refused_like_all_others(server: WireServer, talk: Talk) -> None:
    talk.ask(post(b"too many", path=b"/road"))
    fresh = Talk(server)
    assert fresh.ask(post(b"too many", path=b"/road"))[0] == b"503 Service Unavailable"
    fresh.close()


def test_a_request_that_is_refused_while_the_server_ends_is_the_last_one(server: WireServer, talk: Talk) -> None:
    server.call(server.wire.bid_farewell)
    assert talk.ask(post(b"too many", path=b"/road"))[0] == b"503 Service Unavailable"
    assert talk.socket.recv(1) == b""


def test_an_answer_that_comes_later_is_given_and_the_connection_goes_on(
    server: WireServer, talk: Talk, crossing: Crossing
) -> None:
    talk.socket.sendall(post(b"later", path=b"/road"))
    assert crossing.came.acquire(timeout=PATIENCE_SECONDS)
    assert server.call(lambda: server.wire.busy) == 1
    server.call(crossing.let_go)
    assert talk.hear() == (b"200 OK", b"[2]")
    assert talk.ask(post(b"now", path=b"/road")) == (b"200 OK", b"[1]")


def test_what_a_client_sends_meanwhile_is_answered_afterwards_in_order(
    server: WireServer, talk: Talk, crossing: Crossing
) -> None:
    talk.socket.sendall(post(b"later", path=b"/road"))
    assert crossing.came.acquire(timeout=PATIENCE_SECONDS)
    talk.socket.sendall(post(b"not at all", path=b"/road") + post(b"last", b"Connection: close\r\n"))
    server.wait_for(lambda: any(connection._later for connection in server.wire._connections))
    server.call(crossing.let_go)
    assert talk.hear() == (b"200 OK", b"[2]")
    assert talk.hear()[0] == b"200 OK"
    assert talk.hear()[0] == b"200 OK"
    assert talk.socket.recv(1) == b""


def test_a_client_that_leaves_before_the_answer_harms_nobody(
    server: WireServer, talk: Talk, crossing: Crossing
) -> None:
    talk.socket.sendall(post(b"later", path=b"/road"))
    assert crossing.came.acquire(timeout=PATIENCE_SECONDS)
    talk.close()
    server.wait_for(lambda: not server.wire.busy)
    server.call(crossing.let_go)
    other = Talk(server)
    said = [other.ask(post(b"now", path=b"/road"))[1] for _ in range(2)]
    other.close()
    assert said[1] == b"[1]"  # the first request of a connection is read with more care


def test_an_answer_of_a_server_that_ends_says_so(server: WireServer, talk: Talk, crossing: Crossing) -> None:
    talk.socket.sendall(post(b"later", path=b"/road"))
    assert crossing.came.acquire(timeout=PATIENCE_SECONDS)
    server.call(server.wire.begin_drain)
    server.call(crossing.let_go)
    (answer,) = answers(read_to_end(talk.socket), "POST")
    assert answer.body == b"[2]"
    assert answer.headers["connection"] == "close"


# gRPC.


@pytest.fixture
def running(crossing: Crossing) -> Iterator[RunningWire]:
    with RunningWire() as running:
        running.on_loop(lambda: running.services.roads.update({ECHO: crossing, WAIT: crossing}))
        yield running


@pytest.fixture
def echo(running: RunningWire) -> Iterator[grpc.UnaryUnaryMultiCallable]:
    with grpc.insecure_channel(running.target) as channel:
        call = channel.unary_unary(ECHO)
        call(b"first", timeout=PATIENCE)  # its head is known from now on
        yield call


def test_a_call_is_answered_by_the_road_that_takes_it(running: RunningWire, echo: Any) -> None:
    before = len(running.services.timeouts)
    assert [echo(b"now", timeout=PATIENCE) for _ in range(3)] == [b"[1]"] * 3
    assert echo(b"by the usual way", timeout=PATIENCE) == b"usual: by the usual way"
    assert len(running.services.timeouts) == before
    assert echo(b"not at all", timeout=PATIENCE) == b"not at all"
    with pytest.raises(grpc.RpcError) as refused:
        echo(b"wrong", timeout=PATIENCE)
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "no")


def test_calls_that_are_answered_later_are_all_answered(running: RunningWire, echo: Any, crossing: Crossing) -> None:
    waiting = [echo.future(b"later", timeout=PATIENCE) for _ in range(5)]
    for _ in waiting:
        assert crossing.came.acquire(timeout=PATIENCE)
    running.on_loop(crossing.let_go)
    assert [one.result(PATIENCE) for one in waiting] == [b"[2]"] * 5


def test_a_call_that_is_given_up_before_the_answer_harms_nobody(
    running: RunningWire, echo: Any, crossing: Crossing
) -> None:
    call = echo.future(b"later", timeout=PATIENCE)
    assert crossing.came.acquire(timeout=PATIENCE)
    call.cancel()
    assert echo(b"now", timeout=PATIENCE) == b"[1]"
    running.on_loop(crossing.let_go)
    assert echo(b"now", timeout=PATIENCE) == b"[1]"


def test_calls_on_a_road_are_answered_before_a_server_ends(running: RunningWire, echo: Any, crossing: Crossing) -> None:
    call = echo.future(b"later", timeout=PATIENCE)
    assert crossing.came.acquire(timeout=PATIENCE)
    running.on_loop(running.wire.begin_drain)
    running.on_loop(crossing.let_go)
    assert call.result(PATIENCE) == b"[2]"


@pytest.mark.parametrize("message", [b"too many", b"refused"])
def test_a_call_that_is_refused_is_told_why_and_the_next_ones_are_answered(
    echo: Any, crossing: Crossing, message: bytes
) -> None:
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as refused:
            echo(message, timeout=PATIENCE)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert refused.value.details() == "The batch scheduling queue is full."
    assert echo(b"now", timeout=PATIENCE) == b"[1]"
    assert crossing.refused == ([len(message)] * 3 if message == b"too many" else [])


def call(stream_id: int, message: bytes) -> bytes:
    return headers(stream_id, with_value(":path", ECHO)) + data(stream_id, framed(message, pack=False), end=True)


def said(client: RawClient, stream_id: int) -> bytes:
    """The message of an answer, or the status of one without."""
    if not any(frame.stream_id == stream_id and frame.flags & END_STREAM for frame in client.frames):
        client.read_answer(stream_id)
    frames = [frame for frame in client.frames if frame.stream_id == stream_id]
    body = b"".join(frame.payload for frame in frames if frame.kind == DATA)
    return body[5:] or dict(Decoder().decode(frames[-1].payload, raw=True))[b"grpc-status"]


def test_as_long_as_a_refusal_stands_calls_that_it_goes_for_are_told_so_unread_and_counted(
    running: RunningWire, crossing: Crossing
) -> None:
    with RawClient(running) as client:
        client.send(call(1, b"now"))
        client.read_answer(1)
        crossing.stands = True
        client.send(call(3, b"far too many"))
        client.read_answer(3)
        assert (crossing.refused, crossing.counted) == ([12], [])
        numbers = range(5, 2005, 2)
        client.send(*(call(each, b"now" if each == 1001 else b"far too few") for each in numbers))
        answers = {each: said(client, each) for each in numbers}
        assert answers.pop(1001) == b"[1]"
        assert set(answers.values()) == {b"14"}
        assert sum(calls for calls, _ in crossing.counted) == 999
        assert sum(size for _, size in crossing.counted) == 999 * 11
        crossing.stands = False
        client.send(call(2007, b"far"))
        assert said(client, 2007) == b"far"
    assert crossing.refused == [12]


def test_a_call_that_is_given_up_in_the_breath_in_which_it_is_made_is_not_made(
    running: RunningWire, crossing: Crossing
) -> None:
    with RawClient(running) as client:
        client.send(call(1, b"now"))
        client.read_answer(1)
        client.send(call(3, b"later"), call(5, b"now"), rst_stream(3), call(7, b"now"))
        assert said(client, 5) == said(client, 7) == b"[1]"
    assert crossing.held == []


def test_more_calls_than_there_may_be_at_a_time_are_all_answered_if_the_road_answers_at_once(
    running: RunningWire,
) -> None:
    with RawClient(running) as client:
        client.send(*(call(each, b"now") for each in range(1, 3001, 2)))
        assert {said(client, each) for each in range(1, 3001, 2)} == {b"[1]"}


def test_services_without_roads_are_asked_at_once() -> None:
    with RunningWire() as running, grpc.insecure_channel(running.target) as channel:
        assert [channel.unary_unary(ECHO)(b"now", timeout=PATIENCE) for _ in range(2)] == [b"now"] * 2
