"""The server under load: connections to it, and single calls before the load begins."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from hotserve.errors import Unavailable
from hotserve.loadgen.address import Address, TlsFiles, resolve, tls_context
from hotserve.loadgen.connection import Connection, ConnectionLost
from hotserve.loadgen.exchange import Answer, Client, Request
from hotserve.loadgen.grpc_client import GrpcClient
from hotserve.loadgen.http1_client import Http1Client
from hotserve.loadgen.poller import Poller
from hotserve.loadgen.target import Target, Wire


@dataclass(frozen=True, slots=True)
class Access:
    """How to speak with a server. Can be handed to other processes.

    Attributes:
        target: Where it is.
        tls: Whom to believe.
        headers: What every request says, names in lower case: headers of HTTP, or metadata of gRPC.
        timeout_seconds: How long an answer, and the making of a connection, may take.
        sends_deadline: Whether gRPC calls tell the server that time.
        address: Where the target has been reached; None for the first address of its name.
    """

    target: Target
    tls: TlsFiles = field(default_factory=TlsFiles)
    headers: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float = 60.0
    sends_deadline: bool = False
    address: Address | None = None


class Server:
    """Makes connections.

    Attributes:
        access: How to speak with it; with the address, once a call has found out which one answers.
    """

    def __init__(self, access: Access) -> None:
        """Looks the name of the server up, and reads the files of TLS.

        Raises:
            Unavailable: The name has no address.
            InvalidArgument: A file cannot be read.
        """
        self.access = access
        self._context = tls_context(access.target, access.tls)
        self._addresses = resolve(access.target) if access.address is None else [access.address]

    def connect(self) -> Connection:
        """Begins a connection.

        Raises:
            ConnectionLost: It is refused at once.
        """
        return self._connect(self._addresses[0])

    def call(self, request: Request) -> Answer:
        """Makes one call, on a connection of its own.

        A name may have several addresses: the first one that takes the connection is the one for all that follow, also
        of whoever is handed `access`.

        Raises:
            Unavailable: The server cannot be reached, or does not answer.
        """
        reasons: list[str] = []
        for address in self._addresses:
            try:
                answer = self._call(address, request)
            except ConnectionLost as error:
                reasons.append(str(error))
                continue
            self._addresses = [address]
            self.access = replace(self.access, address=address)
            return answer
        target = self.access.target
        raise Unavailable(
            f"{target.text}: {'; '.join(dict.fromkeys(reasons))}. Expected a server whose {target.wire.value} API"
            f" {'with TLS ' if target.is_secure else ''}listens there."
        )

    def _call(self, address: Address, request: Request) -> Answer:
        until = time.monotonic() + self.access.timeout_seconds
        connection = self._connect(address)
        poller = Poller()
        poller.add(connection.fileno(), writing=True)
        is_sent = False
        answer: Answer | None = None
        try:
            while answer is None:
                left = until - time.monotonic()
                if left <= 0:
                    raise ConnectionLost(f"no answer within {self.access.timeout_seconds:g} s")
                if poller.wait(round(left * 1e9)):
                    answer = connection.advance()
                if connection.is_ready and not is_sent:
                    is_sent = True
                    connection.begin(request)
                poller.change(connection.fileno(), writing=connection.is_writing)
        finally:
            poller.close()
            connection.close()
        return answer

    def _connect(self, address: Address) -> Connection:
        target = self.access.target
        return Connection(self._client(), address, self._context, target.host)

    def _client(self) -> Client:
        access = self.access
        if access.target.wire is Wire.REST:
            return Http1Client(access.target.authority, access.headers)
        scheme = "https" if access.target.is_secure else "http"
        timeout = access.timeout_seconds if access.sends_deadline else 0.0
        return GrpcClient(access.target.authority, scheme, timeout, access.headers)
