"""One run: connections, requests at a pace, and what became of them.

Everything happens in one thread, which waits for all sockets at once: a turn of asyncio's loop costs more than all
that is done here for a request, and the server beside it would lack that processor time. For the same reason each
connection whose request has gone out is handed to a repeater, where there is one, until something unusual comes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from hotserve.errors import Unavailable
from hotserve.loadgen.connection import Connection, ConnectionLost
from hotserve.loadgen.exchange import Answer, Request
from hotserve.loadgen.pace import NEVER, Pace
from hotserve.loadgen.poller import Poller
from hotserve.loadgen.repeater import Repeats, Returned, collect, hand_over, make_repeater
from hotserve.loadgen.tally import Tally

TIMEOUT: Final = "timeout"
CONNECTION: Final = "connection"
DIFFERENT: Final = "different answer"
UNSENT: Final = "not sent"
"""Kinds of failures, beside the statuses of answers."""

_SWEEP: Final = 20_000_000
_PAUSE_BEFORE_RECONNECT: Final = 100_000_000


class Judge(Protocol):
    """Says whether an answer is the right one."""

    def __call__(self, number: int, body: bytes) -> str:
        """What is wrong with the answer to request `number`; empty if nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class Marks:
    """What was read when the requests that count began, and when the last of them had ended.

    Attributes:
        clock: Nanoseconds.
        cpu_seconds: What this process has used of the processors.
        sent_bytes: What all connections have sent.
        received_bytes: What they have received.
    """

    clock: int
    cpu_seconds: float
    sent_bytes: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        tally: What became of the requests.
        seconds: From the first request that counts to the last answer.
        cpu_seconds: What this process used of the processors in that time.
        sent_bytes: What was sent in that time.
        received_bytes: What was received in that time.
        is_stopped: Whether it was stopped before its time.
    """

    tally: Tally
    seconds: float
    cpu_seconds: float
    sent_bytes: int
    received_bytes: int
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is asked, and told, while a run goes on.

    Attributes:
        should_stop: Asked fifty times a second whether to stop.
        on_measured: Called once when the requests that count begin.
        on_time: Told fifty times a second the time and how many requests have counted so far.
    """

    should_stop: Callable[[], bool] = lambda: False
    on_measured: Callable[[], None] = lambda: None
    on_time: Callable[[int, int], None] = lambda now, requests: None


@dataclass(frozen=True, slots=True)
class Work:
    """What is sent to whom.

    Attributes:
        connect: Begins a connection; raises ConnectionLost if it is refused at once.
        requests: What is sent, in turns.
        judge: Says whether answers are right; None where nobody looks.
        timeout_seconds: How long a request, and the making of a connection, may take.
    """

    connect: Callable[[], Connection]
    requests: Sequence[Request]
    judge: Judge | None = None
    timeout_seconds: float = 60.0


@dataclass(slots=True)
class _Line:
    """One of the connections, and what it is doing.

    Attributes:
        connection: None between two of them.
        due: From when the request under way counts; 0 without one.
        since: When it was sent, or when the connection was begun, or ended.
        number: Which of the requests it is.
        is_writing: Whether the poller looks for room to write.
        is_opened: Whether the connection has been ready once.
        is_away: Whether the repeater has it, which then knows what it is doing.
        file: Its file descriptor; -1 without a connection.
    """

    connection: Connection | None = None
    due: int = 0
    since: int = 0
    number: int = 0
    is_writing: bool = False
    is_opened: bool = False
    is_away: bool = False
    file: int = field(default=-1)


class Run:
    """Connections that send requests at a pace. A run is used once."""

    def __init__(self, work: Work, connections: int, hooks: Hooks | None = None) -> None:
        """Begins nothing yet.

        Args:
            work: What is sent to whom.
            connections: How many there are.
            hooks: Who is asked and told meanwhile.
        """
        self._work = work
        self._hooks = hooks or Hooks()
        self._timeout = round(work.timeout_seconds * 1e9)
        self._poller = Poller()
        self._lines = [_Line() for _ in range(connections)]
        self._of_file: dict[int, _Line] = {}
        self._idle: list[_Line] = []
        self._turn = 0
        self._under_way = 0
        self._tally = Tally()
        self._measured_from = 0
        self._ended_sent = self._ended_received = 0
        self._repeater: Repeats | None = None
        self._clock = time.perf_counter_ns

    def open(self) -> None:
        """Opens all connections.

        Raises:
            Unavailable: One of them cannot be opened.
        """
        # Now, because none follows while the run goes on.
        gc.collect()
        try:
            for line in self._lines:
                self._connect(line)
            until = self._clock() + self._timeout
            while not all(line.is_opened for line in self._lines):
                for number, _ in self._poller.wait(_SWEEP):
                    self._advance(self._of_file[number])
                if self._clock() > until:
                    raise ConnectionLost(f"no connection within {self._work.timeout_seconds:g} s")
        except ConnectionLost as error:
            self.close()
            opened = sum(line.is_opened for line in self._lines)
            raise Unavailable(f"connection {opened + 1} of {len(self._lines)}: {error}") from error

    def go(self, pace: Pace) -> Outcome:
        """Sends requests until the pace has no more of them and all are answered; closes the connections.

        Args:
            pace: When they begin, on the clock of `time.perf_counter_ns`.
        """
        was_enabled = gc.isenabled()
        # A collection would stop everything for milliseconds, which latencies would show.
        gc.disable()
        try:
            return self._go(pace)
        finally:
            if was_enabled:
                gc.enable()
            self.close()

    def close(self) -> None:
        """Hangs up."""
        for line in self._lines:
            self._drop(line)
        self._poller.close()

    def _go(self, pace: Pace) -> Outcome:
        clock, hooks = self._clock, self._hooks
        self._measured_from = pace.measured_from
        self._repeater = self._make_repeater()
        is_open = pace.next_due() is not NEVER
        last_moment = pace.end + self._timeout
        begin: Marks | None = None
        is_stopped = False
        next_sweep = clock() + _SWEEP
        while True:
            now = clock()
            if begin is None and now >= pace.measured_from:
                begin = self._marks()
                hooks.on_measured()
            if now >= next_sweep:
                next_sweep = now + _SWEEP
                is_stopped = hooks.should_stop()
                hooks.on_time(now, self._tally.requests + (self._repeater.answered if self._repeater else 0))
                self._sweep(now, may_begin=now < pace.end)
                if is_stopped or now >= last_moment:
                    break
            if is_open or self._idle:
                self._start_idle(pace, now, is_open)
            if self._is_over(pace, now):
                break
            until = min(next_sweep, pace.next_due()) if self._idle else next_sweep
            if begin is None:
                until = min(until, pace.measured_from)
            for file in self._wait(pace, until, is_open):
                line = self._of_file.get(file)
                if line is not None:
                    self._serve(line, pace)
        end = self._marks()
        if self._repeater is not None:
            collect(self._repeater, self._tally, is_over=True)
        begin = begin or end
        if not is_stopped:
            self._count_unsent(pace, end.clock)
        return Outcome(
            self._tally,
            (end.clock - begin.clock) / 1e9,
            end.cpu_seconds - begin.cpu_seconds,
            end.sent_bytes - begin.sent_bytes,
            end.received_bytes - begin.received_bytes,
            is_stopped,
        )

    def _is_over(self, pace: Pace, now: int) -> bool:
        """Whether no request is under way, and none will begin any more."""
        under_way, idle = self._under_way, len(self._idle)
        if self._repeater is not None:
            under_way += self._repeater.under_way
            idle += self._repeater.idle
        if under_way or pace.next_due() is not NEVER:
            return False
        # Before the end, those of a closed loop may be waiting for connections that come back.
        return now >= pace.end or idle == len(self._lines)

    def _make_repeater(self) -> Repeats | None:
        """What serves connections as long as nothing unusual comes; None where only Python can."""
        connection = self._lines[0].connection
        if self._work.judge is not None or connection is None:
            return None
        parts = connection.parts(self._work.requests)
        return None if parts is None else make_repeater(self._poller.fileno(), parts, self._measured_from)

    def _wait(self, pace: Pace, until: int, is_open: bool) -> Sequence[int]:
        """Waits until connections need something that is done here; returns their files."""
        repeater = self._repeater
        if repeater is None:
            left = until - self._clock()
            return [file for file, _ in (self._poller.wait_exactly if is_open else self._poller.wait)(left)]
        files = repeater.run(until, pace.end, pace.left, self._turn, pace.coming(until))
        pace.took(repeater.begun)
        self._turn = repeater.turn
        collect(repeater, self._tally)
        return files

    def _serve(self, line: _Line, pace: Pace) -> None:
        """Does what can be done on one connection, and begins its next request."""
        if line.is_away:
            self._take_back(line)
        try:
            answer = self._advance(line)
        except ConnectionLost as error:
            self._fail(line, CONNECTION, str(error))
            self._drop(line)
            return
        if answer is None or not line.due:
            return
        now = self._clock()
        self._judge(line, answer, now)
        line.due = 0
        self._under_way -= 1
        if answer.ends_connection:
            self._drop(line)
            line.since = 0
            self._reconnect(line, now)
            return
        if self._work.judge is not None:
            now = self._clock()
        due = pace.take(now)
        if due is None:
            self._idle.append(line)
        else:
            self._begin(line, due, now)

    def _judge(self, line: _Line, answer: Answer, now: int) -> None:
        if line.due < self._measured_from:
            return
        took = now - line.due
        if answer.error:
            self._tally.fail(answer.error, answer.body.decode("utf-8", "replace"), took)
            return
        judge = self._work.judge
        wrong = judge(line.number, answer.body) if judge is not None else ""
        if wrong:
            self._tally.fail(DIFFERENT, wrong, took)
        else:
            self._tally.good.record(took)

    def _begin(self, line: _Line, due: int, now: int) -> None:
        requests = self._work.requests
        line.due, line.since, line.number = due, now, self._turn
        self._turn = (self._turn + 1) % len(requests)
        self._under_way += 1
        connection = line.connection
        assert connection is not None
        try:
            connection.begin(requests[line.number])
        except ConnectionLost as error:
            self._fail(line, CONNECTION, str(error))
            self._drop(line)
            return
        if connection.is_writing:
            self._watch(line, connection)
        elif self._repeater is not None:
            self._hand_over(line, connection, self._repeater)

    def _hand_over(self, line: _Line, connection: Connection, repeater: Repeats) -> None:
        steady = connection.steady()
        if steady is not None:
            hand_over(repeater, steady, line.file, line.due, line.since, line.number)
            self._under_way -= 1
            line.due, line.is_away = 0, True

    def _take_back(self, line: _Line) -> None:
        assert self._repeater is not None
        assert line.connection is not None
        line.due, line.since, line.number, returned = self._repeater.give_back(line.file)
        line.connection.resume(Returned(*returned))
        line.is_away = False
        if line.due:
            self._under_way += 1
        else:
            self._idle.append(line)

    def _start_idle(self, pace: Pace, now: int, is_open: bool) -> None:
        """Begins what is due on the connections that have nothing to do."""
        while self._idle:
            due = pace.take(now)
            if due is None:
                return
            line = self._idle.pop()
            if is_open and due >= self._measured_from:
                self._tally.lateness.record(now - due)
            self._begin(line, due, now)

    def _advance(self, line: _Line) -> Answer | None:
        connection = line.connection
        assert connection is not None
        answer = connection.advance()
        if connection.is_writing is not line.is_writing:
            self._watch(line, connection)
        if not line.is_opened and connection.is_ready:
            line.is_opened = True
            self._idle.append(line)
        return answer

    def _watch(self, line: _Line, connection: Connection) -> None:
        line.is_writing = connection.is_writing
        self._poller.change(line.file, writing=line.is_writing)

    def _connect(self, line: _Line) -> None:
        connection = self._work.connect()
        line.connection, line.is_opened, line.is_writing, line.since = connection, False, True, self._clock()
        line.file = connection.fileno()
        self._of_file[line.file] = line
        self._poller.add(line.file, writing=True)

    def _drop(self, line: _Line) -> None:
        """Ends a connection; the line has none until the next sweep."""
        if line.is_away:
            self._take_back(line)
        connection, line.connection = line.connection, None
        if line.is_opened and not line.due and line in self._idle:
            self._idle.remove(line)
        if line.due:
            line.due = 0
            self._under_way -= 1
        line.since, line.is_opened = self._clock(), False
        if connection is None:
            return
        self._ended_sent += connection.sent_bytes
        self._ended_received += connection.received_bytes
        del self._of_file[line.file]
        self._poller.remove(line.file)
        connection.close()

    def _fail(self, line: _Line, kind: str, text: str) -> None:
        """Counts that the request of a line has failed with its connection, or could not begin for want of one."""
        if line.is_opened and not line.due:
            # Nothing was under way: servers end what has been idle.
            return
        due = line.due or line.since
        if due >= self._measured_from:
            self._tally.fail(kind, text, self._clock() - due)

    def _reconnect(self, line: _Line, now: int) -> None:
        try:
            self._connect(line)
        except ConnectionLost as error:
            line.since = now
            self._fail(line, CONNECTION, str(error))

    def _sweep(self, now: int, *, may_begin: bool) -> None:
        """Looks for requests that take too long, and for connections that have to be made again."""
        if self._repeater is not None:
            for file in self._repeater.overdue(now - self._timeout):
                self._take_back(self._of_file[file])
        for line in self._lines:
            if line.connection is None:
                if may_begin and now - line.since >= _PAUSE_BEFORE_RECONNECT:
                    self._reconnect(line, now)
            elif now - line.since > self._timeout and (line.due or not line.is_opened):
                what = "answer" if line.is_opened else "connection"
                self._fail(line, TIMEOUT, f"no {what} within {self._work.timeout_seconds:g} s")
                self._drop(line)

    def _count_unsent(self, pace: Pace, now: int) -> None:
        """Counts what should have been sent, and was not, because all connections were taken."""
        # A closed loop has nothing that is due at its end.
        while (due := pace.take(pace.end)) is not None:
            if due >= self._measured_from:
                self._tally.fail(UNSENT, "all connections were taken until the end", now - due)

    def _marks(self) -> Marks:
        connections = [line.connection for line in self._lines if line.connection is not None]
        sent = self._ended_sent + sum(connection.sent_bytes for connection in connections)
        received = self._ended_received + sum(connection.received_bytes for connection in connections)
        if self._repeater is not None:
            sent += self._repeater.sent_bytes
            received += self._repeater.received_bytes
        return Marks(self._clock(), time.process_time(), sent, received)
