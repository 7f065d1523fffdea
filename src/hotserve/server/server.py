"""The server as a Python object: what the command line does, embedded."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from hotserve.config.model_config import ModelConfig
from hotserve.config.options import ServerOptions
from hotserve.core.manager import Manager
from hotserve.server.assemble import (
    LoaderFactory,
    SourceFactory,
    assemble,
    configured_models,
    polled_folders,
)
from hotserve.server.lifespan import Lifespan
from hotserve.server.loop import runner

if TYPE_CHECKING:
    from hotserve.server.supervisor import Supervisor

_ONCE = "a Server serves once; make another one"


def _nothing() -> None:
    """What happens on readiness when nobody asks for more."""


class Server:
    """A model server; several may live in one process, each on ports of its own.

        with Server(ServerOptions(model_name="digits", model_base_path="models/digits")):
            ...

    In a program with an event loop of its own, await `serve` instead, and call `request_stop` to end it.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        models: Sequence[ModelConfig] | None = None,
        source: SourceFactory | None = None,
        loader: LoaderFactory | None = None,
    ) -> None:
        """Reads the configuration; nothing is started.

        Args:
            options: What the command line's flags say.
            models: What to serve, in place of what `options` name.
            source: Makes the source of versions, in place of polled folders.
            loader: Makes the loader of a model's versions, in place of the one that goes by a folder's content. With
                workers, a function of a module that they can import.

        Raises:
            ConfigError: The options name no model, a config file is wrong, or workers cannot have `loader`.
        """
        self.options = options
        configured = tuple(models) if models is not None else configured_models(options)
        if models is not None:
            options = replace(options, model_config_file="")  # Not what is served: nothing to look at again.
        make_source = source or polled_folders(options)
        self._lifespan: Lifespan | Supervisor
        if options.workers == 1:
            parts = assemble(options, configured, make_source, loader)
            self._manager, self._lifespan = parts.manager, Lifespan(options, parts)
        else:
            from hotserve.server.supervisor import Supervisor, check_workers

            check_workers(loader)
            self._lifespan = Supervisor(options, configured, make_source, loader)
            self._manager = self._lifespan.manager
        self._serves = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def manager(self) -> Manager:
        """The manager, to look at versions and, where there are no workers, to lease them."""
        return self._manager

    async def serve(self, on_ready: Callable[[], None] = _nothing) -> None:
        """Serves on the running loop until `request_stop`; a server serves once.

        Args:
            on_ready: Called once clients can connect.

        Raises:
            ConfigError: A port is in use, or the options contradict each other.
            RuntimeError: This server has served before.
        """
        if self._serves:
            raise RuntimeError(_ONCE)
        self._serves = True
        self._loop = asyncio.get_running_loop()
        await self._lifespan.run(on_ready)

    def request_stop(self) -> None:
        """Asks for the orderly stop, from any thread; does nothing if the server does not run."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: there is nothing left to stop
                self._loop.call_soon_threadsafe(self._lifespan.request_stop)

    def start(self) -> None:
        """Serves on a thread and a loop of its own; returns once clients can connect.

        Raises:
            ConfigError: As `serve`.
            RuntimeError: This server has been started before.
        """
        if self._thread is not None:
            raise RuntimeError(_ONCE)
        started = threading.Event()

        def run() -> None:
            try:
                with runner() as running:
                    running.run(self.serve(started.set))
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits in start() or stop()
                self._failure = error
            finally:
                started.set()

        self._thread = threading.Thread(target=run, name="hotserve-server", daemon=True)
        self._thread.start()
        started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """The orderly stop of a server that was begun with `start`; returns once it is done."""
        self.request_stop()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
