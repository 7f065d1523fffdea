"""Unix sockets: bound before anything is loaded, as ports are; the file of a server that is gone is replaced.

Where another program listens, its file is replaced too, as gRPC's own servers do, but not before this server answers:
the file changes hands in one step (rename), so that a client finds one server or the other, and a restart on the same
path loses nobody.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from hotserve.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a bound socket.

    Attributes:
        path: Where clients look for it.
        bound_at: Where it has been bound; another path than that one where somebody listens there.
        device: The device of the file.
        inode: Its number there.
    """

    path: Path
    bound_at: Path
    device: int
    inode: int

    def take_place(self) -> None:
        """Moves it to where clients look for it, once it listens.

        Raises:
            ConfigError: The folder does not let it.
        """
        if self.bound_at == self.path:
            return
        logger.warning("Another program listened at UNIX socket %s; new connections come here now", self.path)
        try:
            self.bound_at.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot replace the socket there: {error.strerror}.") from error

    def remove(self) -> None:
        """Removes it, unless somebody else's file is there by now."""
        for path in {self.path, self.bound_at}:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(path)
                if (found.st_dev, found.st_ino) == (self.device, self.inode):
                    path.unlink()


def bind_unix(path: Path, flag: str) -> tuple[socket.socket, SocketFile]:
    """A socket bound to a path, not listening yet.

    Args:
        path: Where; absolute, or relative to the working directory.
        flag: The name of the flag that the path came from, for the error.

    Raises:
        ConfigError: Something that is no socket is there, or the path cannot be used.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound_at = path.with_name(f"{path.name}.{os.getpid()}") if _is_taken(path, flag) else path
        bound_at.unlink(missing_ok=True)  # left behind by a server that was killed
        bound.bind(str(bound_at))
        bound.setblocking(False)
        found = os.lstat(bound_at)
    except OSError as error:  # of a path that is too long, Python says so without an errno
        bound.close()
        raise ConfigError(
            f"--{flag}={path}: cannot listen there: {error.strerror or error}. Expected a path in a folder that exists"
            " and can be written to, of about 100 characters at most."
        ) from error
    except ConfigError:
        bound.close()
        raise
    return bound, SocketFile(path.absolute(), bound_at.absolute(), found.st_dev, found.st_ino)


def _is_taken(path: Path, flag: str) -> bool:
    """Whether a program listens there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"--{flag}={path}: something that is no socket is there. Move it away, or choose another path."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                raise
            return False
    return True
