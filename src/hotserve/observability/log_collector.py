"""Log collectors: what becomes of the records of a request log. The original has the notion, and none to choose from.

Source of the notion: tensorflow_serving/core/log_collector.h.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hotserve.codecs.prediction_log import JSON_LINES_SUFFIX
from hotserve.codecs.prediction_log_json import json_line
from hotserve.codecs.tfrecord import frame

MAX_FILE_BYTES = 1 << 28
"""From this size on, records go into a new file."""


@dataclass(frozen=True, slots=True)
class CollectorType:
    """A way to write records.

    Attributes:
        suffix: How the names of its files end.
        encode: A serialized PredictionLog -> what is appended to the file.
    """

    suffix: str
    encode: Callable[[bytes], bytes]


COLLECTOR_TYPES: Mapping[str, CollectorType] = MappingProxyType(
    {
        "tfrecord": CollectorType(".tfrecord", frame),
        "jsonl": CollectorType(JSON_LINES_SUFFIX, json_line),
    }
)
"""What `log_collector_config.type` may be."""


class FileCollector:
    """Appends records to files `PREFIX-TIME-NUMBER.SUFFIX`, one after the other; used by one thread.

    Each record is written by one call to the system, with nothing kept back: what has been written survives a crash of
    the process, and there is nothing to flush. A file that somebody deletes is followed by a new one.
    """

    def __init__(
        self,
        kind: CollectorType,
        prefix: Path,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Makes a collector; the first record makes the first file.

        Args:
            kind: How records are written.
            prefix: The folder, which exists, and how the names of the files begin.
            max_file_bytes: From this size on, records go into a new file.
            clock: Seconds since the epoch.
        """
        self._kind = kind
        self._prefix = prefix
        self._max_file_bytes = max_file_bytes
        self._clock = clock
        self._numbers = itertools.count()
        self._descriptor = -1
        self._size = 0

    def collect(self, record: bytes) -> None:
        """Appends a record, whole or not at all.

        Args:
            record: A serialized PredictionLog.

        Raises:
            OSError: The system refuses it: the disk is full, the folder is gone.
        """
        data = self._kind.encode(record)
        if self._size >= self._max_file_bytes or self._is_lost():
            self.close()
        if self._descriptor < 0:
            self._open_next()
        try:
            _write_whole(self._descriptor, data)
        except OSError:
            self._cut_back()
            raise
        self._size += len(data)

    def close(self) -> None:
        """Closes the file; a further record makes a new one."""
        descriptor, self._descriptor, self._size = self._descriptor, -1, 0
        if descriptor >= 0:
            os.close(descriptor)

    def _open_next(self) -> None:
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        for number in self._numbers:
            name = f"{self._prefix.name}-{moment}-{number:05d}{self._kind.suffix}"
            # Never onto a file that is there: another server may write to the same folder.
            with contextlib.suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
                self._descriptor = os.open(self._prefix.with_name(name), flags, 0o666)
                return

    def _is_lost(self) -> bool:
        return self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink == 0

    def _cut_back(self) -> None:
        """Takes away what was written of a record: what follows it could not be read otherwise."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            with contextlib.suppress(OSError):  # what matters is that no further record follows this one
                self.close()


def _write_whole(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
