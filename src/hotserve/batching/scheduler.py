"""Where servables run: on an engine thread, or, for the shortest runs, on the event loop itself.

A hand-over to a thread and back costs 70 to 300 us, several times what a small model takes to run. So a run that is
known to be short stays on the loop, where it holds up others for less than the hand-over would. What a run takes is
measured, each time, and told from the last ones and the size of the inputs; the first run of a signature always goes
to a thread.

Threads: one pool, owned by `EngineThreads`, ended by `close`. The event loop hands a run over and gets its result
back; a run holds a lease of its own, released when the run has ended, so that a request that gives up (its deadline
has passed, its client has gone) does not let the version be unloaded under a run that goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hotserve.core.handle import Lease
from hotserve.core.ids import ServableId
from hotserve.core.servable import Servable
from hotserve.errors import DeadlineExceeded, Unavailable
from hotserve.processors import usable_cpus
from hotserve.tensors import Array

INLINE_SECONDS = 0.0005
"""The longest run, as far as can be told before it, that stays on the event loop."""

_MAX_ESTIMATES = 10_000
"""How many signatures are remembered; one entry is small, but versions come and go for months."""


@dataclass(slots=True)
class _Estimate:
    """What a signature takes.

    Attributes:
        seconds: The time of a run, of late.
        input_bytes: The size of its inputs.
    """

    seconds: float
    input_bytes: int

    def of(self, input_bytes: int) -> float:
        """The time that a run with inputs of this size will take; larger inputs take longer in proportion."""
        return self.seconds * max(1.0, input_bytes / max(1, self.input_bytes))


class EngineThreads:
    """Runs servables, as many at once as there are processors, beside those that are short enough for the loop."""

    def __init__(self, threads: int | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        """Starts no thread yet.

        Args:
            threads: How many engine threads there may be; None for one per processor.
            clock: Seconds, to measure runs by.
        """
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads or usable_cpus(), thread_name_prefix="hotserve-engine")
        self._estimates: dict[tuple[ServableId, str], _Estimate] = {}

    async def run(
        self,
        lease: Lease,
        signature_name: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_seconds: float | None = None,
    ) -> dict[str, Array]:
        """Runs one signature of the leased servable; see `Servable.run`.

        Cancelling the caller drops a run that has not begun, and lets go of one that has.

        Args:
            lease: The version; stays the caller's.
            signature_name: Which signature.
            inputs: Input alias -> array.
            outputs: The output aliases that are wanted.
            timeout_seconds: How long the caller waits, queueing included; None for as long as it takes.

        Raises:
            DeadlineExceeded: The time is over.
            Unavailable: `close` has been called, or the system has no thread left.
            ServingError: What the servable raises.
        """
        key = (lease.id, signature_name)
        input_bytes = sum(array.nbytes for array in inputs.values())
        estimate = self._estimates.get(key)
        if estimate is not None and estimate.of(input_bytes) <= INLINE_SECONDS:
            return self._timed(key, input_bytes, lease.servable, signature_name, inputs, outputs)
        hold = lease.share()
        try:
            future = self._pool.submit(self._timed, key, input_bytes, hold.servable, signature_name, inputs, outputs)
        except RuntimeError as error:
            hold.release()
            raise Unavailable(f"No engine thread takes the request: {error}. Send it again, later.") from error
        future.add_done_callback(lambda _: hold.release())
        try:
            async with asyncio.timeout(timeout_seconds) as limit:
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not limit.expired():
                raise  # the servable's own
            raise DeadlineExceeded(
                f"Timed out waiting for notification: no answer within {timeout_seconds:g} s. The deadline comes from"
                " the client (gRPC) or from --rest_api_timeout_in_ms (REST)."
            ) from None

    def _timed(
        self,
        key: tuple[ServableId, str],
        input_bytes: int,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
    ) -> dict[str, Array]:
        start = self._clock()
        answer = servable.run(signature_name, inputs, outputs)
        self._learn(key, input_bytes, self._clock() - start)
        return answer

    def _learn(self, key: tuple[ServableId, str], input_bytes: int, seconds: float) -> None:
        """Takes a run into account. Faster than thought counts at once, slower by and by: threads wait for each other.

        Called from several threads; the worst that can come of it is that one run is not counted.
        """
        known = self._estimates.get(key)
        if known is not None:
            expected = known.of(input_bytes)
            if seconds > expected:
                seconds = expected + 0.2 * (seconds - expected)
        elif len(self._estimates) >= _MAX_ESTIMATES:
            self._estimates.clear()
        self._estimates[key] = _Estimate(seconds, input_bytes)

    def close(self) -> None:
        """Drops what is queued and ends the threads once what runs has ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
