"""Unix sockets: bound before anything is loaded, as ports are; the file of a server that is gone is replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from hotserve.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a bound socket: its path, and which file that was."""

    path: Path
    device: int
    inode: int

    def remove(self) -> None:
        """Removes it, unless somebody else's file is there by now."""
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                self.path.unlink()


def bind_unix(path: Path, flag: str) -> tuple[socket.socket, SocketFile]:
    """A socket bound to a path, not listening yet.

    Args:
        path: Where; absolute, or relative to the working directory.
        flag: The name of the flag that the path came from, for the error.

    Raises:
        ConfigError: Somebody listens there, something that is no socket is there, or the path cannot be used.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_room(path, flag)
        bound.bind(str(path))
        bound.setblocking(False)
        found = os.lstat(path)
    except OSError as error:  # of a path that is too long, Python says so without an errno
        bound.close()
        raise ConfigError(
            f"--{flag}={path}: cannot listen there: {error.strerror or error}. Expected a path in a folder that exists"
            " and can be written to, of about 100 characters at most."
        ) from error
    except ConfigError:
        bound.close()
        raise
    return bound, SocketFile(path.absolute(), found.st_dev, found.st_ino)


def _make_room(path: Path, flag: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
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
        else:
            raise ConfigError(
                f"--{flag}={path}: a program listens there. Stop it, or choose another path with --{flag}."
            )
    path.unlink()  # left behind by a server that was killed
