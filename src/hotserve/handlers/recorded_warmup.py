"""Warm-up with recorded requests: those in `assets.extra/tf_serving_warmup_requests` of a version run before it serves.

The file holds `PredictionLog` records in TFRecord framing, which is also the form of request logs. Only the requests
count; the responses beside them are not looked at.

Source: tensorflow_serving/servables/tensorflow/saved_model_warmup.cc and saved_model_warmup_util.cc.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from hotserve.codecs.tfrecord import CorruptRecord, read_records
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.ids import ServableId
from hotserve.core.servable import Servable
from hotserve.errors import Code, InvalidArgument, ServingError
from hotserve.handlers.recorded_request import RecordedRequests
from hotserve.observability.metrics import Metrics
from hotserve.protos.messages import PredictionLog

logger = logging.getLogger(__name__)

WARMUP_FILE: Final = Path("assets.extra", "tf_serving_warmup_requests")
"""Where the recorded requests are, within a version folder."""

MAX_RECORDS: Final = 1000
"""A file with more records than that fails the load, as in the original: it is more often a log than a warm-up."""

_SHOWN_BYTES: Final = 80


class RecordedWarmUp:
    """Runs a version's recorded requests, or warms it up in another way where it has none."""

    def __init__(
        self,
        requests: RecordedRequests,
        metrics: Metrics,
        *,
        iterations: int,
        otherwise: Callable[[Servable, Path], None],
    ) -> None:
        """Makes a warm-up.

        Args:
            requests: What runs them.
            metrics: Where it is counted.
            iterations: How often each record runs; once where it is less than 1.
            otherwise: Warms up a version that has no such file.
        """
        self._requests = requests
        self._metrics = metrics
        self._iterations = max(1, iterations)
        self._otherwise = otherwise

    def __call__(self, servable: Servable, path: Path) -> None:
        """Warms up a version; blocks, on a load thread.

        Args:
            servable: What was loaded.
            path: The version folder.

        Raises:
            ServingError: The file is broken, holds what cannot be run, or more than `MAX_RECORDS`; or a request of it
                fails. Each of these fails the load.
        """
        file = path / WARMUP_FILE
        if not file.exists():
            logger.info("No warmup data file found at %s", file)
            self._otherwise(servable, path)
            return
        start = time.perf_counter()
        status = Code.INTERNAL.name  # what it stays if anything but a ServingError gets through
        reader = _Records(file)
        try:
            with _lease(servable, path) as lease:
                # A loop of its own, on this load thread: what runs requests is written for the event loop.
                asyncio.run(self._run_all(lease, reader))
            status = Code.OK.name
        except ServingError as error:
            status = str(error)
            raise
        finally:
            elapsed = 1e6 * (time.perf_counter() - start)
            self._metrics.count_warmup(str(path), status, reader.count, elapsed)
            logger.info(
                "Finished reading warmup data for model at %s. Number of warmup records read: %d. Elapsed time"
                " (microseconds): %.0f.",
                path,
                reader.count,
                elapsed,
            )

    async def _run_all(self, lease: Lease, records: _Records) -> None:
        for record in records:
            try:
                for _ in range(self._iterations):
                    await self._requests.run(lease, record)
            except ServingError as error:
                place = f"(warm-up record {records.count} of {records.file})"
                raise ServingError(f"{error.message} {place}", error.code) from error


class _Records:
    """The records of a warm-up file.

    Attributes:
        file: The file.
        count: How many have been read so far.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.count = 0

    def __iter__(self) -> Iterator[PredictionLog]:
        try:
            with self.file.open("rb") as opened:
                for payload in read_records(opened):
                    if self.count == MAX_RECORDS:
                        raise InvalidArgument(
                            f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {self.file}. Keep the"
                            " first of them, or those that are typical."
                        )
                    self.count += 1
                    yield self._parse(payload)
        except CorruptRecord as error:
            raise ServingError(
                f"{error.message}. Please verify your warmup data is in TFRecord format. The file is {self.file}.",
                Code.DATA_LOSS,
            ) from error
        except OSError as error:
            raise InvalidArgument(f"{self.file} cannot be read: {error.strerror}. Expected a TFRecord file.") from error

    def _parse(self, payload: bytes) -> PredictionLog:
        try:
            return PredictionLog.FromString(payload)
        except DecodeError as error:
            shown = ascii(payload[:_SHOWN_BYTES])[2:-1] + "..." * (len(payload) > _SHOWN_BYTES)
            raise InvalidArgument(
                f"Failed to parse warmup record: {shown} from {self.file}. Expected a tensorflow.serving.PredictionLog"
                f" message in each record; these are the {len(payload)} bytes of record {self.count}."
            ) from error


def _lease(servable: Servable, path: Path) -> Lease:
    """A lease on a version that no manager knows yet: what handles requests asks for one."""
    version = int(path.name) if path.name.isdecimal() else 0
    lease = VersionHandle(ServableId(path.parent.name, version), servable, lambda _: None).acquire()
    assert lease is not None  # only a version that has been withdrawn gives none
    return lease
