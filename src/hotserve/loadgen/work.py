"""A run: what is sent to whom, who is told of it, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from hotserve.loadgen.connection import Connection
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.tally import Tally

TIMEOUT: Final = "timeout"
CONNECTION: Final = "connection"
DIFFERENT: Final = "different answer"
UNSENT: Final = "not sent"
"""Kinds of failures, beside the statuses of answers."""

UNSENT_TEXT: Final = "all connections were taken until the end"

SWEEP: Final = 20_000_000
"""How often somebody looks at what does not come by itself, in nanoseconds."""

PAUSE_BEFORE_RECONNECT: Final = 100_000_000


class Judge(Protocol):
    """Says whether an answer is the right one."""

    def __call__(self, number: int, body: bytes) -> str:
        """What is wrong with the answer to request `number`; empty if nothing is."""
        ...


class Listener(Protocol):
    """Is told of every request that counts."""

    def __call__(self, kind: str, dues: NDArray[Any], took: NDArray[Any], behind: NDArray[Any]) -> None:
        """Some have ended in the same way.

        Args:
            kind: How they have failed; empty for those that were answered as they should be.
            dues: When each of them was due, [requests] int64, in nanoseconds of `time.perf_counter_ns`.
            took: How many nanoseconds each of them took from then on, [requests] int64.
            behind: How many nanoseconds after it was due, and could be sent, each was sent, [requests] int64; 0 in a
                closed loop, -1 for what never was.
        """
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What is sent to whom.

    Attributes:
        connect: Begins a connection; raises ConnectionLost if it is refused at once.
        requests: What is sent, in turns.
        judge: Says whether answers are right; None where nobody looks. It is not asked again of what it found right.
        timeout_seconds: How long a request may take from when it was due, and the making of a connection.
    """

    connect: Callable[[], Connection]
    requests: Sequence[Request]
    judge: Judge | None = None
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is asked, and told, while a run goes on.

    Attributes:
        should_stop: Asked fifty times a second whether to stop.
        on_measured: Called once when the requests that count begin.
        on_time: Told fifty times a second the time and how many requests have counted so far.
        on_ended: Told, some time later, of each request that counts; None where nobody wants to know.
    """

    should_stop: Callable[[], bool] = lambda: False
    on_measured: Callable[[], None] = lambda: None
    on_time: Callable[[int, int], None] = lambda now, requests: None
    on_ended: Listener | None = None


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


def marks(connections: Iterable[Connection | None], sent_bytes: int, received_bytes: int) -> Marks:
    """The marks of this moment.

    Args:
        connections: Those that there are; None for one that there is not.
        sent_bytes: What was sent beside what they know of.
        received_bytes: What was received, likewise.
    """
    there = [connection for connection in connections if connection is not None]
    return Marks(
        time.perf_counter_ns(),
        time.process_time(),
        sent_bytes + sum(connection.sent_bytes for connection in there),
        received_bytes + sum(connection.received_bytes for connection in there),
    )


def outcome_of(tally: Tally, begin: Marks, end: Marks, *, is_stopped: bool) -> Outcome:
    """What came of a run between two moments."""
    return Outcome(
        tally,
        (end.clock - begin.clock) / 1e9,
        end.cpu_seconds - begin.cpu_seconds,
        end.sent_bytes - begin.sent_bytes,
        end.received_bytes - begin.received_bytes,
        is_stopped,
    )
