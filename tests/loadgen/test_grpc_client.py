from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from hotserve.loadgen.exchange import Answer, BrokenAnswer, Request
from hotserve.loadgen.grpc_client import GrpcClient

Headers = list[tuple[str, str]]
OK: Headers = [(":status", "200"), ("content-type", "application/grpc")]
GOOD: Headers = [("grpc-status", "0"), ("grpc-message", "")]
REQUEST = Request("/service/Method", b"question")


class Peer:
    """A server's side, by the h2 package, that is joined to a client without a socket."""

    def __init__(self, settings: dict[SettingCodes, int] | None = None, **options: object) -> None:
        self.client = GrpcClient("host:1", **options)  # type: ignore[arg-type]
        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.connection.initiate_connection()
        if settings is not None:
            self.connection.update_settings(settings)
        self.headers: dict[str, str] = {}
        self.bodies: dict[int, bytes] = {}
        self.whole: list[int] = []
        self.reset: list[int] = []
        self.answers: list[Answer] = []
        self.hear(self.client.opening())

    def hear(self, data: bytes) -> None:
        """Takes in what the client sends, and gives it what that causes, until both are silent."""
        while data:
            for event in self.connection.receive_data(data):
                match event:
                    case RequestReceived():
                        self.headers = dict(event.headers)
                        self.bodies[event.stream_id] = b""
                    case DataReceived():
                        self.bodies[event.stream_id] += event.data
                        self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case StreamEnded():
                        self.whole.append(event.stream_id)
                    case StreamReset():
                        self.reset.append(event.stream_id)
                    case WindowUpdated():
                        pass
            data = self.say(self.connection.data_to_send())

    def say(self, data: bytes, cuts: Iterable[int] = ()) -> bytes:
        """Gives the client bytes; returns what it says to that."""
        places = sorted({cut % len(data) for cut in cuts} | {0, len(data)}) if data else []
        replies = b""
        for a, b in itertools.pairwise(places):
            answer = self.client.receive(data[a:b])
            if answer is not None:
                self.answers.append(answer)
            if self.client.has_reply:
                replies += self.client.reply()
        return replies

    def ask(self, request: Request = REQUEST) -> int:
        """The client sends a request; returns the number of its stream."""
        assert self.client.is_settled
        self.hear(self.client.request(request))
        return max(self.bodies)

    def answer(
        self, message: bytes, trailers: Headers = GOOD, cuts: Iterable[int] = (), packed: bool = False
    ) -> Answer:
        """Answers the last request."""
        stream = max(self.bodies)
        self.connection.send_headers(stream, OK)
        data = (gzip.compress(message) if packed else message) if message is not None else b""
        body = bytes([packed]) + len(data).to_bytes(4, "big") + data
        for begin in range(0, len(body), 16384):
            self.connection.send_data(stream, body[begin : begin + 16384])
        self.connection.send_headers(stream, trailers, end_stream=True)
        self.hear(self.say(self.connection.data_to_send(), cuts))
        return self.answers[-1]


def test_a_call_has_the_headers_of_grpc() -> None:
    peer = Peer(metadata=(("authorization", "t"),), timeout_seconds=1.5)
    stream = peer.ask()
    assert peer.whole == [stream]
    assert peer.bodies[stream] == b"\0\0\0\0\x08question"
    assert peer.headers == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/service/Method",
        ":authority": "host:1",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "hotserve-bench",
        "grpc-accept-encoding": "identity, deflate, gzip",
        "grpc-timeout": "1500m",
        "authorization": "t",
    }


@given(st.lists(st.tuples(st.binary(max_size=300), st.lists(st.integers(0, 10**6), max_size=5)), max_size=5))
def test_call_after_call_is_answered_however_the_bytes_are_cut(calls: list[tuple[bytes, list[int]]]) -> None:
    peer = Peer()
    for message, cuts in calls:
        peer.ask()
        answer = peer.answer(message, cuts=cuts)
        assert (answer.body, answer.error, answer.ends_connection) == (message, "", False)
    assert len(peer.answers) == len(calls)


def test_answers_that_repeat_are_told_from_those_that_do_not() -> None:
    peer = Peer()
    for message in (b"a", b"a", b"a", b"b", b"a", bytes(4) + b"\x07", bytes(4) + b"\x07", b"", b""):
        peer.ask()
        assert peer.answer(message).body == message


@given(st.integers(0, 40))
def test_a_message_that_holds_the_number_of_its_stream_is_read_as_it_is(calls: int) -> None:
    peer = Peer()
    for _ in range(calls):
        number = peer.ask()
        for message in (number.to_bytes(4, "big") * 3,):
            assert peer.answer(message).body == message


def test_different_requests_take_turns_on_a_connection() -> None:
    peer = Peer()
    for path in ("/a/A", "/b/B", "/a/A"):
        peer.ask(Request(path, path.encode()))
        assert peer.headers[":path"] == path
        assert peer.answer(path.encode()).body == path.encode()


@pytest.mark.parametrize("window", [100, 65_535, 1_000_000])
def test_a_large_message_keeps_to_the_windows_of_the_server(window: int) -> None:
    peer = Peer({SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: 20_000})
    body = bytes(range(256)) * 1000
    for _ in range(2):
        stream = peer.ask(Request("/s/M", body))
        assert peer.bodies[stream][5:] == body
        assert peer.answer(body).body == body


def test_headers_that_do_not_fit_into_the_table_of_the_server_stand_by_themselves() -> None:
    peer = Peer({SettingCodes.HEADER_TABLE_SIZE: 64})
    for _ in range(3):
        peer.ask()
        assert peer.headers[":path"] == "/service/Method"
        peer.answer(b"x")


def test_a_packed_message_is_unpacked() -> None:
    peer = Peer()
    peer.ask()
    assert peer.answer(b"hello" * 100, packed=True).body == b"hello" * 100


def test_a_call_that_fails_has_its_code_and_its_text() -> None:
    peer = Peer()
    stream = peer.ask()
    trailers = [*OK, ("grpc-status", "5"), ("grpc-message", "no model %C3%A9")]
    peer.connection.send_headers(stream, trailers, end_stream=True)
    peer.hear(peer.say(peer.connection.data_to_send()))
    assert (peer.answers[0].error, peer.answers[0].body.decode()) == ("NOT_FOUND", "no model é")
    peer.ask()
    assert peer.answer(b"fine").error == ""
    peer.ask()
    assert peer.answer(b"", [("grpc-status", "77")]).error == "grpc-status 77"


def test_what_is_no_grpc_is_an_error_with_the_status_of_http() -> None:
    peer = Peer()
    stream = peer.ask()
    peer.connection.send_headers(stream, [(":status", "404")], end_stream=True)
    peer.say(peer.connection.data_to_send())
    assert peer.answers[0].error == "HTTP 404"


def test_a_good_status_without_a_message_is_an_error() -> None:
    peer = Peer()
    stream = peer.ask()
    peer.connection.send_headers(stream, OK + GOOD, end_stream=True)
    peer.say(peer.connection.data_to_send())
    assert peer.answers[0].error == "no message"


def test_a_call_that_is_reset_has_failed_and_the_next_one_goes_on() -> None:
    peer = Peer()
    stream = peer.ask()
    peer.connection.reset_stream(stream, 7)
    peer.say(peer.connection.data_to_send())
    assert (peer.answers[0].error, peer.answers[0].body) == ("RST_STREAM", b"REFUSED_STREAM")
    peer.ask()
    assert peer.answer(b"x").error == ""


def test_a_server_that_answers_before_it_has_all_is_told_that_the_rest_does_not_come() -> None:
    peer = Peer()
    # The server's window is full, and nothing is acknowledged.
    peer.connection.acknowledge_received_data = lambda size, stream: None
    stream = peer.ask(Request("/s/M", bytes(100_000)))
    assert peer.whole == []
    peer.connection.send_headers(stream, [*OK, ("grpc-status", "8")], end_stream=True)
    peer.hear(peer.say(peer.connection.data_to_send()))
    assert peer.answers[0].error == "RESOURCE_EXHAUSTED"
    assert peer.reset == [stream]


def test_after_goaway_the_answer_under_way_is_the_last_one() -> None:
    peer = Peer()
    stream = peer.ask()
    peer.connection.send_headers(stream, OK)
    peer.connection.send_data(stream, b"\0\0\0\0\x01x")
    peer.connection.send_headers(stream, GOOD, end_stream=True)
    data = peer.connection.data_to_send()
    goaway = b"\0\0\x08\x07\0\0\0\0\0" + (2**31 - 1).to_bytes(4, "big") + bytes(4)
    peer.say(goaway + data)
    assert peer.answers[0].ends_connection


@pytest.mark.parametrize("tail", [(0).to_bytes(4, "big") + bytes(4), (1).to_bytes(4, "big") + b"\0\0\0\x0b calm"])
def test_a_goaway_that_leaves_the_call_out_or_is_an_error_ends_the_connection(tail: bytes) -> None:
    peer = Peer()
    peer.ask()
    with pytest.raises(BrokenAnswer, match="goes away"):
        peer.client.receive(len(tail).to_bytes(3, "big") + b"\x07\0\0\0\0\0" + tail)


def test_pings_are_answered() -> None:
    peer = Peer()
    peer.connection.ping(b"12345678")
    reply = peer.say(peer.connection.data_to_send())
    assert reply == b"\0\0\x08\x06\x01\0\0\0\0" + b"12345678"


@pytest.mark.parametrize("flags", [0x8, 0x20, 0x28])
def test_padding_and_priorities_are_passed_over(flags: int) -> None:
    peer = Peer()
    stream = peer.ask().to_bytes(4, "big")
    pad = b"\x02" if flags & 8 else b""
    priority = bytes(5) if flags & 0x20 else b""
    block = pad + priority + b"\x88" + b"\0\0" * bool(pad)
    message = b"\x03\0\0\0\0\x01x\0\0\0"
    trailers = b"\x00\x0bgrpc-status\x010"
    frames = len(block).to_bytes(3, "big") + bytes([1, 4 | flags]) + stream + block
    frames += len(message).to_bytes(3, "big") + b"\0\x08" + stream + message
    frames += len(trailers[:5]).to_bytes(3, "big") + b"\x01\x01" + stream + trailers[:5]
    frames += len(trailers[5:]).to_bytes(3, "big") + b"\x09\x04" + stream + trailers[5:]
    peer.say(frames)
    assert (peer.answers[0].body, peer.answers[0].error) == (b"x", "")


@pytest.mark.parametrize(
    "frame",
    [
        b"\0\0\x05\x04\0\0\0\0\0" + bytes(5),  # settings of five bytes
        b"\0\0\x01\x01\x04\0\0\0\x01\xff",  # an index that goes on
        b"\0\0\x00\x07\0\0\0\0\0",  # GOAWAY without anything
    ],
)
def test_frames_that_cannot_be_read_break_the_connection(frame: bytes) -> None:
    peer = Peer()
    peer.ask()
    with pytest.raises(BrokenAnswer):
        peer.client.receive(frame)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_breaking_the_connection(data: bytes) -> None:
    peer = Peer()
    peer.ask()
    try:
        peer.client.receive(data)
        peer.client.receive(data)
    except BrokenAnswer:
        return


def test_the_end_of_the_connection_is_never_an_answer() -> None:
    with pytest.raises(BrokenAnswer, match="closed the connection"):
        Peer().client.end()
