"""Where a server listens, and which of its APIs is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from hotserve.errors import InvalidArgument

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_UNIX: Final = "unix:"
_EXPECTED: Final = (
    "Expected http://HOST:PORT or https://HOST:PORT for REST; HOST:PORT, grpc://HOST:PORT, grpcs://HOST:PORT or"
    " unix:/PATH for gRPC."
)


class Wire(Enum):
    """Which API."""

    REST = "REST"
    GRPC = "gRPC"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to.

    Attributes:
        text: As the user gave it.
        wire: Which API.
        is_secure: Whether it is TLS.
        host: Its name or address; empty for a Unix socket.
        port: Its port; 0 for a Unix socket.
        socket_path: The path of a Unix socket; empty for all else.
        prefix: What stands before `/v1/models` in paths, without a slash at the end.
    """

    text: str
    wire: Wire
    is_secure: bool = False
    host: str = ""
    port: int = 0
    socket_path: str = ""
    prefix: str = ""

    @property
    def authority(self) -> str:
        """Host and port, as clients name them to the server."""
        if self.socket_path:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


_KINDS: Final = {
    "http": (Wire.REST, False, 80),
    "https": (Wire.REST, True, 443),
    "grpc": (Wire.GRPC, False, None),
    "grpcs": (Wire.GRPC, True, None),
}


def read_target(text: str) -> Target:
    """Reads what the user gave.

    Args:
        text: `http://localhost:8501`, `localhost:8500`, `grpcs://[::1]:8500`, `unix:/run/serving.sock`.

    Raises:
        InvalidArgument: It is none of these.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path:
            raise InvalidArgument(f"{text} names no socket. {_EXPECTED}")
        return Target(text, Wire.GRPC, socket_path=path)
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else "grpc"
    if scheme not in _KINDS:
        raise InvalidArgument(f"{text} has the scheme {scheme}. {_EXPECTED}")
    wire, is_secure, usual_port = _KINDS[scheme]
    try:
        parts = urlsplit(text if match else f"grpc://{text}")
        host, port = parts.hostname, parts.port or usual_port
    except ValueError as error:  # a port that is no number, a bracket without its other half
        raise InvalidArgument(f"{text} cannot be read: {error}. {_EXPECTED}") from error
    if not host or port is None:
        raise InvalidArgument(f"{text} has no {'port' if host else 'host'}. {_EXPECTED}")
    prefix = parts.path.rstrip("/")
    if parts.query or parts.fragment or parts.username is not None or (prefix and wire is Wire.GRPC):
        raise InvalidArgument(f"{text} says more than where the server is. {_EXPECTED}")
    if "/v1/models" in prefix:
        raise InvalidArgument(f"{text} names a model. Give the server alone, and the model with --model. {_EXPECTED}")
    return Target(text, wire, is_secure, host, port, prefix=prefix)
