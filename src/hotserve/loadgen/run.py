"""One run: connections that are opened, and then send requests at a pace, in compiled code where there is some."""

from __future__ import annotations

import gc
import time

from hotserve.errors import InvalidArgument, Unavailable
from hotserve.loadgen.compiled_loop import IS_COMPILED
from hotserve.loadgen.compiled_run import CompiledRun
from hotserve.loadgen.connection import Connection, ConnectionLost
from hotserve.loadgen.pace import Pace
from hotserve.loadgen.plain_run import PlainRun
from hotserve.loadgen.poller import Poller
from hotserve.loadgen.work import SWEEP, Hooks, Outcome, Work


class Run:
    """Connections that send requests at a pace. A run is used once."""

    def __init__(self, work: Work, connections: int, hooks: Hooks | None = None, streams: int = 1) -> None:
        """Begins nothing yet.

        Args:
            work: What is sent to whom.
            connections: How many there are.
            hooks: Who is asked and told meanwhile.
            streams: How many calls of gRPC may be under way on each connection, as far as the server lets them.
        """
        self._work = work
        self._hooks = hooks or Hooks()
        self._count = connections
        self._streams = streams
        self._poller = Poller()
        self._connections: dict[int, Connection] = {}
        self._run: CompiledRun | PlainRun | None = None

    def open(self) -> None:
        """Opens all connections.

        Raises:
            Unavailable: One of them cannot be opened.
            InvalidArgument: Several calls are to be under way on a connection, where that cannot be.
        """
        # Now, because none follows while the run goes on.
        gc.collect()
        try:
            self._open()
        except ConnectionLost as error:
            self.close()
            opened = sum(connection.is_ready for connection in self._connections.values())
            raise Unavailable(f"connection {opened + 1} of {self._count}: {error}") from error
        try:
            self._run = self._make_run()
        except InvalidArgument:
            self.close()
            raise

    def go(self, pace: Pace) -> Outcome:
        """Sends requests until the pace has no more of them and all have ended; closes the connections.

        Args:
            pace: When they begin, on the clock of `time.perf_counter_ns`.

        Raises:
            RuntimeError: The connections have not been opened.
        """
        if self._run is None:
            raise RuntimeError("go() before open()")
        was_enabled = gc.isenabled()
        # A collection would stop everything for milliseconds, which latencies would show.
        gc.disable()
        try:
            return self._run.go(pace)
        finally:
            if was_enabled:
                gc.enable()
            self.close()

    def close(self) -> None:
        """Hangs up."""
        if self._run is not None:
            self._run.close()
        for connection in self._connections.values():
            connection.close()
        self._poller.close()

    def _open(self) -> None:
        for _ in range(self._count):
            connection = self._work.connect()
            self._connections[connection.fileno()] = connection
            self._poller.add(connection.fileno(), writing=True)
        waiting = dict(self._connections)
        until = time.perf_counter() + self._work.timeout_seconds
        while waiting:
            for file, _ in self._poller.wait(SWEEP):
                connection = self._connections[file]
                connection.advance()
                self._poller.change(file, writing=connection.is_writing)
                if connection.is_ready and not connection.is_writing:
                    waiting.pop(file, None)
            if time.perf_counter() > until and waiting:
                raise ConnectionLost(f"no connection within {self._work.timeout_seconds:g} s")

    def _make_run(self) -> CompiledRun | PlainRun:
        connections = list(self._connections.values())
        parts = connections[0].repeated(self._work.requests) if IS_COMPILED else None
        if parts is not None:
            return CompiledRun(self._work, connections, self._poller, self._hooks, parts, self._streams)
        if self._streams > 1:
            raise InvalidArgument(
                f"{self._streams} calls at once on a connection are for the compiled loop. Expected 1 where there is"
                " none, with TLS, and for requests that differ in more than their messages."
            )
        return PlainRun(self._work, connections, self._poller, self._hooks)
