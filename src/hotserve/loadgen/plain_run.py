"""A run in plain Python: connections, requests at a pace, and what became of them.

Everything happens in one thread, which waits for all sockets at once: a turn of asyncio's loop costs more than all
that is done here for a request, and the server beside it would lack that processor time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hotserve.loadgen.connection import Connection, ConnectionLost
from hotserve.loadgen.exchange import Answer
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
    Marks,
    Outcome,
    Work,
    marks,
    outcome_of,
)


@dataclass(slots=True, eq=False)
class _Line:
    """One of the connections, and what it is doing.

    Attributes:
        connection: None between two of them.
        due: From when the request under way counts; 0 without one.
        behind: How long after it was due, and could be sent, that one was sent.
        since: When the connection was begun, or ended.
        number: Which of the requests it is.
        is_late: Whether it was given up; its answer has to come before the next request can begin.
        is_writing: Whether the poller looks for room to write.
        is_opened: Whether the connection has been ready once.
        file: Its file descriptor; -1 without a connection.
    """

    connection: Connection | None = None
    due: int = 0
    behind: int = 0
    since: int = 0
    number: int = 0
    is_late: bool = False
    is_writing: bool = False
    is_opened: bool = False
    file: int = -1


class PlainRun:
    """Connections that send requests at a pace, each with one request under way. A run is used once."""

    def __init__(self, work: Work, connections: Sequence[Connection], poller: Poller, hooks: Hooks) -> None:
        """Takes connections that are ready.

        Args:
            work: What is sent to whom.
            connections: All that there are.
            poller: Looks at all of them for reading.
            hooks: Who is asked and told meanwhile.
        """
        self._work = work
        self._hooks = hooks
        self._timeout = round(work.timeout_seconds * 1e9)
        self._poller = poller
        self._lines = [_Line(connection, is_opened=True, file=connection.fileno()) for connection in connections]
        self._of_file = {line.file: line for line in self._lines}
        self._idle = list(self._lines)
        self._turn = 0
        self._under_way = 0
        self._tally = Tally()
        self._measured_from = 0
        # Since when a connection has been free without a break.
        self._free_since = 0
        self._ended_sent = self._ended_received = 0
        self._clock = time.perf_counter_ns

    def go(self, pace: Pace) -> Outcome:
        """Sends requests until the pace has no more of them and all have ended."""
        clock, hooks = self._clock, self._hooks
        self._measured_from = pace.measured_from
        is_open = pace.next_due() is not NEVER
        begin: Marks | None = None
        is_stopped = False
        next_sweep = clock() + SWEEP
        while True:
            now = clock()
            if begin is None and now >= pace.measured_from:
                begin = self._marks()
                hooks.on_measured()
            if now >= next_sweep:
                next_sweep = now + SWEEP
                is_stopped = hooks.should_stop()
                hooks.on_time(now, self._tally.requests)
                self._sweep(now, may_begin=now < pace.end)
                if is_stopped:
                    break
            if is_open:
                self._give_up_unsent(pace, now)
            if self._idle:
                self._start_idle(pace, now, is_open)
            if self._is_over(pace, now):
                break
            until = min(next_sweep, pace.next_due()) if self._idle else next_sweep
            if begin is None:
                until = min(until, pace.measured_from)
            left = until - clock()
            for file, _ in (self._poller.wait_exactly if is_open else self._poller.wait)(left):
                line = self._of_file.get(file)
                if line is not None:
                    self._serve(line, pace)
        end = self._marks()
        return outcome_of(self._tally, begin or end, end, is_stopped=is_stopped)

    def close(self) -> None:
        """Hangs up."""
        for line in self._lines:
            if line.connection is not None:
                line.connection.close()

    def _is_over(self, pace: Pace, now: int) -> bool:
        """Whether no request is under way, and none will begin any more."""
        if self._under_way or pace.next_due() is not NEVER:
            return False
        # Before the end, those of a closed loop may be waiting for connections that come back.
        return now >= pace.end or pace.left <= 0

    def _serve(self, line: _Line, pace: Pace) -> None:
        """Does what can be done on one connection, and begins its next request."""
        try:
            answer = self._advance(line)
        except ConnectionLost as error:
            self._fail(line, CONNECTION, str(error))
            self._drop(line)
            return
        if answer is None or not line.due:
            return
        now = self._clock()
        if not line.is_late:
            self._judge(line, answer, now)
            self._under_way -= 1
        line.due, line.is_late = 0, False
        if answer.ends_connection:
            self._drop(line)
            self._reconnect(line, now)
            return
        if self._work.judge is not None:
            now = self._clock()
        due = pace.take(now)
        if due is None:
            self._free(line, now)
        else:
            # Of an open loop, it is sent as soon as a connection is free.
            self._begin(line, due, 0)

    def _judge(self, line: _Line, answer: Answer, now: int) -> None:
        if answer.error:
            self._end(answer.error, line.due, line.behind, now, answer.body.decode("utf-8", "replace"))
            return
        judge = self._work.judge
        wrong = judge(line.number, answer.body) if judge is not None else ""
        self._end(DIFFERENT if wrong else "", line.due, line.behind, now, wrong)

    def _end(self, kind: str, due: int, behind: int, now: int, text: str) -> None:
        """A request has ended; one that does not count is not counted."""
        if due < self._measured_from:
            return
        if kind:
            self._tally.fail(kind, text, now - due)
        else:
            self._tally.good.record(now - due)
        if self._hooks.on_ended is not None:
            columns = np.array([[due], [now - due], [behind]], np.int64)
            self._hooks.on_ended(kind, *columns)

    def _begin(self, line: _Line, due: int, behind: int) -> None:
        requests = self._work.requests
        line.due, line.behind, line.number = due, behind, self._turn
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

    def _start_idle(self, pace: Pace, now: int, is_open: bool) -> None:
        """Begins what is due on the connections that have nothing to do."""
        while self._idle:
            due = pace.take(now)
            if due is None:
                return
            line = self._idle.pop()
            behind = now - max(due, self._free_since) if is_open else 0
            if is_open and due >= self._measured_from:
                self._tally.lateness.record(behind)
            self._begin(line, due, behind)

    def _free(self, line: _Line, now: int) -> None:
        if not self._idle:
            self._free_since = now
        self._idle.append(line)

    def _advance(self, line: _Line) -> Answer | None:
        connection = line.connection
        assert connection is not None
        answer = connection.advance()
        if connection.is_writing is not line.is_writing:
            self._watch(line, connection)
        if not line.is_opened and connection.is_ready:
            line.is_opened = True
            self._free(line, self._clock())
        return answer

    def _watch(self, line: _Line, connection: Connection) -> None:
        line.is_writing = connection.is_writing
        self._poller.change(line.file, writing=line.is_writing)

    def _drop(self, line: _Line) -> None:
        """Ends a connection; the line has none until the next sweep, or until it is made again."""
        connection, line.connection = line.connection, None
        if line.is_opened and not line.due and line in self._idle:
            self._idle.remove(line)
        if line.due and not line.is_late:
            self._under_way -= 1
        line.due, line.is_late = 0, False
        line.since, line.is_opened = self._clock(), False
        if connection is None:
            return
        self._ended_sent += connection.sent_bytes
        self._ended_received += connection.received_bytes
        del self._of_file[line.file]
        self._poller.remove(line.file)
        connection.close()

    def _fail(self, line: _Line, kind: str, text: str) -> None:
        """Counts that the request of a line has failed with its connection, or that there is no connection."""
        if line.is_late or (line.is_opened and not line.due):
            # It has been counted, or nothing was under way: servers end what has been idle.
            return
        if line.due:
            self._end(kind, line.due, line.behind, self._clock(), text)
        elif line.since >= self._measured_from:
            self._tally.fail(kind, text, self._clock() - line.since)

    def _reconnect(self, line: _Line, now: int) -> None:
        line.since = now
        try:
            connection = self._work.connect()
        except ConnectionLost as error:
            self._fail(line, CONNECTION, str(error))
            return
        line.connection, line.is_opened, line.is_writing = connection, False, True
        line.file = connection.fileno()
        self._of_file[line.file] = line
        self._poller.add(line.file, writing=True)

    def _sweep(self, now: int, *, may_begin: bool) -> None:
        """Looks for requests that take too long, and for connections that have to be made again."""
        for line in self._lines:
            if line.connection is None:
                if may_begin and now - line.since >= PAUSE_BEFORE_RECONNECT:
                    self._reconnect(line, now)
            elif line.due:
                took = now - line.due
                if took > self._timeout and not line.is_late:
                    self._fail(line, TIMEOUT, f"no answer within {self._work.timeout_seconds:g} s")
                    line.is_late = True
                    self._under_way -= 1
                elif took > 2 * self._timeout:
                    self._drop(line)
                    self._reconnect(line, now)
            elif not line.is_opened and now - line.since > self._timeout:
                self._fail(line, TIMEOUT, f"no connection within {self._work.timeout_seconds:g} s")
                self._drop(line)

    def _give_up_unsent(self, pace: Pace, now: int) -> None:
        """Counts what should have been sent so long ago that its time is over, because all connections were taken."""
        while pace.next_due() < now - self._timeout:
            due = pace.take(now)
            assert due is not None
            self._end(UNSENT, due, -1, now, UNSENT_TEXT)

    def _marks(self) -> Marks:
        return marks((line.connection for line in self._lines), self._ended_sent, self._ended_received)
