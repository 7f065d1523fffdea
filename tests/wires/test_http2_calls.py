"""Calls that are taken whole mean what the same frames mean one by one, and both twins take the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.api.grpc_framing import frame as framed
from hotserve.codecs.compiled import SWITCH
from hotserve.wires import http2_calls, plain_calls
from hotserve.wires.http2_connection import Http2Connection, Refused
from hotserve.wires.http2_events import ConnectionFailed, DataReceived, Event, RequestReceived
from hotserve.wires.http2_headers import RequestHead, encode_block
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.plain_calls import Refusing, WholeCall
from support.http2 import (
    CALL,
    PADDED,
    PING,
    START,
    block,
    data,
    frame,
    headers,
    parse,
    rst_stream,
    settings,
    window_update,
    with_value,
)

HEADER = encode_block([(b":status", b"200")])
TRAILERS = encode_block([(b"grpc-status", b"0")])
ROOM = 1 << 20

PLAIN = block()
"""A call that both sides know."""
WITH_LENGTH = block([*CALL, ("content-length", "8")])
STREAMED = block(with_value(":path", "/toy.Service/Stream"))
"""A call that is not taken whole."""

try:
    from hotserve.wires import _calls
except ImportError:  # installed without a C compiler
    _calls = None  # type: ignore[assignment]

TWINS = [
    plain_calls,
    pytest.param(
        _calls, marks=pytest.mark.skipif(_calls is None, reason="hotserve was installed without a C compiler")
    ),
]


class Side:
    """A connection whose calls are answered as soon as they are there, or later."""

    def __init__(self, largest_message: int, limits: Http2Limits) -> None:
        self.http2 = Http2Connection(limits, largest_message)
        self.said: list[Any] = []
        self.sent = b""
        self._bodies: dict[int, tuple[str, bytes]] = {}
        self._waiting: list[tuple[int, bytes]] = []
        self.receive(START)
        for number, known in ((1, PLAIN), (3, WITH_LENGTH), (5, STREAMED)):
            self.receive(headers(number, known) + data(number, framed(b"abc", pack=False), end=True))
        self.take()

    def receive(self, sent: bytes, refused: Refused | None = None) -> list[int]:
        """Takes what has come; returns the sizes of the parts that were taken one after the other."""
        parts: list[int] = []
        events = self.http2.receive(sent, 0.0, refused)
        while True:
            for event in events:
                self._handle(event)
            left = len(self.http2._unread) if self.http2.is_held else 0
            parts.append(len(sent) - sum(parts) - left)
            if not self.http2.is_held:
                return parts
            events = self.http2.go_on(0.0, refused)

    def _handle(self, event: Event | WholeCall) -> None:
        match event:
            case tuple():
                stream_id, head, message, _ = event
                self._call(stream_id, head.path, framed(message, pack=False))
            case RequestReceived():
                event.head.note = "seen"
                event.head.takes_whole = not event.head.path.endswith("Stream")
                self._bodies[event.stream_id] = event.head.path, b""
                if event.ended:
                    self._call(event.stream_id, *self._bodies.pop(event.stream_id))
            case DataReceived():
                path, body = self._bodies.get(event.stream_id, ("", b""))
                self.http2.take(event.stream_id, len(event.data))
                self._bodies[event.stream_id] = path, body + event.data
                if event.ended:
                    self._call(event.stream_id, *self._bodies.pop(event.stream_id))
            case _:
                self.said.append(repr(event))

    def _call(self, stream_id: int, path: str, body: bytes) -> None:
        self.said.append((stream_id, path, body))
        if body.endswith(b"w"):
            self._waiting.append((stream_id, body))
        else:
            self._answer(stream_id, body)

    def _answer(self, stream_id: int, body: bytes) -> None:
        self.http2.answer_call(stream_id, HEADER, body, TRAILERS)

    def go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._answer(*each)

    def take(self) -> None:
        self.sent += self.http2.take_output(ROOM)

    def state(self) -> dict[str, Any]:
        """Everything that decides what happens next, whichever road has led here."""
        http2 = self.http2
        streams, inflow, outbox, patience = http2._streams, http2._inflow, http2._outbox, http2._patience
        calls = [said for said in self.said if isinstance(said, tuple)]
        return {
            # Calls that are taken together come before the ends of their streams.
            "calls": calls,
            "said": [said for said in self.said if not isinstance(said, tuple)],
            "sent": [each for each in parse(self.sent) if each.kind != 8],
            "failed": http2.failed,
            "streams": {
                **{number: (stream.send_window, stream.remote_ended) for number, stream in streams.open.items()},
                **{number: (window, True) for number, window in streams.whole.items()},
            },
            "waiting": {number: stream.waiting_bytes for number, stream in streams.open.items()}
            | dict.fromkeys(streams.whole, 0),
            "given up": streams.given_up,
            "abandoned": tuple(streams.abandoned),
            "last stream": streams.last_begun,
            # Of a connection that has failed nothing more is taken.
            "window": http2.failed or inflow.window + inflow.taken,
            "send window": outbox.window,
            "first window": streams.first_window,
            "unsent": (outbox.unsent_answers, outbox.unsent_replies, outbox.has_output),
            "allowed": (patience.idle_frames.left, patience.resets.left),
            "unread": bytes(http2._unread),
        }


BODIES = st.sampled_from(
    [framed(text, pack=False) for text in (b"abc", b"", b"abw", b"x" * 90)]
    + [b"", b"\0\0\0", b"\1\0\0\0\3abc", b"\0\0\0\0\4abc", b"\0\0\0\0\2abc"]
)
BLOCKS = st.sampled_from([PLAIN, PLAIN, WITH_LENGTH, STREAMED, block(with_value(":path", "/new")), b"\xff", b""])
INCREMENTS = st.sampled_from([1, 1000, 0, 2**31 - 1, 2**31 + 5])


class Numbers:
    """The streams of one example, which begin one after the other."""

    def __init__(self) -> None:
        self.next = 7

    def new(self) -> int:
        self.next += 2
        return self.next - 2


Part = Callable[[Numbers], bytes]


def usual_calls(group: Sequence[tuple[bytes, bytes, int, int]], alternating: bool) -> Part:
    """Calls as clients send them: each by itself, or all headers first; with windows opened on the way."""

    def sent(numbers: Numbers) -> bytes:
        first, second = [], []
        for known, body, of_stream, of_connection in group:
            number = numbers.new()
            first.append(headers(number, known) + (window_update(number, of_stream) if of_stream else b""))
            opened = window_update(0, of_connection) if of_connection else b""
            second.append(data(number, body, end=True) + opened)
        parts = (
            [*first, *second] if alternating else [part for pair in zip(first, second, strict=True) for part in pair]
        )
        return b"".join(parts)

    return sent


OPENED = st.sampled_from([0, 0, 5, 1000])
USUAL = st.builds(
    usual_calls,
    st.lists(st.tuples(st.sampled_from([PLAIN, PLAIN, WITH_LENGTH, STREAMED]), BODIES, OPENED, OPENED), max_size=5),
    st.booleans(),
)
NEAR = st.integers(-8, 2)
"""From a stream that is there, or was, to one that has not begun."""
UNUSUAL = st.one_of(
    st.builds(lambda known, end: lambda numbers: headers(numbers.new(), known, end=end), BLOCKS, st.booleans()),
    st.builds(
        lambda near, body, end: lambda numbers: data(max(0, numbers.next + near), body, end=end),
        NEAR,
        BODIES,
        st.booleans(),
    ),
    st.builds(lambda near: lambda numbers: rst_stream(max(0, numbers.next + near)), NEAR),
    st.builds(
        lambda group: lambda numbers: b"".join(rst_stream(max(0, numbers.next + near)) for near in group),
        st.lists(NEAR, max_size=8),
    ),
    st.builds(lambda near, by: lambda numbers: window_update(max(0, numbers.next + near), by), NEAR, INCREMENTS),
    st.builds(lambda by: lambda _: window_update(0, by), INCREMENTS),
    st.builds(lambda size: lambda _: settings((4, size)), st.sampled_from([0, 20, 65535, 1 << 20])),
    st.just(lambda _: frame(PING, 0, 0, bytes(8))),
    st.builds(lambda body: lambda numbers: frame(0, PADDED | 1, numbers.next - 2, b"\1" + body + b"\0"), BODIES),
)
STEPS = st.one_of(
    st.tuples(st.lists(st.one_of(USUAL, USUAL, UNUSUAL), max_size=6), st.sampled_from([None, None, 1, 9, 40])),
    st.sampled_from(["go on", "take"]),
)


@given(st.lists(STEPS, max_size=8))
def test_calls_taken_whole_mean_what_their_frames_mean_one_by_one(
    steps: list[tuple[list[Part], int | None] | str],
) -> None:
    limits = Http2Limits(max_concurrent_streams=6, idle_frames=12, resets=5)
    whole, single = Side(50, limits), Side(0, limits)
    assert whole.state() == single.state()
    numbers = Numbers()
    for step in steps:
        if isinstance(step, str):
            for side in (whole, single):
                side.go_on() if step == "go on" else side.take()
            continue
        parts, cut = step
        sent = b"".join(part(numbers) for part in parts)
        # What is cut off comes by itself.
        for piece in (sent,) if cut is None else (sent[:-cut], sent[-cut:]):
            begin = 0
            for size in whole.receive(piece):
                single.receive(piece[begin : begin + size])
                begin += size
        assert whole.state() == single.state()


def test_usual_calls_are_taken_whole() -> None:
    side = Side(50, Http2Limits())
    sent = usual_calls(
        [(PLAIN, framed(b"abw", pack=False), 5, 7), (WITH_LENGTH, framed(b"abc", pack=False), 0, 0)], True
    )
    events = side.http2.receive(sent(Numbers()), 0.0)
    assert [(event[0], event[2], event[3]) for event in events if isinstance(event, tuple)] == [
        (7, b"abw", 65540),
        (9, b"abc", 65535),
    ]


def test_windows_are_opened_again_for_calls_that_were_taken_whole() -> None:
    limits = Http2Limits(connection_window_bytes=65535)
    side = Side(1000, limits)
    numbers = Numbers()
    call = usual_calls([(PLAIN, framed(b"x" * 900, pack=False), 0, 0)], False)
    for _ in range(200):
        side.receive(call(numbers))
        side.take()
    assert not any(isinstance(each, ConnectionFailed) for each in side.said)
    assert sum(each.number for each in parse(side.sent) if each.kind == 8 and each.stream_id == 0) > 100 * 905


def test_a_reset_of_a_stream_that_was_ended_by_an_error_is_the_last_frame_that_may_come_on_it() -> None:
    side = Side(50, Http2Limits())
    side.receive(headers(7, WITH_LENGTH) + data(7, b"longer than it said", end=False))
    side.receive(data(7, b"which the client does not know yet", end=False))
    side.receive(rst_stream(7))
    assert not side.http2.failed
    side.receive(data(7, b"now it does", end=False))
    assert side.http2.failed


# The twins.


def head(*, takes_whole: bool, content_length: int | None) -> RequestHead:
    made = RequestHead("POST", "/toy.Service/Method", {}, content_length)
    made.takes_whole = takes_whole
    return made


HEADS = {
    b"a": head(takes_whole=True, content_length=None),
    b"ab": head(takes_whole=True, content_length=8),
    b"c": head(takes_whole=False, content_length=None),
}
FRAME_PARTS = st.one_of(
    st.builds(
        lambda stream, known, body, end: headers(stream, known) + data(stream, body, end=end),
        st.sampled_from([1, 3, 5, 7, 2, 2**31 + 9]),
        st.sampled_from([b"a", b"a", b"ab", b"c", b"d"]),
        BODIES,
        st.sampled_from([True, True, True, False]),
    ),
    st.builds(headers, st.sampled_from([3, 5, 7, 9]), st.sampled_from([b"a", b"ab"])),
    st.builds(lambda stream, body: data(stream, body, end=True), st.sampled_from([3, 5, 7, 9]), BODIES),
    st.builds(window_update, st.sampled_from([0, 0, 3, 5]), INCREMENTS),
    st.builds(rst_stream, st.sampled_from([1, 1, 3, 5, 0, 2, 2**31 + 1]), st.sampled_from([8, 2**32 - 1])),
    st.binary(max_size=12),
)
KNOWN = st.sampled_from([{}, {1: 65535}, {3: 0, 5: 1}])


def is_any(message: bytes) -> bool:
    return True


def begins_with_ab(message: bytes) -> bool:
    return message.startswith(b"ab")


REFUSING = st.sampled_from(
    [None, (HEADS[b"a"], is_any, b"busy", 9), (HEADS[b"a"], begins_with_ab, b"busy", 9), (HEADS[b"ab"], is_any, b"", 1)]
)


@pytest.mark.skipif(_calls is None, reason="hotserve was installed without a C compiler")
@given(
    st.lists(FRAME_PARTS, max_size=8).map(b"".join),
    st.sampled_from([0, 0, 0, 1, 9]),
    st.sampled_from([0, 3]),
    st.integers(0, 4),
    st.sampled_from([1 << 20, 20]),
    st.sampled_from([65535, -5, 2**31 - 2]),
    st.sampled_from([2**31 - 1, 1200, -1]),
    st.sampled_from([50, 8]),
    KNOWN,
    st.sampled_from([{}, {}, {1: None}]),
    st.sampled_from([9, 9, 1, 0, -1]),
    REFUSING,
)
def test_both_twins_read_the_same_calls(
    sent: bytes,
    position: int,
    last_stream: int,
    most: int,
    window: int,
    send_window: int,
    most_opened: int,
    largest: int,
    known: dict[int, int],
    elsewhere: dict[int, object],
    most_resets: int,
    refusing: Refusing | None,
) -> None:
    asked = (
        *(sent, position, last_stream, HEADS, most, window, send_window, most_opened, largest),
        *(known, elsewhere, most_resets, refusing),
    )
    assert _calls.read_calls(*asked) == plain_calls.read_calls(*asked)


@pytest.mark.skipif(_calls is None, reason="hotserve was installed without a C compiler")
@given(st.integers(1, 2**31 - 1), st.binary(max_size=300), st.binary(max_size=70000), st.binary(max_size=300))
def test_both_twins_write_the_same_answers(stream: int, header: bytes, message: bytes, trailers: bytes) -> None:
    asked = (stream, header, message, trailers)
    assert _calls.answer_frames(*asked) == plain_calls.answer_frames(*asked)


@pytest.mark.parametrize("twin", TWINS)
def test_an_answer_is_a_header_a_message_and_trailers(twin: Any) -> None:
    first, second, third = parse(twin.answer_frames(9, HEADER, b"abc", TRAILERS))
    assert (first.kind, first.flags, first.stream_id, first.payload) == (1, 4, 9, HEADER)
    assert (second.kind, second.flags, second.stream_id, second.payload) == (0, 0, 9, framed(b"abc", pack=False))
    assert (third.kind, third.flags, third.stream_id, third.payload) == (1, 5, 9, TRAILERS)


@pytest.mark.parametrize("twin", TWINS)
def test_more_calls_than_may_wait_for_their_data_are_left_to_the_other_road(twin: Any) -> None:
    numbers = range(1, 2 * 65, 2)
    sent = b"".join(headers(number, b"a") for number in numbers)
    sent += b"".join(data(number, framed(b"", pack=False), end=True) for number in numbers)
    assert twin.read_calls(sent, 0, 0, HEADS, 1000, 1 << 20, 65535, 1 << 30, 50, {}, {}, 9, None)[:2] == ([], 0)


def calls_on(numbers: Iterable[int], known: bytes = b"a", message: bytes = b"abc") -> bytes:
    return b"".join(headers(each, known) + data(each, framed(message, pack=False), end=True) for each in numbers)


@pytest.mark.parametrize("twin", TWINS)
def test_no_more_than_256_calls_are_read_at_once(twin: Any) -> None:
    sent = calls_on(range(1, 2 * 300, 2))
    calls, ended, *_ = twin.read_calls(sent, 0, 0, HEADS, 1000, 1 << 20, 65535, 1 << 30, 50, {}, {}, 9, None)
    assert [call[0] for call in calls] == list(range(1, 2 * 256, 2))
    again, ended, *_ = twin.read_calls(sent, ended, 511, HEADS, 1000, 1 << 20, 65535, 1 << 30, 50, {}, {}, 9, None)
    assert (len(again), ended) == (44, len(sent))


@pytest.mark.parametrize("twin", TWINS)
def test_calls_that_are_not_wanted_are_answered_as_they_are_read_as_many_as_there_is_room_for(twin: Any) -> None:
    sent = calls_on([1]) + calls_on([3], message=b"other") + calls_on([5]) + calls_on([7], known=b"ab") + calls_on([9])
    refusing = (HEADS[b"a"], begins_with_ab, b"busy", 2)
    calls, ended, used, last, (_, _, _, answers, refused_bytes) = twin.read_calls(
        sent, 0, 0, HEADS, 1000, 1 << 20, 65535, 1 << 30, 50, {}, {}, 9, refusing
    )
    assert [call[0] for call in calls] == [3, 7, 9]
    assert [(each.kind, each.flags, each.stream_id, each.payload) for each in parse(b"".join(answers))] == [
        (1, 5, 1, b"busy"),
        (1, 5, 5, b"busy"),
    ]
    assert (ended, used, last, refused_bytes) == (len(sent), 4 * 8 + 10, 9, 2 * 8)


@pytest.mark.parametrize("twin", TWINS)
def test_streams_that_are_reset_are_read_with_the_calls(twin: Any) -> None:
    sent = calls_on([5]) + rst_stream(5) + rst_stream(3) + rst_stream(1) + rst_stream(5) + calls_on([7]) + rst_stream(1)
    calls, ended, _, last, (_, idle, resets, *_) = twin.read_calls(
        sent, 0, 3, HEADS, 1000, 1 << 20, 65535, 1 << 30, 50, {3: 65535}, {}, 9, None
    )
    assert [call[0] for call in calls] == [5, 7]
    assert resets == [(5, 8), (3, 8)]
    assert (ended, last, idle) == (len(sent), 7, 1)


# What is held.


def test_calls_beyond_the_room_for_them_are_held_until_those_before_are_answered() -> None:
    side = Side(50, Http2Limits(max_concurrent_streams=4))
    sent = b"".join(headers(each, PLAIN) + data(each, framed(b"abc", pack=False), end=True) for each in range(7, 27, 2))
    events = side.http2.receive(sent, 0.0)
    taken = 0
    while True:
        calls = [event for event in events if isinstance(event, tuple)]
        assert len(calls) == len(events) <= 4
        taken += len(calls)
        for stream_id, *_ in calls:
            side.http2.answer_call(stream_id, HEADER, b"", TRAILERS)
        side.take()
        if not side.http2.is_held:
            break
        events = side.http2.go_on(0.0)
    assert taken == 10
    assert not [each for each in parse(side.sent) if each.kind == 3]


def test_calls_are_refused_where_there_is_no_room_and_nothing_is_answered() -> None:
    side = Side(50, Http2Limits(max_concurrent_streams=4))
    sent = b"".join(headers(each, PLAIN) + data(each, framed(b"abw", pack=False), end=True) for each in range(7, 19, 2))
    side.receive(sent)
    side.take()
    assert [each.stream_id for each in parse(side.sent) if each.kind == 3] == [15, 17]


def test_what_follows_a_header_that_has_not_come_before_is_held_until_somebody_has_looked_at_it() -> None:
    side = Side(50, Http2Limits())
    new = block(with_value(":path", "/new"))
    sent = b"".join(headers(each, new) + data(each, framed(b"abc", pack=False), end=True) for each in (7, 9, 11))
    (first,) = side.http2.receive(sent, 0.0)
    assert isinstance(first, RequestReceived)
    assert side.http2.is_held
    first.head.note, first.head.takes_whole = "seen", True
    body, *others = side.http2.go_on(0.0)
    assert isinstance(body, DataReceived)
    assert [event[0] for event in others if isinstance(event, tuple)] == [9, 11]
    assert not side.http2.is_held


# Refused as they are read.

REFUSED_BLOCK = encode_block([(b":status", b"200"), (b"grpc-status", b"14")])


@given(st.lists(st.sampled_from([b"abc", b"abw", b"xyz", b""]), max_size=12), st.booleans())
def test_calls_that_are_refused_as_they_are_read_leave_what_they_would_leave_if_they_were_refused_one_by_one(
    messages: list[bytes], has_room: bool
) -> None:
    limits = Http2Limits(max_concurrent_streams=8)
    at_once, later = Side(50, limits), Side(50, limits)
    sent = b"".join(
        headers(each, PLAIN) + data(each, framed(message, pack=False), end=True)
        for each, message in zip(range(7, 99, 2), messages, strict=False)
    )
    for side in (at_once, later):
        side.http2._outbox.table_size_due = not has_room
        side.http2._patience.resets.left = 100.0  # of which each answer earns one
    head = at_once.http2._heads[PLAIN]
    counted = 0
    events = at_once.http2.receive(sent, 0.0, (head, begins_with_ab, REFUSED_BLOCK))
    while True:
        counted += at_once.http2.take_refused()[0]
        for stream_id, _, message, _ in events:
            if message.startswith(b"ab"):
                at_once.http2.fail_call(stream_id, REFUSED_BLOCK)
                counted += 1
            else:
                at_once.http2.answer_call(stream_id, HEADER, message, TRAILERS)
        at_once.take()
        if not at_once.http2.is_held:
            break
        events = at_once.http2.go_on(0.0, (head, begins_with_ab, REFUSED_BLOCK))
    events = later.http2.receive(sent, 0.0)
    while True:
        for stream_id, _, message, _ in events:
            if message.startswith(b"ab"):
                later.http2.fail_call(stream_id, REFUSED_BLOCK)
            else:
                later.http2.answer_call(stream_id, HEADER, message, TRAILERS)
        later.take()
        if not later.http2.is_held:
            break
        events = later.http2.go_on(0.0)
    assert counted == sum(message.startswith(b"ab") for message in messages)
    found, expected = at_once.state(), later.state()
    for state in (found, expected):
        # Those that are refused as they are read are answered before the others.
        state["sent"] = sorted(state["sent"], key=lambda each: (each.stream_id, each.kind))
    assert found == expected


def test_the_compiled_twin_is_used_where_it_is_there_unless_a_variable_says_otherwise() -> None:
    is_there = _calls is not None and not os.environ.get(SWITCH)
    assert is_there == http2_calls.IS_COMPILED
