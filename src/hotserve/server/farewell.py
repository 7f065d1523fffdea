"""The end of the wires: whoever is connected is told to go, and everything that has come is answered."""

from __future__ import annotations

import asyncio
import logging

from hotserve.api.health_service import HealthService
from hotserve.handlers.health import Health
from hotserve.server.front import Front

logger = logging.getLogger(__name__)

_FAREWELL_SECONDS = 0.2
"""How long busy HTTP/1.1 clients get to hear `Connection: close`, before idle connections are closed under them.

Without it a client that sends its next request just then loses it: 16 busy connections lost 16 requests at each stop,
and none with it.
"""


async def drain(front: Front, health: Health, health_service: HealthService, timeout_seconds: float) -> None:
    """Is no longer ready, takes no more connections, and answers what has come.

    Args:
        front: The wires.
        health: Is told.
        health_service: Tells its watchers.
        timeout_seconds: How long requests in flight may take.
    """
    logger.info("Stopping: requests in flight may take up to %g s", timeout_seconds)
    health.stopping = True
    health_service.notify()
    front.announce_end()
    await asyncio.sleep(_FAREWELL_SECONDS)
    await front.close(timeout_seconds)
