"""The compiled loop of a run: what it is given, what it asks, and what it tells.

A load sends the same few requests again and again, and as long as nothing goes wrong the answers differ in little. All
that happens then is done in C: waiting, sending, receiving, taking the time, comparing. What is rare is asked of a
`Reader`. Without the compiled code, `plain_run` does all of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hotserve.codecs.compiled import SWITCH

try:
    from hotserve.loadgen import _loop
except ImportError:
    _loop = None  # type: ignore[assignment]

_REVISION: Final = 1
"""What `_loop.REVISION` is in the sources that belong to this file: an editable install may be older than they."""

IS_COMPILED: Final = getattr(_loop, "REVISION", None) == _REVISION and not os.environ.get(SWITCH)
"""Whether there is such code."""

MOST_STREAMS: Final = 256
"""How many calls may be under way on a connection at most: they are looked for one by one."""


class Ending(IntEnum):
    """How requests end, as the compiled code knows it; the reader has numbers of its own beyond these."""

    GOOD = 0
    TIMED_OUT = 1
    DROPPED = 2
    UNSENT = 3
    WITHOUT_STATUS = 4
    WITHOUT_MESSAGE = 5


NOT_WHOLE: Final = -1
BROKEN: Final = -2
FIRST_CHANGE: Final = -3
"""What else the reader says: the answer goes on; it is none, or the block is none; and `FIRST_CHANGE - ending` for a
block after which the same bytes say something else."""


class Reason(IntEnum):
    """Why a connection is of no use any more."""

    IN_ORDER = 0
    CLOSED = 1
    ERROR = 2
    NO_FRAME = 3
    GOES_AWAY = 4
    HAS_MORE = 5
    SAID = 6


class Returned(NamedTuple):
    """What is known of a connection that comes back.

    Attributes:
        reason: Why.
        error: An errno, or an error code of HTTP/2.
        lost: How many requests were lost with it.
        held: How many bytes of an answer had come.
    """

    reason: Reason
    error: int
    lost: int
    held: int


class Reader(Protocol):
    """Reads what is rare, and puts it into words. What it returns is an ending, or its number of another way to end."""

    def piece(self, file: int, number: int, data: bytes) -> int:
        """A piece of an answer of HTTP/1.1 whose head is unusual.

        Args:
            file: The connection.
            number: Which of the requests it answers.
            data: What has come of it since the last piece.

        Returns:
            Twice the ending, and one more if the connection ends with it; `NOT_WHOLE`, or `BROKEN`.
        """
        ...

    def end(self, file: int, number: int) -> int:
        """The same when the server has ended the connection in such an answer."""
        ...

    def status(self, status: int, body: bytes) -> int:
        """An answer of HTTP/1.1 of another status than 200. Asked once for each status."""
        ...

    def block(self, file: int, block: bytes, ends_stream: bool) -> int:
        """A header block of HTTP/2; asked for each, in order, but for those that say the same again."""
        ...

    def reset(self, code: int) -> int:
        """The server has reset a call."""
        ...

    def judge(self, number: int, body: bytes) -> int:
        """An answer that may be right: a body of HTTP, or a message with gRPC's prefix."""
        ...


class Loops(Protocol):
    """The compiled code. All times are nanoseconds of the clock of `time.perf_counter_ns`.

    Attributes:
        begun: How many requests the last `run` has begun, or given up unsent; of a closed loop those that count.
        ended: How many that count have ended, and wait to be fetched.
        turn: Which of the requests is the next.
        under_way: How many requests are under way, but for those that were given up.
        sent_bytes: What all connections have sent so far.
        received_bytes: What they have received.
    """

    @property
    def begun(self) -> int: ...
    @property
    def ended(self) -> int: ...
    @property
    def turn(self) -> int: ...
    @property
    def under_way(self) -> int: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...

    def take_http1(self, file: int) -> None:
        """Takes a connection over, on which no request is under way, and at which the poller looks for reading."""
        ...

    def take_calls(
        self,
        file: int,
        window: int,
        first_window: int,
        max_frame: int,
        most: int,
        first_block: bytes,
        later_block: bytes,
        received: bytes,
    ) -> None:
        """The same for a connection of gRPC; the rest is as in `CallsAhead`."""
        ...

    def give_back(self, file: int) -> tuple[int, int, int, int]:
        """Gives a connection back: the fields of `Returned`. What is under way on it has failed."""
        ...

    def results(self) -> tuple[bytes, bytes, bytes, bytes]:
        """What became of the requests that count, since this was last asked.

        Returns:
            When each was due, how long it took from then on, and how long after it was due, and could be sent, it was
            sent (0 in a closed loop, -1 if it never was), an int64 each; how it ended, an int32 each.
        """
        ...

    def run(self, until: int, end: int, left: int, dues: NDArray[np.int64] | None = None) -> list[int]:
        """Serves the connections.

        Args:
            until: How long.
            end: No request of a closed loop begins from then on.
            left: How many more of it count.
            dues: When those of an open loop are due, in order; None for a closed loop.

        Returns:
            The files that need Python: those of connections that are of no use any more and have to be given back, and
            those that are ready and were never taken over. It returns before its time for these, after a signal, when
            much waits to be fetched, and where all requests under way have ended.

        Raises:
            Exception: The reader has raised it.
        """
        ...


def make_loop(
    poller: int,
    parts: Sequence[bytes],
    reader: Reader,
    *,
    measured_from: int,
    timeout: int,
    streams: int,
    is_judged: bool,
) -> Loops:
    """Makes one, where `IS_COMPILED`.

    Args:
        poller: The file descriptor of an epoll that looks at all connections.
        parts: The requests, as `Client.repeated` has them.
        reader: Reads what is rare.
        measured_from: From when on requests count.
        timeout: How long a request may take from when it was due.
        streams: How many calls of gRPC may be under way on a connection, up to `MOST_STREAMS`.
        is_judged: Whether the reader has to judge answers.
    """
    return _loop.Loop(poller, parts, reader, measured_from, timeout, min(streams, MOST_STREAMS), is_judged)
