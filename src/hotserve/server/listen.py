"""Binds the ports before anything is loaded, so that a port in use is an error at once."""

from __future__ import annotations

import errno
import fcntl
import resource
import socket
from typing import Final

from hotserve.errors import ConfigError

BACKLOG = 2048

_ABOVE_CONNECTIONS: Final = 1 << 14
"""A number of a file that few servers have so many connections for; the system's table to there takes 128 KiB."""

_SPARE: Final = 8
"""So many numbers below the limit of open files are left for those that listen."""


def bind(host: str, port: int, flag: str, *, is_shared: bool = False) -> socket.socket:
    """A socket bound to a TCP port, not listening yet: nobody can connect before the server answers.

    Args:
        host: The address; empty for all of them, IPv6 and IPv4 in one socket where the system has both.
        port: The port; 0 lets the system choose.
        flag: The name of the flag that the port came from, for the error.
        is_shared: Other sockets of this user are bound to the port, too, and the system deals connections out.

    Raises:
        ConfigError: The port is in use, or the address is not of this machine.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--{flag}={port}: a port is a number from 0 to 65535.")
    try:
        if not host and socket.has_dualstack_ipv6():
            return _bound(socket.AF_INET6, ("::", port), dual_stack=True, is_shared=is_shared)
        family, _, _, _, address = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _bound(family, address, is_shared=is_shared)
    except socket.gaierror as error:
        raise ConfigError(f"--host={host}: no such address: {error.strerror}.") from error
    except OSError as error:
        raise ConfigError(_explain(error, host, port, flag)) from error


def listen(bound: socket.socket, flag: str) -> None:
    """Lets clients connect.

    Raises:
        ConfigError: Another program has begun to listen on the port since it was bound.
    """
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        host, port = bound.getsockname()[:2]
        raise ConfigError(_explain(error, host, port, flag)) from error


def _bound(family: int, address: object, *, dual_stack: bool = False, is_shared: bool = False) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if dual_stack:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)  # type: ignore[arg-type]  # whatever getaddrinfo gave
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return _closed_first(bound) if is_shared else bound


def _closed_first(bound: socket.socket) -> socket.socket:
    """The same socket under a number above those of most connections.

    Linux closes the files of a process that was killed from the highest number down (`task_work_run` takes the last
    first). A client that finds its connection cut off and comes back at once must not be queued for the dead process,
    which has its connection reset a second time, but go to a process that lives.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    number = _ABOVE_CONNECTIONS if limit == resource.RLIM_INFINITY else min(_ABOVE_CONNECTIONS, limit - _SPARE)
    with bound:
        raised = socket.socket(fileno=fcntl.fcntl(bound, fcntl.F_DUPFD_CLOEXEC, number))
    raised.setblocking(False)
    return raised


def _explain(error: OSError, host: str, port: int, flag: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use. Choose another with --{flag}, or stop the program that listens on it."
    if error.errno == errno.EACCES:
        return f"No permission to listen on port {port}. Choose one from 1024 on with --{flag}."
    return f"Cannot listen on {host or 'all addresses'}, port {port} (--{flag}): {error.strerror}."
