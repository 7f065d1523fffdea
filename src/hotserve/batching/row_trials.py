"""Tries, on a thread, whether requests of shapes that are not declared may share runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial

from hotserve.batching.lane import Lane
from hotserve.batching.row_check import are_independent
from hotserve.core.handle import Lease
from hotserve.tensors import TensorSpec

logger = logging.getLogger(__name__)


def begin_trials(lane: Lane, lease: Lease, threads: Executor, loop: asyncio.AbstractEventLoop | None) -> None:
    """Has a thread find out what a lane wants to know, which is told on the loop.

    Args:
        lane: Its `to_try` is emptied; until it is told, such requests go on running alone.
        lease: The version; stays the caller's, and is not needed for longer than this call.
        threads: What runs servables.
        loop: The loop of the lane.
    """
    to_try, lane.to_try = lane.to_try, {}
    for key, rows in to_try.items():
        hold = lease.share()
        try:
            threads.submit(_try, loop, lane, key, rows, hold)
        except RuntimeError:  # the pool is closed, or the system has no thread left: they go on running alone
            hold.release()


def _try(
    loop: asyncio.AbstractEventLoop | None,
    lane: Lane,
    key: Hashable,
    rows: Mapping[str, TensorSpec],
    hold: Lease,
) -> None:
    try:
        found = are_independent(hold.servable, lane.signature_name, lane.outputs, rows)
    except Exception:
        logger.exception("Whether rows of another shape are independent cannot be tried for %s", lane.id)
        return
    finally:
        hold.release()
    assert loop is not None  # who has asked for this has come on one
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(partial(lane.learn_rows, key, are_independent=found))
