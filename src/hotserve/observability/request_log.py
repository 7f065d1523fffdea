"""Request logging: samples of requests and their answers, written to files beside the requests' path.

Threads: one, `hotserve-request-log`, owned by `SampledRequestLog`, begun by `start`, ended by `close`. Only it makes
records and touches files. `offer` is called on the event loop and never waits: it puts references into a queue, or
drops the request and counts that, where the queue holds more than it may. No lock: of the two numbers that say how much
is queued, `_offered_bytes` is written by the event loop alone and `_taken_bytes` by the thread alone.

A stop lets the thread write what is queued, for as long as it is given time; the rest is dropped and counted.
"""

from __future__ import annotations

import errno
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Protocol

from hotserve.core.ids import ServableId
from hotserve.core.servable import Servable, saved_model_tags
from hotserve.errors import Code
from hotserve.observability.log_collector import COLLECTOR_TYPES, MAX_FILE_BYTES, FileCollector
from hotserve.observability.logged_call import LoggedCall
from hotserve.observability.metrics import Metrics
from hotserve.protos.messages import LogMetadata, ModelSpec, SamplingConfig

logger = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 1 << 26
"""How much memory requests that wait to be written may hold."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class RequestLogConfig:
    """How the requests of a model are logged.

    Attributes:
        type: A key of `COLLECTOR_TYPES`.
        prefix: The folder, which exists, and how the names of the files begin.
        sampling_rate: The share of requests that is logged, from 0 to 1.
    """

    type: str
    prefix: Path
    sampling_rate: float


class RequestLog(Protocol):
    """Where requests go that have been answered."""

    def logs(self, model: str) -> bool:
        """Whether requests for this model are logged; others need not be put together for `offer`."""
        ...

    def offer(self, id: ServableId, call: LoggedCall, servable: Servable | None = None) -> None:
        """Logs a request, or does not; never waits.

        Args:
            id: The version that answered.
            call: The request and its answer. Nothing of it is changed after this.
            servable: What answered; its tags go into the record.
        """
        ...

    def configure(self, models: Mapping[str, RequestLogConfig]) -> None:
        """Says anew which models are logged, and how; on any thread, one at a time.

        Args:
            models: Model name -> how its requests are logged. Those of the same type and prefix share their files.
        """
        ...

    def start(self) -> None:
        """Begins to write."""
        ...

    def close(self, timeout_seconds: float) -> None:
        """Writes what is queued, and ends; no request is offered from then on."""
        ...


class NoRequestLog:
    """Logs nothing."""

    def logs(self, model: str) -> bool:
        """Says no."""
        return False

    def offer(self, id: ServableId, call: LoggedCall, servable: Servable | None = None) -> None:
        """Does nothing."""

    def configure(self, models: Mapping[str, RequestLogConfig]) -> None:
        """Does nothing."""

    def start(self) -> None:
        """Does nothing."""

    def close(self, timeout_seconds: float) -> None:
        """Does nothing."""


NO_REQUEST_LOG: Final = NoRequestLog()


@dataclass(frozen=True, slots=True)
class _ModelLog:
    config: RequestLogConfig
    collector: FileCollector


@dataclass(frozen=True, slots=True)
class _Entry:
    id: ServableId
    call: LoggedCall
    seconds: float
    log: _ModelLog
    tags: tuple[str, ...]


class SampledRequestLog:
    """Logs a sample of the requests of the models that ask for it."""

    def __init__(
        self,
        models: Mapping[str, RequestLogConfig],
        metrics: Metrics,
        *,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        """Makes a log; `start` begins.

        Args:
            models: As for `configure`.
            metrics: Where it is counted.
            draw: Numbers from 0 to below 1, for the sampling.
            clock: Seconds since the epoch.
            max_queued_bytes: How much memory requests that wait to be written may hold.
            max_file_bytes: From this size on, records go into a new file.
        """
        self._metrics = metrics
        self._draw = draw
        self._clock = clock
        self._max_queued_bytes = max_queued_bytes
        self._max_file_bytes = max_file_bytes
        self._logs: Mapping[str, _ModelLog] = {}
        self._collectors: Mapping[tuple[str, Path], FileCollector] = {}
        # A collector in the queue is to be closed; None ends the thread.
        self._queue: SimpleQueue[_Entry | FileCollector | None] = SimpleQueue()
        self._offered_bytes = 0
        self._taken_bytes = 0
        self._out_of_time = threading.Event()
        self._failing: set[FileCollector] = set()
        self._thread = threading.Thread(target=self._write_all, name="hotserve-request-log", daemon=True)
        self.configure(models)

    def logs(self, model: str) -> bool:
        """See `RequestLog.logs`; on the event loop."""
        return model in self._logs

    def offer(self, id: ServableId, call: LoggedCall, servable: Servable | None = None) -> None:
        """See `RequestLog.offer`; on the event loop."""
        log = self._logs.get(id.name)
        if log is None or self._draw() >= log.config.sampling_rate:
            return
        size = call.size_bytes
        if self._offered_bytes - self._taken_bytes + size > self._max_queued_bytes:
            self._metrics.request_log_count.add(id.name, Code.UNAVAILABLE.name)
            self._metrics.request_log_dropped.add(id.name, "queue_full")
            return
        self._offered_bytes += size
        tags = saved_model_tags(servable) if servable is not None else ()
        self._queue.put(_Entry(id, call, self._clock(), log, tags))

    def configure(self, models: Mapping[str, RequestLogConfig]) -> None:
        """See `RequestLog.configure`; files that go on being written to stay open."""
        before = self._collectors
        self._collectors = {
            (config.type, config.prefix): before.get((config.type, config.prefix)) or self._collector(config)
            for config in models.values()
        }
        self._logs = {
            name: _ModelLog(config, self._collectors[config.type, config.prefix]) for name, config in models.items()
        }
        for key in before.keys() - self._collectors.keys():
            self._queue.put(before[key])

    def _collector(self, config: RequestLogConfig) -> FileCollector:
        kind = COLLECTOR_TYPES[config.type]
        return FileCollector(kind, config.prefix, max_file_bytes=self._max_file_bytes, clock=self._clock)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self, timeout_seconds: float) -> None:
        """Ends the thread once all is written, or the time is over."""
        if not self._thread.is_alive():
            return
        self._queue.put(None)
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self._out_of_time.set()
            logger.warning("The request log could not be written within %g s; the rest of it is lost", timeout_seconds)

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, FileCollector):
                item.close()
                continue
            self._taken_bytes += item.call.size_bytes
            if self._out_of_time.is_set():
                self._count_dropped(item, Code.ABORTED, "stop")
            else:
                self._write(item)
        for collector in self._collectors.values():
            collector.close()

    def _write(self, entry: _Entry) -> None:
        try:
            entry.log.collector.collect(entry.call.record(entry.id, _metadata(entry)))
        except OSError as error:
            code = Code.RESOURCE_EXHAUSTED if error.errno in _NO_ROOM else Code.INTERNAL
            self._count_dropped(entry, code, "write_failed")
            if entry.log.collector not in self._failing:
                prefix = entry.log.config.prefix
                logger.error("Requests are not logged at %s*: %s. They are answered as ever.", prefix, error.strerror)
            self._failing.add(entry.log.collector)
        except Exception:  # the edge: one request that cannot be recorded must not end the log
            self._count_dropped(entry, Code.INTERNAL, "no_record")
            logger.exception("A request to %s could not be recorded", entry.id)
        else:
            if entry.log.collector in self._failing:
                logger.info("Requests are logged again at %s*", entry.log.config.prefix)
                self._failing.remove(entry.log.collector)
            self._metrics.request_log_count.add(entry.id.name, Code.OK.name)

    def _count_dropped(self, entry: _Entry, code: Code, reason: str) -> None:
        self._metrics.request_log_count.add(entry.id.name, code.name)
        self._metrics.request_log_dropped.add(entry.id.name, reason)


def _metadata(entry: _Entry) -> LogMetadata:
    spec = ModelSpec(name=entry.id.name, signature_name=entry.call.signature_name)
    spec.version.value = entry.id.version
    sampling = SamplingConfig(sampling_rate=entry.log.config.sampling_rate)
    return LogMetadata(
        model_spec=spec,
        sampling_config=sampling,
        saved_model_tags=entry.tags,
        timestamp_secs=int(entry.seconds),
    )
