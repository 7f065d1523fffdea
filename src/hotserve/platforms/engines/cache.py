"""Keeps what examinations have found, and the files that engines are restored from.

An entry is a folder, named by `fingerprint.key_of`, with `examination.json` and the files. It appears at once and
whole: it is made under another name and renamed. Processes that want the same entry take turns by a lock on a file
beside it, which the system releases when a process ends; whoever has waited finds the entry. What is being made is
locked as well: what nobody has locked was left behind by a process that was ended, and is removed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotserve.platforms.engines.engine import MAX_CACHE_BYTES
from hotserve.platforms.engines.examination import RESULT_FILE
from hotserve.platforms.engines.findings import Examination, examination_from_json

logger = logging.getLogger(__name__)

BESIDE_MODEL: Final = Path("assets.extra", "hotserve_engines")
"""Where `hotserve tune` leaves entries, within a version folder. TensorFlow Serving does not look there."""

_FAILURES_COUNT_SECONDS: Final = 24 * 3600.0
"""How long an examination that has failed is not tried again."""

_UNUSED_SECONDS: Final = 60 * 24 * 3600.0
"""Entries that nobody has asked for in so long are dropped."""

_LEFT_BEHIND_SECONDS: Final = 60.0
"""How old an entry is, at least, that nobody goes on making: one is locked a moment after its folder appears."""

_KEY: Final = re.compile(r"[0-9a-f]{32}")
"""The name of an entry."""

_OWN: Final = re.compile(rf"\.?{_KEY.pattern}(\..*)?")
"""The names of all that is put into a folder, but for `seen`: nothing else is ever removed, whatever folder it is."""

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept about one version.

    Attributes:
        folder: Where the files are.
        examination: What has been found out.
    """

    folder: Path
    examination: Examination


def default_folder() -> Path:
    """`hotserve` in the user's folder for caches: of `XDG_CACHE_HOME`, or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # No home, as in some containers.
        root = Path(tempfile.gettempdir())
    return root / "hotserve"


class EngineCache:
    """A folder of entries. Any process and any thread may use it."""

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_CACHE_BYTES) -> None:
        """Touches nothing yet.

        Args:
            folder: Where entries are kept; None for `default_folder`.
            max_bytes: How much the files of all entries may have together. Where they have more, those go that have
                not been used for longest; the newest stays, whatever it has.
        """
        self._folder = folder or default_folder()
        self._max_bytes = max_bytes

    @property
    def folder(self) -> Path:
        """Where entries are kept."""
        return self._folder

    @property
    def memory(self) -> Path:
        """Where fingerprints are remembered; see `fingerprint.content_of`."""
        return self._folder / "seen"

    def problem(self) -> str:
        """Why entries cannot be put here, in words for the user; empty where they can."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self._folder):
                return ""
        except OSError as error:
            return f"{self._folder} cannot be written ({error.strerror}; --engine_cache_dir names another folder)"

    def find(self, key: str, versions: Mapping[str, str], beside: Path | None = None) -> Entry | None:
        """Looks for what is known about a version.

        Args:
            key: Its key.
            versions: Engine -> version, of those that there are here. What was found of other versions is not known.
            beside: The version folder, where an entry may be, too.

        Returns:
            The entry; None where there is none, or none that tells of all of these engines as they are here.
        """
        folders = [self._folder / key] if beside is None else [beside / BESIDE_MODEL / key, self._folder / key]
        for folder in folders:
            try:
                examination = examination_from_json((folder / RESULT_FILE).read_text(encoding="utf-8"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                logger.warning("%s cannot be read and is made again: %s", folder / RESULT_FILE, error)
                continue
            if any(examination.versions.get(name) != version for name, version in versions.items()):
                continue
            if examination.failure and time.time() - examination.made > _FAILURES_COUNT_SECONDS:
                continue
            try:
                os.utime(folder)  # It is in use.
            except OSError:
                logger.debug("%s is read only", folder)
            return Entry(folder, examination)
        return None

    def put(self, key: str, make: Callable[[Path], Examination], beside: Path | None = None) -> Entry:
        """Makes an entry, in the place of one that there may be.

        Args:
            key: The version's key.
            make: Fills an empty folder with files, and returns what has been found out.
            beside: The version folder, for an entry there; None for one in the cache.

        Raises:
            OSError: It cannot be written.
        """
        root = self._folder if beside is None else beside / BESIDE_MODEL
        root.mkdir(parents=True, exist_ok=True, mode=0o700 if beside is None else 0o755)
        _remove_left_behind(root)
        with tempfile.TemporaryDirectory(prefix=f".{key}.", dir=root) as made, _locked(Path(made)):
            folder = Path(made) / "entry"
            folder.mkdir()
            examination = make(folder)
            (folder / RESULT_FILE).write_text(examination.to_json(), encoding="utf-8")
            target = root / key
            if target.exists():
                # What others have open of it stays theirs; they do not find it half deleted.
                target.rename(Path(made) / "replaced")
            folder.rename(target)
        if beside is None:
            self._drop_unused()
            self._drop_beyond_the_limit(target)
        return Entry(target, examination)

    def has(self, entry: Entry) -> bool:
        """Whether an entry is one of the cache's own, and not beside a model."""
        return entry.folder.parent == self._folder

    def drop(self, entry: Entry) -> None:
        """Removes an entry that has proved broken, if it is one of the cache's own."""
        if self.has(entry):
            shutil.rmtree(entry.folder, ignore_errors=True)

    @contextmanager
    def turn(self, key: str, given_up: Callable[[], bool]) -> Iterator[bool]:
        """Waits until nobody else makes the entry of a key, and keeps others from it for the time of the block.

        Args:
            key: The key.
            given_up: Asked now and then whether to stop waiting.

        Yields:
            Whether it is our turn; otherwise `given_up` said yes.

        Raises:
            OSError: The folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._folder / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not given_up():
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_POLL_SECONDS)
                    continue
                yield True
                return
            yield False
        finally:
            os.close(descriptor)

    def _drop_unused(self) -> None:
        """Drops entries, locks and remembered fingerprints that have not been used for long."""
        oldest = time.time() - _UNUSED_SECONDS
        remembered = self.memory.iterdir() if self.memory.is_dir() else ()
        for place in (*self._folder.iterdir(), *remembered):
            try:
                if _OWN.fullmatch(place.name) and place.stat().st_mtime < oldest:
                    shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink()
            except OSError as error:
                logger.debug("%s is left where it is: %s", place, error)

    def _drop_beyond_the_limit(self, newest: Path) -> None:
        """Drops the entries that have not been used for longest, until the others have no more bytes than they may."""
        entries = []
        for place in self._folder.iterdir():
            if place != newest and _KEY.fullmatch(place.name) and place.is_dir():
                try:
                    entries.append((place.stat().st_mtime, place, _bytes_of(place)))
                except OSError as error:
                    logger.debug("%s is gone: %s", place, error)
        left = self._max_bytes - _bytes_of(newest)
        for _, place, size in sorted(entries, reverse=True):
            left -= size
            if left < 0:
                logger.info(
                    "Dropped what is kept about engines in %s: there are more than %d bytes", place, self._max_bytes
                )
                shutil.rmtree(place, ignore_errors=True)


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Says for the time of a block that somebody is at work in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_left_behind(root: Path) -> None:
    """Removes entries that were being made by processes that are no more: they may be as large as the models."""
    latest = time.time() - _LEFT_BEHIND_SECONDS
    for made in root.glob(".*"):
        try:
            if not _OWN.fullmatch(made.name) or made.stat().st_mtime > latest:
                continue
            descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            logger.debug("%s is left where it is: %s", made, error)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(made, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
