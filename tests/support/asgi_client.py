"""Drives an ASGI application without a server: what it receives is scripted, and what it sends is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np

from hotserve.api.asgi import AsgiApp, Message
from hotserve.api.grpc_framing import frame
from hotserve.codecs.tensor_proto import encode_tensor
from hotserve.protos import messages
from hotserve.tensors import DType
from support.in_process import PATIENCE, PREDICT

DISCONNECT: Message = {"type": "http.disconnect"}


def body_events(*parts: bytes) -> list[Message]:
    """A request body in these parts."""
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]


def http_scope(
    method: str, path: str, headers: Mapping[str, str] | None = None, *, http_version: str = "1.1", **more: Any
) -> Message:
    """A scope as a server makes it; `more` replaces single members."""
    raw_path, _, query = path.partition("?")
    return {
        "type": "http",
        "http_version": http_version,
        "method": method,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "extensions": {"http.response.trailers": {}} if http_version == "2" else {},
        **more,
    }


def grpc_scope(path: str = PREDICT, headers: Mapping[str, str] | None = None) -> Message:
    """The scope of a call."""
    return http_scope("POST", path, {"content-type": "application/grpc", **(headers or {})}, http_version="2")


class FakeClient:
    """The other end of one request.

    Attributes:
        sent: What the application has sent so far.
    """

    def __init__(self, events: Sequence[Message], *, gone_after: int | None = None) -> None:
        """Makes a client.

        Args:
            events: What the application receives, in order; after that nothing comes until `hang_up`.
            gone_after: How many messages can be sent before sending fails, as it does when the client has gone.
        """
        self.sent: list[Message] = []
        self._events = list(events)
        self._hung_up = asyncio.Event()
        self._progress = asyncio.Event()
        self._gone_after = gone_after

    def hang_up(self) -> None:
        self._hung_up.set()

    async def receive(self) -> Message:
        if self._events:
            return self._events.pop(0)
        await self._hung_up.wait()
        return DISCONNECT

    async def send(self, message: Message) -> None:
        if self._gone_after is not None and len(self.sent) >= self._gone_after:
            raise BrokenPipeError("the client has gone")
        self.sent.append(dict(message))
        self._progress.set()

    async def wait_sent(self, number: int) -> None:
        """Waits until the application has sent so many messages."""
        while len(self.sent) < number:
            self._progress.clear()
            await asyncio.wait_for(self._progress.wait(), PATIENCE)


def exchange(app: AsgiApp, scope: Message, events: Sequence[Message]) -> list[Message]:
    """One request from its first event to its last; what the application sent."""

    async def run() -> list[Message]:
        client = FakeClient(events)
        await app(scope, client.receive, client.send)
        return client.sent

    return asyncio.run(run())


def exchange_rest(
    app: AsgiApp, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One HTTP/1.1 request; status, headers and body of the answer."""
    start, *rest = exchange(app, http_scope(method, path, headers), body_events(body))
    assert start["type"] == "http.response.start"
    (content,) = rest
    return start["status"], decoded(start["headers"]), content["body"]


@dataclass(frozen=True)
class GrpcReply:
    """What came back from a call.

    Attributes:
        status: `grpc-status`.
        text: `grpc-message`, decoded.
        messages: The frames, as they came.
        headers: The headers before them.
    """

    status: int
    text: str
    messages: list[bytes]
    headers: dict[str, str] = field(default_factory=dict)


def read_reply(sent: Sequence[Message]) -> GrpcReply:
    """Reads what was sent as an answer to a call, which must have the form that HTTP/2 asks for."""
    start, *middle, end = sent
    assert (start["type"], start["status"], start["trailers"]) == ("http.response.start", 200, True)
    assert [message["type"] for message in middle] == ["http.response.body"] * len(middle)
    assert [message["more_body"] for message in middle] == [True] * (len(middle) - 1) + [False]
    assert (end["type"], end["more_trailers"]) == ("http.response.trailers", False)
    trailers = decoded(end["headers"])
    frames = [message["body"] for message in middle if message["body"]]
    return GrpcReply(
        int(trailers["grpc-status"]), unquote(trailers.get("grpc-message", "")), frames, decoded(start["headers"])
    )


def exchange_grpc(
    app: AsgiApp, message: bytes, path: str = PREDICT, headers: Mapping[str, str] | None = None
) -> GrpcReply:
    """One call with one message that is not packed."""
    return read_reply(exchange(app, grpc_scope(path, headers), body_events(frame(message, pack=False))))


def predict_call(model: str, **inputs: Sequence[float]) -> bytes:
    """A serialized PredictRequest of floats."""
    request = messages.PredictRequest()
    request.model_spec.name = model
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(encode_tensor(np.array(values, np.float32), DType.FLOAT))
    return bytes(request.SerializeToString())


def decoded(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as text; none may come twice."""
    names = [name for name, _ in headers]
    assert len(set(names)) == len(names)
    return {name.decode("ascii"): value.decode("ascii") for name, value in headers}
