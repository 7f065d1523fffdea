"""Where the server is reached, one entry a socket; what can be wrong with one is found before the models load."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hotserve.config.options import ServerOptions
from hotserve.config.tls_config import TlsConfig, read_tls_config
from hotserve.errors import ConfigError
from hotserve.server.listen import BACKLOG, bind, listen
from hotserve.server.unix_socket import SocketFile, bind_unix


class Api(Enum):
    """What clients come to an endpoint for."""

    GRPC = "gRPC"
    REST = "REST"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One socket.

    Attributes:
        flag: The name of the flag that asked for it.
        api: What it is for.
        bound: The socket, bound.
        announcement: What the log says once it answers.
        tls: How it is secured; None for plain text.
        file: The file of a Unix socket.
    """

    flag: str
    api: Api
    bound: socket.socket
    announcement: str
    tls: TlsConfig | None = None
    file: SocketFile | None = None

    def listen(self) -> None:
        """Lets clients connect.

        Raises:
            ConfigError: Another program has begun to listen there since it was bound.
        """
        if self.file is None:
            listen(self.bound, self.flag)
        else:
            self.bound.listen(BACKLOG)
            self.file.take_place()

    def share(self) -> None:
        """Lets other processes of the same user bind the same port from now on.

        Bound first without that, the port is known to be free: it could not have been bound beside any listener.
        """
        if self.file is None:
            self.bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def close(self) -> None:
        """Takes no more connections; those that there are go on."""
        self.bound.close()
        if self.file is not None:
            self.file.remove()


def check_endpoints(options: ServerOptions) -> None:
    """Refuses what cannot be, before any file is read or any port is bound.

    Raises:
        ConfigError: There is nothing to listen on, or two of the options exclude each other.
    """
    if not (options.port or options.rest_api_port or options.grpc_socket_path):
        raise ConfigError(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set. Give --port or"
            " --rest_api_port a number other than 0, or --grpc_socket_path a path."
        )
    if options.port and options.port == options.rest_api_port:
        raise ConfigError(f"--port and --rest_api_port are both {options.port}. Give each a port of its own.")


def open_endpoints(
    options: ServerOptions, *, ports_are_shared: bool = False, unix: socket.socket | None = None
) -> tuple[Endpoint, ...]:
    """Binds what the options ask for.

    Args:
        options: What the server is told.
        ports_are_shared: Other processes of ours listen on the same ports; see `share`.
        unix: The Unix socket, where another process has bound it already.

    Raises:
        ConfigError: As `check_endpoints`, or a port or path is in use or cannot be used, or a TLS file is wrong.
    """
    check_endpoints(options)
    grpc_tls = _tls(options.ssl_config_file, "ssl_config_file")
    rest_tls = _tls(options.rest_ssl_config_file, "rest_ssl_config_file")
    # Word for word what TensorFlow Serving logs: scripts wait for these lines.
    with ExitStack() as opened:
        endpoints: list[Endpoint] = []
        if options.port:
            bound = opened.enter_context(bind(options.host, options.port, "port", is_shared=ports_are_shared))
            where = f"{options.host or '0.0.0.0'}:{options.port}"
            line = f"Running gRPC ModelServer at {where} ..."
            endpoints.append(Endpoint("port", Api.GRPC, bound, line, grpc_tls))
        if options.rest_api_port:
            bound = opened.enter_context(
                bind(options.host, options.rest_api_port, "rest_api_port", is_shared=ports_are_shared)
            )
            where = f"{options.host or 'localhost'}:{options.rest_api_port}"
            line = f"Exporting HTTP/REST API at:{where} ..."
            endpoints.append(Endpoint("rest_api_port", Api.REST, bound, line, rest_tls))
        if options.grpc_socket_path:
            path = Path(options.grpc_socket_path)
            bound, file = (unix, None) if unix is not None else bind_unix(path, "grpc_socket_path")
            line = f"Running gRPC ModelServer at UNIX socket {path} ..."
            endpoints.append(Endpoint("grpc_socket_path", Api.GRPC, bound, line, grpc_tls, file))
        opened.pop_all()
    return tuple(endpoints)


def answer_both_apis(endpoints: Sequence[Endpoint]) -> bool:
    """Whether each endpoint may answer both APIs.

    Where they are secured differently, what one of them guards must not be had at the other: there each answers the
    API that it is for, and no other.
    """
    return len({endpoint.tls for endpoint in endpoints}) <= 1


def _tls(path: str, flag: str) -> TlsConfig | None:
    return read_tls_config(Path(path), flag) if path else None
