"""A gRPC server whose one method costs nothing, on the wire that is named: what is left is what the wire costs.

    python benchmarks/peers/echo_grpc.py --wire=own --rest_port=8501 --grpc_port=8500

The method answers with the message that it gets. `GET /readyz` on the other port answers once the server does.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import MappingProxyType
from typing import Any, cast

import grpc.aio
import h2corn
import uvloop

from hotserve.api.asgi import AsgiApp
from hotserve.api.exchange import GrpcRequest
from hotserve.api.gathered import Road
from hotserve.api.grpc_services import GrpcServices
from hotserve.api.rest import RestApi
from hotserve.wires.grpc_http2 import GrpcLimits, GrpcWire

PATH = "/benchmark.Echo/Echo"
MAX_MESSAGE_BYTES = 1 << 30
_HOST = "127.0.0.1"


class Echo:
    """As `GrpcServices`, with one method."""

    roads: Mapping[str, Road] = MappingProxyType({})
    streaming: Mapping[str, Callable[[GrpcRequest], AsyncGenerator[bytes, None]]] = MappingProxyType({})
    bidirectional: Mapping[str, Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]] = MappingProxyType({})

    async def call(self, request: GrpcRequest) -> bytes:
        return request.message


async def serve_own(port: int, listening: Callable[[], None], stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    wire = GrpcWire(Echo(), GrpcLimits(max_message_bytes=MAX_MESSAGE_BYTES), loop)
    server = await loop.create_server(wire.protocol, _HOST, port)
    listening()
    await stop.wait()
    server.close()
    wire.begin_drain()
    await wire.wait_idle(10.0)


async def serve_h2corn(port: int, listening: Callable[[], None], stop: asyncio.Event) -> None:
    app = AsgiApp(cast(RestApi, None), cast(GrpcServices, Echo()), MAX_MESSAGE_BYTES, stop.is_set)
    config = h2corn.Config(
        bind=(f"{_HOST}:{port}",), grpc=True, access_log=False, lifespan="off", max_request_body_size=0
    )
    server = h2corn.Server(app, config)
    serving = asyncio.create_task(server.serve())
    await server.wait_started()
    listening()
    await stop.wait()
    server.shutdown()
    await serving


async def serve_grpcio(port: int, listening: Callable[[], None], stop: asyncio.Event) -> None:
    async def echo(message: bytes, context: Any) -> bytes:
        return message

    method, service = PATH.rpartition("/")[2], PATH.split("/")[1]
    handlers = {method: grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"{_HOST}:{port}")
    await server.start()
    listening()
    await stop.wait()
    await server.stop(1)


WIRES = {"own": serve_own, "h2corn": serve_h2corn, "grpcio": serve_grpcio}


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


async def main(wire: str, rest_port: int, grpc_port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ready = HTTPServer((_HOST, rest_port), Ready)
    await WIRES[wire](grpc_port, Thread(target=ready.serve_forever, daemon=True).start, stop)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wire", choices=WIRES, required=True)
    parser.add_argument("--rest_port", type=int, required=True)
    parser.add_argument("--grpc_port", type=int, required=True)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.wire, arguments.rest_port, arguments.grpc_port))
