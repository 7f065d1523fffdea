"""Connections that repeat themselves: served by compiled code where this installation has it, else by none.

A load sends the same few requests again and again, and as long as nothing goes wrong the answers differ in their bodies
alone. For these a `Repeater` does in C all that `Run` does in Python: it waits, receives, takes the time, and sends the
next request. A connection on which anything else comes goes back to `Run`, with all that came since its last whole
answer, so that there is one place that knows what is wrong. Without the compiled code, `Run` does all of it.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from hotserve.codecs.compiled import SWITCH
from hotserve.loadgen.exchange import SteadyCalls, SteadyHttp1
from hotserve.loadgen.tally import Tally

try:
    from hotserve.loadgen import _repeater
except ImportError:
    _repeater = None  # type: ignore[assignment]

_REVISION: Final = 1
"""What `_repeater.REVISION` is in the sources that belong to this file: an editable install may be older than they."""

IS_COMPILED: Final = getattr(_repeater, "REVISION", None) == _REVISION and not os.environ.get(SWITCH)
"""Whether there is such code."""

_FLUSHED_FROM: Final = 1 << 13


class Repeats(Protocol):
    """The compiled code. All times are nanoseconds of the clock of `time.perf_counter_ns`.

    Attributes:
        answered: How many latencies wait to be fetched.
        begun: How many requests the last `run` has begun; of a closed loop those that count.
        turn: Which of the requests is the next.
        under_way: On how many connections here a request is under way.
        idle: How many have none.
        sent_bytes: What all of them have sent so far.
        received_bytes: What they have received.
    """

    @property
    def answered(self) -> int: ...
    @property
    def begun(self) -> int: ...
    @property
    def turn(self) -> int: ...
    @property
    def under_way(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...

    def take_http1(self, file: int, due: int, since: int, number: int) -> None:
        """Takes a connection over, whose request has been sent and of whose answer nothing has come.

        Args:
            file: Its file descriptor, which the poller looks at for reading.
            due: From when the request counts.
            since: When it was sent.
            number: Which of the requests it is.
        """
        ...

    def take_call(
        self,
        file: int,
        due: int,
        since: int,
        number: int,
        stream: int,
        window: int,
        most: int,
        taken: int,
        block: bytes,
        initial: bytes,
        trailers: bytes,
    ) -> None:
        """The same for a connection of gRPC; the rest is as in `SteadyCalls`."""
        ...

    def give_back(self, file: int) -> tuple[int, int, int, tuple[bytes, bytes, int, tuple[int, int, int]]]:
        """Gives a connection back: `due` (0 without a request), `since`, `number`, and the fields of `Returned`."""
        ...

    def overdue(self, before: int) -> list[int]:
        """The connections whose requests were sent before a time and have no answer yet."""
        ...

    def latencies(self) -> bytes:
        """The latencies of the requests that count, an int64 each; they are handed out once."""
        ...

    def lateness(self) -> bytes:
        """How late requests were sent though a connection was free, likewise."""
        ...

    def run(self, until: int, end: int, left: int, turn: int, dues: array[int] | None = None) -> list[int]:
        """Serves the connections.

        Args:
            until: How long.
            end: No request of a closed loop begins from then on.
            left: How many more of it count.
            turn: Which request is the next.
            dues: When those of an open loop are due, in order; None for a closed loop.

        Returns:
            The files that need Python: those of connections that have to be given back, and those that are ready and
            were never taken over. It returns before its time for these, after a signal, and where all requests under
            way have ended.
        """
        ...


class Returned(NamedTuple):
    """What a connection brings along when it comes back.

    Attributes:
        received: What has come since the last whole answer.
        unsent: What has not been sent of the request under way.
        error: What the system has said of the connection, an errno; 0 for nothing.
        position: The `stream`, `window` and `taken` of `SteadyCalls` after the last whole answer.
    """

    received: bytes
    unsent: bytes
    error: int
    position: tuple[int, int, int]


def make_repeater(poller: int, parts: Sequence[tuple[bytes, bytes]], measured_from: int) -> Repeats | None:
    """Makes one; None where there is no compiled code.

    Args:
        poller: The file descriptor of an epoll that looks at all connections.
        parts: The requests, each in two parts, for all connections the same.
        measured_from: From when on requests count.
    """
    return _repeater.Repeater(poller, parts, measured_from) if IS_COMPILED else None


def hand_over(
    repeater: Repeats, steady: SteadyHttp1 | SteadyCalls, file: int, due: int, since: int, number: int
) -> None:
    """Has a connection taken over, as it is."""
    if isinstance(steady, SteadyHttp1):
        repeater.take_http1(file, due, since, number)
        return
    repeater.take_call(
        file,
        due,
        since,
        number,
        steady.stream,
        steady.window,
        steady.most,
        steady.taken,
        steady.block,
        steady.initial,
        steady.trailers,
    )


def collect(repeater: Repeats, tally: Tally, *, is_over: bool = False) -> None:
    """Moves latencies to where they are kept, when there are many, or at the end."""
    if is_over or repeater.answered >= _FLUSHED_FROM:
        tally.good.record_all(np.frombuffer(repeater.latencies(), np.int64))
    # Only an open loop has any.
    lateness = repeater.lateness()
    if lateness:
        tally.lateness.record_all(np.frombuffer(lateness, np.int64))
