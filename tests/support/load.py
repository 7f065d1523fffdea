"""Steady load on a server, over REST and over gRPC, that looks at every answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
from tensorflow_serving.apis import predict_pb2

UNCONNECTED = "failed to connect"

REFUSED = ("Failed to connect", UNCONNECTED, "Connection refused", "Broken pipe")
"""What grpcio says of a call that never reached the server. A connection that was reset is not among them."""


@dataclass
class Outcome:
    """What the clients of one API have seen.

    Attributes:
        answers: How many good answers there were.
        failures: What went wrong, in words, one entry a request.
        closed: How many clients ended because the server told them so (`Connection: close`), or no longer listened.
        unconnected: What grpcio said where a new connection came to nothing.
    """

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    closed: int = 0
    unconnected: list[str] = field(default_factory=list)


class RestClient:
    """One keep-alive connection that sends the same request again and again.

    Raises nothing: what goes wrong is in the outcome.
    """

    def __init__(self, host: str, port: int, path: str, body: bytes, check: Callable[[bytes], str | None]) -> None:
        self._host, self._port = host, port
        self._request = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._check = check

    async def run(self, stop: asyncio.Event, outcome: Outcome) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            while not stop.is_set():
                writer.write(self._request)
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers["content-length"]))
                status = int(lines[0].split()[1])
                problem = f"status {status}: {body[:200]!r}" if status != 200 else self._check(body)
                if problem:
                    outcome.failures.append(problem)
                else:
                    outcome.answers += 1
                if headers.get("connection", "").lower() == "close":
                    outcome.closed += 1
                    return
        except (OSError, asyncio.IncompleteReadError) as error:
            # A request went out and no answer came back.
            outcome.failures.append(f"connection lost: {error!r}")
        finally:
            writer.close()


class GrpcClient:
    """One channel that sends the same `PredictRequest` again and again."""

    def __init__(
        self,
        target: str,
        request: predict_pb2.PredictRequest,
        check: Callable[[predict_pb2.PredictResponse], str | None],
    ) -> None:
        self._target = target
        self._request = request
        self._check = check

    async def run(self, stop: asyncio.Event, outcome: Outcome) -> None:
        # A channel of its own for each client: by default all channels of a process to one target share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self._target, options=options) as channel:
            predict = channel.unary_unary(
                "/tensorflow.serving.PredictionService/Predict",
                request_serializer=predict_pb2.PredictRequest.SerializeToString,
                response_deserializer=predict_pb2.PredictResponse.FromString,
            )
            while not stop.is_set():
                try:
                    answer = await predict(self._request, timeout=30)
                except grpc.aio.AioRpcError as error:
                    details = error.details() or ""
                    if error.code() is grpc.StatusCode.UNAVAILABLE and any(words in details for words in REFUSED):
                        # Nobody listens any more, or the request could not be written: it was never accepted.
                        outcome.closed += 1
                        if UNCONNECTED in details.lower():
                            outcome.unconnected.append(details)
                        return
                    outcome.failures.append(f"{error.code()}: {error.details()}")
                    continue
                problem = self._check(answer)
                if problem:
                    outcome.failures.append(problem)
                else:
                    outcome.answers += 1


async def run_clients(
    clients: Sequence[RestClient | GrpcClient], stop: asyncio.Event, outcomes: Sequence[Outcome]
) -> None:
    """Runs all clients until `stop`."""
    await asyncio.gather(*(client.run(stop, outcome) for client, outcome in zip(clients, outcomes, strict=True)))


def predictions(body: bytes) -> list[list[float]]:
    """The rows of a REST answer."""
    rows: list[list[float]] = json.loads(body)["predictions"]
    return rows
