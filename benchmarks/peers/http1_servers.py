"""The same trivial answer from several HTTP/1.1 servers: `python http1_servers.py NAME PORT`.

Each reads the whole request, headers and body, and answers with 200 and a short JSON body.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import uvloop

from hotserve.api.exchange import RestRequest, RestResponse
from hotserve.wires.http1 import Http1Wire

HOST = "127.0.0.1"
BODY = b'{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
"""What half_plus_two answers to the tutorial's request."""

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
MAX_MESSAGE_BYTES = 1 << 30

Message = MutableMapping[str, Any]


class Bare(asyncio.Protocol):
    """As little as a server can do with uvloop and httptools: no limits, no dates, no errors, one answer."""

    def __init__(self) -> None:
        import httptools

        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._headers = []
        self._body = b""
        self._transport.write(ANSWER)


class Api:
    """What the wire hands requests to."""

    async def handle(self, request: RestRequest) -> RestResponse:
        return RestResponse(200, BODY)

    def refuse_body(self, request: RestRequest) -> RestResponse:
        return RestResponse(413, b"{}")


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The same as an ASGI application."""
    assert scope["type"] == "http"
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    b"".join(parts)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def _serve_protocol(factory: Callable[[], asyncio.Protocol], port: int) -> None:
    server = await asyncio.get_running_loop().create_server(factory, HOST, port)
    await server.serve_forever()


async def bare(port: int) -> None:
    await _serve_protocol(Bare, port)


async def hotserve(port: int) -> None:
    wire = Http1Wire(Api(), asyncio.get_running_loop(), max_message_bytes=MAX_MESSAGE_BYTES)
    await _serve_protocol(wire, port)


async def h2corn(port: int) -> None:
    import h2corn

    config = h2corn.Config(bind=(f"{HOST}:{port}",), access_log=False, lifespan="off", max_request_body_size=0)
    await h2corn.Server(app, config).serve()


async def uvicorn(port: int) -> None:
    import uvicorn

    config = uvicorn.Config(app, HOST, port, http="httptools", access_log=False, log_level="warning", lifespan="off")
    await uvicorn.Server(config).serve()


SERVERS = {"bare": bare, "hotserve": hotserve, "h2corn": h2corn, "uvicorn": uvicorn}

if __name__ == "__main__":
    uvloop.run(SERVERS[sys.argv[1]](int(sys.argv[2])))
