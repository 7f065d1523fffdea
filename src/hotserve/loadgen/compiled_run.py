"""A run whose connections are served by the compiled loop: see `compiled_loop`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hotserve.loadgen.compiled_loop import BROKEN, FIRST_CHANGE, NOT_WHOLE, Ending, Loops, Reason, Returned, make_loop
from hotserve.loadgen.connection import Connection, ConnectionLost
from hotserve.loadgen.exchange import Answer, BrokenAnswer
from hotserve.loadgen.grpc_client import NO_MESSAGE, NO_STATUS, GrpcClient, name_of, read_message
from hotserve.loadgen.http1_client import Http1Client
from hotserve.loadgen.pace import NEVER, Pace
from hotserve.loadgen.poller import Poller
from hotserve.loadgen.tally import Tally
from hotserve.loadgen.work import (
    CONNECTION,
    DIFFERENT,
    PAUSE_BEFORE_RECONNECT,
    SWEEP,
    TIMEOUT,
    UNSENT,
    UNSENT_TEXT,
    Hooks,
    Judge,
    Marks,
    Outcome,
    Work,
    marks,
    outcome_of,
)

_FETCHED_FROM: Final = 1 << 13
_HTTP_WITHOUT_STATUS: Final = "HTTP 200"


@dataclass(slots=True, eq=False)
class _Line:
    """One of the connections.

    Attributes:
        connection: None between two of them.
        since: When the connection was begun, or ended.
        is_taken: Whether the loop has it.
        is_writing: Whether the poller looks for room to write, while the loop does not have it.
        file: Its file descriptor.
    """

    connection: Connection | None = None
    since: int = 0
    is_taken: bool = False
    is_writing: bool = False
    file: int = -1


class CompiledRun:
    """Connections that send requests at a pace. A run is used once."""

    def __init__(
        self,
        work: Work,
        connections: Sequence[Connection],
        poller: Poller,
        hooks: Hooks,
        parts: Sequence[bytes],
        streams: int,
    ) -> None:
        """Takes connections that are ready.

        Args:
            work: What is sent to whom.
            connections: All that there are.
            poller: Looks at all of them for reading.
            hooks: Who is asked and told meanwhile.
            parts: The requests, as `Client.repeated` has them.
            streams: How many calls of gRPC may be under way on a connection.
        """
        self._work = work
        self._hooks = hooks
        self._poller = poller
        self._parts = parts
        self._streams = streams
        self._timeout = round(work.timeout_seconds * 1e9)
        self._lines = [_Line(connection, file=connection.fileno()) for connection in connections]
        self._of_file = {line.file: line for line in self._lines}
        is_call = isinstance(connections[0].hand_over(), GrpcClient)
        self._reader = _Reader(work.judge, self._of_file, is_call=is_call)
        self._tally = Tally()
        self._is_open = False
        self._ended_sent = self._ended_received = 0
        self._clock = time.perf_counter_ns

    def go(self, pace: Pace) -> Outcome:
        """Sends requests until the pace has no more of them and all have ended."""
        clock, hooks = self._clock, self._hooks
        self._is_open = pace.next_due() is not NEVER
        loop = make_loop(
            self._poller.fileno(),
            self._parts,
            self._reader,
            measured_from=pace.measured_from,
            timeout=self._timeout,
            streams=self._streams,
            is_judged=self._work.judge is not None,
        )
        for line in self._lines:
            self._hand_over(line, loop)
        begin: Marks | None = None
        is_stopped = False
        next_sweep = clock() + SWEEP
        while True:
            now = clock()
            if begin is None and now >= pace.measured_from:
                begin = self._marks(loop)
                hooks.on_measured()
            if now >= next_sweep:
                next_sweep = now + SWEEP
                is_stopped = hooks.should_stop()
                hooks.on_time(now, self._tally.requests + loop.ended)
                self._sweep(now, may_begin=now < pace.end)
                if is_stopped:
                    break
            if _is_over(loop, pace, now):
                break
            until = next_sweep if begin is not None else min(next_sweep, pace.measured_from)
            files = loop.run(until, pace.end, pace.left, pace.coming(until))
            pace.took(loop.begun)
            for file in files:
                self._serve(file, loop)
            if loop.ended >= _FETCHED_FROM:
                self._fetch(loop)
        end = self._marks(loop)
        self._fetch(loop)
        return outcome_of(self._tally, begin or end, end, is_stopped=is_stopped)

    def close(self) -> None:
        """Hangs up."""
        for line in self._lines:
            if line.connection is not None:
                line.connection.close()

    def _serve(self, file: int, loop: Loops) -> None:
        line = self._of_file.get(file)
        if line is None or line.connection is None:
            return
        if not line.is_taken:
            self._advance(line, loop)
            return
        reason, error, lost, held = loop.give_back(file)
        returned = Returned(Reason(reason), error, lost, held)
        if lost:
            self._reader.say(Ending.DROPPED, self._reader.said(file) or _words(returned))
        self._drop(line)
        # Who has ended a connection in order takes a new one at once.
        if returned.reason is Reason.IN_ORDER:
            self._connect(line)

    def _advance(self, line: _Line, loop: Loops) -> None:
        """Does what can be done on a connection that is being made."""
        connection = line.connection
        assert connection is not None
        try:
            connection.advance()
        except ConnectionLost as error:
            self._fail(line, str(error))
            self._drop(line)
            return
        if connection.is_writing is not line.is_writing:
            line.is_writing = connection.is_writing
            self._poller.change(line.file, writing=line.is_writing)
        if connection.is_ready and not connection.is_writing:
            self._hand_over(line, loop)

    def _hand_over(self, line: _Line, loop: Loops) -> None:
        assert line.connection is not None
        client = line.connection.hand_over()
        line.is_taken = True
        if not isinstance(client, GrpcClient):
            loop.take_http1(line.file)
            return
        ahead = client.calls_ahead(self._work.requests[0])
        loop.take_calls(
            line.file,
            ahead.window,
            ahead.first_window,
            ahead.max_frame,
            ahead.most_calls,
            ahead.first_block,
            ahead.later_block,
            ahead.received,
        )

    def _connect(self, line: _Line) -> None:
        line.since = self._clock()
        try:
            connection = self._work.connect()
        except ConnectionLost as error:
            self._fail(line, str(error))
            return
        line.connection, line.file, line.is_writing = connection, connection.fileno(), True
        self._of_file[line.file] = line
        self._poller.add(line.file, writing=True)

    def _drop(self, line: _Line) -> None:
        """Ends a connection; the line has none until the next sweep, or until it is made again."""
        connection, line.connection = line.connection, None
        line.since, line.is_taken = self._clock(), False
        if connection is None:
            return
        self._ended_sent += connection.sent_bytes
        self._ended_received += connection.received_bytes
        del self._of_file[line.file]
        self._poller.remove(line.file)
        connection.close()

    def _fail(self, line: _Line, text: str, kind: str = CONNECTION) -> None:
        """Counts that there is no connection."""
        self._tally.fail(kind, text, self._clock() - line.since)

    def _sweep(self, now: int, *, may_begin: bool) -> None:
        """Looks for connections that take too long to be made, and for those that have to be made again."""
        for line in self._lines:
            if line.connection is None:
                if may_begin and now - line.since >= PAUSE_BEFORE_RECONNECT:
                    self._connect(line)
            elif not line.is_taken and now - line.since > self._timeout:
                self._fail(line, f"no connection within {self._work.timeout_seconds:g} s", TIMEOUT)
                self._drop(line)

    def _fetch(self, loop: Loops) -> None:
        """Moves what became of requests to where it is kept."""
        *columns, endings = loop.results()
        dues, took, behind = (np.frombuffer(column, np.int64) for column in columns)
        numbers = np.frombuffer(endings, np.int32)
        for number in np.unique(numbers).tolist():
            of_it = numbers == number
            kind, text = self._reader.words(number, self._work.timeout_seconds)
            if number == Ending.GOOD:
                self._tally.good.record_all(took[of_it])
            else:
                self._tally.fail_all(kind, text, took[of_it])
            if self._hooks.on_ended is not None:
                self._hooks.on_ended(kind, dues[of_it], took[of_it], behind[of_it])
        if self._is_open:
            self._tally.lateness.record_all(behind[behind >= 0])

    def _marks(self, loop: Loops) -> Marks:
        return marks(
            (line.connection for line in self._lines),
            self._ended_sent + loop.sent_bytes,
            self._ended_received + loop.received_bytes,
        )


class _Reader:
    """As `compiled_loop.Reader`; knows the kinds of failures by the numbers that it has given them."""

    def __init__(self, judge: Judge | None, lines: Mapping[int, _Line], *, is_call: bool) -> None:
        """Has read nothing yet.

        Args:
            judge: Says whether answers are right; None where nobody looks.
            lines: File -> the connection.
            is_call: Whether it is one of gRPC.
        """
        self._judge = judge
        self._lines = lines
        self._is_call = is_call
        self._kinds = ["", TIMEOUT, CONNECTION, UNSENT, _HTTP_WITHOUT_STATUS, NO_MESSAGE]
        self._texts: dict[int, str] = {
            Ending.UNSENT: UNSENT_TEXT,
            Ending.WITHOUT_STATUS: "status 200 of HTTP, and no grpc-status",
            Ending.WITHOUT_MESSAGE: "the call has ended without a message",
        }
        self._broken: dict[int, str] = {}

    def words(self, number: int, timeout_seconds: float) -> tuple[str, str]:
        """The kind of an ending, and the text of the first of them."""
        if number == Ending.TIMED_OUT:
            return TIMEOUT, f"no answer within {timeout_seconds:g} s"
        return self._kinds[number], self._texts.get(number, "")

    def say(self, number: int, text: str) -> None:
        """Takes in a text, which is kept if it is the first one of its kind."""
        self._texts.setdefault(number, text)

    def said(self, file: int) -> str:
        """What was wrong with what has come from a connection; empty if that was not said here."""
        return self._broken.pop(file, "")

    def piece(self, file: int, number: int, data: bytes) -> int:
        return self._answered(file, number, data)

    def end(self, file: int, number: int) -> int:
        return self._answered(file, number, None)

    def status(self, status: int, body: bytes) -> int:
        return self._number(str(status), body.decode("utf-8", "replace"))

    def block(self, file: int, block: bytes, ends_stream: bool) -> int:
        client = self._client(file)
        assert isinstance(client, GrpcClient)
        try:
            said = client.read_block(block, ends_stream=ends_stream)
        except BrokenAnswer as error:
            self._broken[file] = str(error)
            return BROKEN
        number: int = Ending.WITHOUT_STATUS if said.error == NO_STATUS else self._number(said.error, said.text)
        return number if said.is_stable else FIRST_CHANGE - number

    def reset(self, code: int) -> int:
        return self._number("RST_STREAM", name_of(code))

    def judge(self, number: int, body: bytes) -> int:
        try:
            message = read_message(body) if self._is_call else body
        except BrokenAnswer as error:
            return self._number(DIFFERENT, str(error))
        return self._judged(number, message)

    def _answered(self, file: int, number: int, data: bytes | None) -> int:
        client = self._client(file)
        assert isinstance(client, Http1Client)
        try:
            answer = client.receive(data) if data is not None else client.end()
        except BrokenAnswer as error:
            self._broken[file] = str(error)
            return BROKEN
        if answer is None:
            return NOT_WHOLE
        return 2 * self._ending(number, answer) + answer.ends_connection

    def _ending(self, number: int, answer: Answer) -> int:
        if answer.error:
            return self._number(answer.error, answer.body.decode("utf-8", "replace"))
        return self._judged(number, answer.body)

    def _judged(self, number: int, body: bytes) -> int:
        wrong = self._judge(number, body) if self._judge is not None else ""
        return self._number(DIFFERENT, wrong) if wrong else Ending.GOOD

    def _client(self, file: int) -> object:
        connection = self._lines[file].connection
        assert connection is not None
        return connection.hand_over()

    def _number(self, kind: str, text: str) -> int:
        if kind not in self._kinds:
            self._kinds.append(kind)
        number = self._kinds.index(kind)
        self.say(number, text)
        return number


def _is_over(loop: Loops, pace: Pace, now: int) -> bool:
    """Whether no request is under way, and none will begin any more."""
    if loop.under_way or pace.next_due() is not NEVER:
        return False
    # Before the end, those of a closed loop may be waiting for connections that come back.
    return now >= pace.end or pace.left <= 0


def _words(returned: Returned) -> str:
    """Why requests were lost with their connection."""
    if returned.reason is Reason.ERROR:
        return os.strerror(returned.error)
    if returned.reason is Reason.GOES_AWAY:
        return f"the server goes away: {name_of(returned.error)}"
    if returned.reason is Reason.NO_FRAME:
        return "expected frames of HTTP/2, and got others"
    if returned.reason is Reason.HAS_MORE:
        return "expected one answer, and more follows it"
    came = f" after {returned.held} bytes of the answer" if returned.held else ""
    return f"the server has closed the connection{came}"
