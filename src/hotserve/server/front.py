"""The front of a server: its wires, on the sockets of its endpoints.

HTTP/1.1 carries REST, HTTP/2 carries gRPC. Both answer on each port: what a client speaks shows in its first bytes, or,
with TLS, in what it has agreed on. Where the ports are secured differently, each answers the API that it is for, and no
other: what one of them guards must not be had at the other.

Tasks and threads: none of its own; `asyncio` accepts connections, and the wires make a task for a request that has to
wait. All of it ends with `close`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from hotserve.api.calls_only import CallsOnly
from hotserve.api.grpc_services import GrpcServices
from hotserve.api.rest import RestApi
from hotserve.config.private_files import private_files
from hotserve.config.tls_config import TlsConfig
from hotserve.server.endpoints import Api, Endpoint, answer_both_apis
from hotserve.server.listen import BACKLOG
from hotserve.wires.grpc_http2 import GrpcLimits, GrpcWire
from hotserve.wires.http1 import Http1Wire

_CERTIFICATE, _KEY = "cert.pem", "key.pem"
_HTTP1, _HTTP2 = "http/1.1", "h2"
"""Source: the registry of TLS ALPN protocol ids, RFC 7301 and RFC 9113."""


class Front:
    """The wires of one run of a server."""

    def __init__(
        self,
        rest: RestApi,
        grpc: GrpcServices,
        endpoints: Sequence[Endpoint],
        limits: GrpcLimits,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Answers nobody yet.

        Args:
            rest: Answers REST. Its `codec_threads` end with the front.
            grpc: Answers gRPC.
            endpoints: The sockets, bound.
            limits: What clients of gRPC may do; its `max_message_bytes` is for REST, too.
            loop: The running loop.
        """
        self._loop = loop
        self._endpoints = endpoints
        self._servers: list[asyncio.Server] = []
        largest = limits.max_message_bytes
        self._codec_threads = threads = rest.codec_threads
        self._http2 = GrpcWire(grpc, limits, loop, threads)
        if answer_both_apis(endpoints):
            both = Http1Wire(
                rest,
                loop,
                max_message_bytes=largest,
                http2_factory=self._http2.protocol,
                codec_threads=threads,
                road_of=rest.road,
            )
            self._http1 = {Api.REST: both, Api.GRPC: both}
        else:
            self._http1 = {
                Api.REST: Http1Wire(rest, loop, max_message_bytes=largest, codec_threads=threads, road_of=rest.road),
                Api.GRPC: Http1Wire(
                    CallsOnly(),
                    loop,
                    max_message_bytes=largest,
                    http2_factory=self._http2.protocol,
                    codec_threads=threads,
                ),
            }

    async def open(self) -> None:
        """Lets clients connect.

        Raises:
            ConfigError: Another program has begun to listen on a port since it was bound.
        """
        for endpoint in self._endpoints:
            endpoint.listen()
            wire = self._http1[endpoint.api]
            tls = _tls_context(endpoint.tls, takes_http2=wire.http2_factory is not None) if endpoint.tls else None
            server = await self._loop.create_server(wire, sock=endpoint.bound, backlog=BACKLOG, ssl=tls)
            self._servers.append(server)

    def announce_end(self) -> None:
        """Tells busy HTTP/1.1 clients, with their next answer, to send what follows elsewhere; idle ones stay."""
        for wire in set(self._http1.values()):
            wire.bid_farewell()

    async def close(self, timeout_seconds: float) -> None:
        """Takes no more connections, answers what has come, and ends.

        Args:
            timeout_seconds: How long requests in flight may take; what is left then is cut off.
        """
        for server in self._servers:
            server.close()
        for endpoint in self._endpoints:
            endpoint.close()
        wires: list[GrpcWire | Http1Wire] = [self._http2, *set(self._http1.values())]
        for wire in wires:
            wire.begin_drain()
        await asyncio.gather(*(wire.wait_idle(timeout_seconds) for wire in wires))
        for wire in wires:
            wire.abort()
        self._codec_threads.close()


def _tls_context(tls: TlsConfig, *, takes_http2: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # OpenSSL takes certificates and keys from files alone.
    with private_files({_CERTIFICATE: tls.certificate, _KEY: tls.private_key}) as files:
        context.load_cert_chain(files[_CERTIFICATE], files[_KEY])
    if tls.client_authorities:
        context.load_verify_locations(cadata=tls.client_authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([_HTTP2, _HTTP1] if takes_http2 else [_HTTP1])
    return context
