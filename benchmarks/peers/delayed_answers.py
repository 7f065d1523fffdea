"""A server on which every request takes the same time and costs next to nothing: what a client says of it is its own.

    python benchmarks/peers/delayed_answers.py --rest_port=8501 --grpc_port=8500 --delay=0.02

Any POST, and any call of gRPC, is answered with a short body after so many seconds; `GET` is answered at once.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from types import MappingProxyType

import uvloop

from hotserve.api.exchange import GrpcRequest, RestRequest, RestResponse
from hotserve.api.gathered import Road
from hotserve.wires.grpc_http2 import GrpcLimits, GrpcWire
from hotserve.wires.http1 import Http1Wire

BODY = b'{"predictions": [[2.5]]}'
MAX_MESSAGE_BYTES = 1 << 30
_HOST = "127.0.0.1"


class Api:
    """What both wires hand requests to."""

    roads: Mapping[str, Road] = MappingProxyType({})
    streaming: Mapping[str, Callable[[GrpcRequest], AsyncGenerator[bytes, None]]] = MappingProxyType({})
    bidirectional: Mapping[str, Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]] = MappingProxyType({})

    def __init__(self, delay: float) -> None:
        self._delay = delay

    async def handle(self, request: RestRequest) -> RestResponse:
        if request.method == "POST":
            await asyncio.sleep(self._delay)
        return RestResponse(200, BODY)

    def refuse_body(self, request: RestRequest) -> RestResponse:
        return RestResponse(413, b"{}")

    async def call(self, request: GrpcRequest) -> bytes:
        await asyncio.sleep(self._delay)
        return BODY


async def main(rest_port: int, grpc_port: int, delay: float) -> None:
    loop, api = asyncio.get_running_loop(), Api(delay)
    grpc = GrpcWire(api, GrpcLimits(max_message_bytes=MAX_MESSAGE_BYTES), loop)
    rest = Http1Wire(api, loop, max_message_bytes=MAX_MESSAGE_BYTES)
    await loop.create_server(grpc.protocol, _HOST, grpc_port)
    server = await loop.create_server(rest, _HOST, rest_port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rest_port", type=int, required=True)
    parser.add_argument("--grpc_port", type=int, required=True)
    parser.add_argument("--delay", type=float, required=True)
    words = parser.parse_args()
    uvloop.run(main(words.rest_port, words.grpc_port, words.delay))
