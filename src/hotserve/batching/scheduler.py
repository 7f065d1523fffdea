"""Engine threads: where servables run.

Threads: one pool, owned by `EngineThreads`, ended by `close`. The event loop hands a run over and gets its result
back; a run holds a lease of its own, released when the run has ended, so that a request that gives up (its deadline
has passed, its client has gone) does not let the version be unloaded under a run that goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from hotserve.core.handle import Lease
from hotserve.errors import DeadlineExceeded, Unavailable
from hotserve.processors import usable_cpus
from hotserve.tensors import Array


class EngineThreads:
    """Runs servables off the event loop, as many at once as there are processors."""

    def __init__(self, threads: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads or usable_cpus(), thread_name_prefix="hotserve-engine")

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
        hold = lease.share()
        try:
            future = self._pool.submit(hold.servable.run, signature_name, inputs, outputs)
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

    def close(self) -> None:
        """Drops what is queued and ends the threads once what runs has ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
