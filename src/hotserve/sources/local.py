"""The local file system, and whatever is mounted into it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hotserve.sources.storage import FileStamp, Snapshot


class LocalStorage:
    """A `Storage` on ordinary paths; follows symbolic links."""

    def children(self, path: Path) -> Sequence[str]:
        return os.listdir(path)

    def snapshot(self, path: Path) -> Snapshot:
        if not path.is_dir():
            return {"": _stamp(os.stat(path))}
        return dict(_walk(path, ""))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, FileStamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            try:
                if entry.is_dir():
                    yield from _walk(Path(entry.path), name + "/")
                else:
                    yield name, _stamp(entry.stat())
            except FileNotFoundError:
                # Renamed or removed while we look, as rsync does with its temporary files: the next look tells.
                continue


def _stamp(stat: os.stat_result) -> FileStamp:
    return FileStamp(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
