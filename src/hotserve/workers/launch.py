"""Starts worker processes: a new Python for each, and never a fork, which would take locks of other threads with it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from hotserve.child_python import module_command, module_environment
from hotserve.processors import CPUS_VARIABLE
from hotserve.workers.channel import Channel

WORKER_MODULE = "hotserve.server.worker"
"""The program that a worker runs: `python -m WORKER_MODULE CHANNEL [FLAG=SOCKET ...]`, numbers of open files."""


LEFT_TO_SUPERVISOR = (signal.SIGINT, signal.SIGTERM)
"""Signals that a worker ignores: they come to all processes of a terminal or a service at once. It begins with them
blocked, so that none comes before it has said so."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """How workers are started.

    Attributes:
        sockets: Flag -> the socket that all workers share for it, bound and listening.
    """

    sockets: Mapping[str, socket.socket]

    async def launch(self, channel: Channel, cpus: int) -> subprocess.Popen[bytes]:
        """Starts a process and connects the channel to it.

        Args:
            channel: Our end of the connection.
            cpus: How many processors it may count on.

        Raises:
            OSError: The system does not start another process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            shared = [f"{flag}={bound.fileno()}" for flag, bound in self.sockets.items()]
            files = [theirs.fileno(), *(bound.fileno() for bound in self.sockets.values())]
            before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_SUPERVISOR)
            try:
                # In the thread of the event loop, which lives as long as the server: the worker asks the system to end
                # it with the thread that has started it.
                process = subprocess.Popen(  # noqa: ASYNC220 - takes a few milliseconds, of a loop that serves nobody
                    module_command(WORKER_MODULE, str(theirs.fileno()), *shared),
                    stdin=subprocess.DEVNULL,
                    pass_fds=files,
                    env={**module_environment(), CPUS_VARIABLE: str(cpus)},
                )
            except OSError:
                ours.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        ours.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: channel, sock=ours)
        return process


def describe_end(code: int) -> str:
    """How a process has ended, in words."""
    if code >= 0:
        return f"ended with the exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
