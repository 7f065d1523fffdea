"""`hotserve serve`: serves the models that the flags name until a signal comes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from hotserve.config.flags import WITHOUT_EFFECT, parse_flags
from hotserve.config.options import ServerOptions
from hotserve.observability.logs import configure_logging
from hotserve.open_files import raise_limit
from hotserve.server.long_lived import keep_for_good
from hotserve.server.loop import runner
from hotserve.server.server import Server

logger = logging.getLogger(__name__)

_THREAD_END_SECONDS = 1.0
"""How long threads that have nothing left to do may take to end."""


def serve(arguments: Sequence[str], defaults: ServerOptions | None = None, *, pass_over_unknown: bool = False) -> int:
    """The command.

    Args:
        arguments: The flags.
        defaults: The options where no flag says otherwise.
        pass_over_unknown: What is no flag is named in the log and passed over, and not refused.

    Returns:
        The exit code.

    Raises:
        ConfigError: The flags, a config file or a port are wrong.
    """
    command_line = parse_flags(arguments, defaults, pass_over_unknown=pass_over_unknown)
    configure_logging()
    for reason in command_line.passed_over:
        logger.warning("Passed over, as TensorFlow Serving does (hotserve serve refuses it): %s", reason)
    for flag in command_line.without_effect:
        logger.warning("--%s has no effect here: %s", flag, WITHOUT_EFFECT[flag].why)
    return run_until_signal(Server(command_line.options))


def run_until_signal(server: Server, on_ready: Callable[[], None] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, then stops in order; a second signal ends the process at once.

    Args:
        server: What serves.
        on_ready: Called once clients can connect.

    Returns:
        0 after an orderly stop.
    """

    async def serve_with_signals() -> None:
        loop = asyncio.get_running_loop()
        received: list[int] = []

        def stop(number: int) -> None:
            if received:
                # Whoever signals twice does not want to wait: no clean-up, and the exit code that shells expect.
                os._exit(128 + number)
            received.append(number)
            logger.info("Received %s; a second signal ends the server at once", signal.Signals(number).name)
            server.request_stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        keep_for_good()
        await server.serve(on_ready or (lambda: None))

    raise_limit()
    with runner() as running:
        running.run(serve_with_signals())
    _leave_stuck_threads()
    return 0


def _leave_stuck_threads() -> None:
    """Ends the process if a load or a run goes on that nothing can interrupt; Python would wait for its thread."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    deadline = time.monotonic() + _THREAD_END_SECONDS
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    stuck = [thread.name for thread in others if thread.is_alive()]
    if stuck:
        logger.warning("Leaving behind what still runs: %s", ", ".join(stuck))
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
