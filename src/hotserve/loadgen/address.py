"""The addresses that a target stands for, and how connections to them are made."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotserve.errors import InvalidArgument, Unavailable
from hotserve.loadgen.target import Target, Wire


@dataclass(frozen=True, slots=True)
class Address:
    """Where a socket connects to.

    Attributes:
        family: `AF_INET`, `AF_INET6` or `AF_UNIX`.
        where: As sockets of that family take it.
    """

    family: int
    where: Any


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """How a client shows who it is, and whom it believes.

    Attributes:
        ca: PEM file of the authorities that are believed; None for those of the system.
        certificate: PEM file of the client's own certificate, with its key if `key` is None; None for none.
        key: PEM file of its key.
        is_any_accepted: Whether any certificate of the server's is accepted.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    is_any_accepted: bool = False


def resolve(target: Target, look_up: Callable[..., Any] = socket.getaddrinfo) -> Sequence[Address]:
    """Looks up the addresses of a target, in the order in which they should be tried.

    Raises:
        Unavailable: The name is not known.
    """
    if target.socket_path:
        return [Address(socket.AF_UNIX, target.socket_path)]
    try:
        found = look_up(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unavailable(
            f"{target.text}: the name {target.host} has no address: {reason}. Look at its spelling, or give an address."
        ) from error
    return [Address(family, where) for family, _, _, _, where in found]


def tls_context(target: Target, files: TlsFiles) -> ssl.SSLContext | None:
    """How TLS is spoken with a target; None for not at all.

    Raises:
        InvalidArgument: A file cannot be read, or is none of its kind.
    """
    if not target.is_secure:
        return None
    try:
        context = ssl.create_default_context(cafile=str(files.ca) if files.ca is not None else None)
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
    except OSError as error:
        names = ", ".join(str(file) for file in (files.ca, files.certificate, files.key) if file is not None)
        raise InvalidArgument(
            f"{names}: {error.strerror or error}. Expected PEM files of certificates and keys."
        ) from error
    if files.is_any_accepted:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"] if target.wire is Wire.GRPC else ["http/1.1"])
    return context
