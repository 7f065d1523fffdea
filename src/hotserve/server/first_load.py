"""The first load: what there is at the start is loaded before clients can connect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from hotserve.core.manager import Manager
from hotserve.server.assemble import SourceThread

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0
"""How often the log says that models are still loading."""

_LOOK_UP_SECONDS = 0.5
"""How long a thread waits for models at once: a stop does not wait for more than that."""

_QUIET_SECONDS = 5.0
"""How long the start waits for folders that are not known to be complete yet.

A model that was saved just before the server is started has to be seen twice before it is loaded; clients that wait
for the port should find it.
"""


async def load_models(source: SourceThread, manager: Manager, names: Sequence[str], stop: asyncio.Event) -> None:
    """Waits until the source has looked once, and what it has found is loaded or has failed.

    Args:
        source: Has been started.
        manager: Loads.
        names: The models.
        stop: Ends the wait, too.
    """
    stopping = asyncio.ensure_future(stop.wait())
    loading = asyncio.ensure_future(_until_settled(source, manager, names))
    try:
        await asyncio.wait((stopping, loading), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
    finally:
        stopping.cancel()
        loading.cancel()


async def _until_settled(source: SourceThread, manager: Manager, names: Sequence[str]) -> None:
    await wait_patiently(source.wait_first_look, lambda: f"Still looking for versions of {', '.join(names)}")
    clock = asyncio.get_running_loop().time
    quiet_from = clock() + _QUIET_SECONDS
    await wait_patiently(
        lambda seconds: manager.wait_settled(names, seconds, patient=clock() < quiet_from),
        lambda: (
            "Still loading; not available yet: " + ", ".join(name for name in names if not manager.is_available(name))
        ),
    )


async def wait_patiently(wait: Callable[[float], bool], say: Callable[[], str]) -> None:
    """Waits, on threads, until `wait` returns True, and says now and then what for."""
    slices = 0
    while not await asyncio.to_thread(wait, _LOOK_UP_SECONDS):
        slices += 1
        if slices % (_PATIENCE_SECONDS // _LOOK_UP_SECONDS) == 0:
            logger.info(say())
