"""What the header of an HTTP/2 request says about a call, and the headers and trailers that answer calls.

Source: grpc/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

from typing import Final

from hotserve.api.gathered import CallRoad
from hotserve.api.grpc_framing import SUPPORTED_ENCODINGS, is_grpc, packs_answers, parse_timeout, trailers_of
from hotserve.errors import InvalidArgument, ServingError
from hotserve.wires.http2_headers import RequestHead, encode_block

_OPENING = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_ACCEPTED = (b"grpc-accept-encoding", ",".join(SUPPORTED_ENCODINGS).encode())

PLAIN_HEADER: Final = encode_block((*_OPENING, _ACCEPTED))
PACKED_HEADER: Final = encode_block((*_OPENING, _ACCEPTED, (b"grpc-encoding", b"gzip")))
OK_TRAILERS: Final = encode_block(trailers_of(None))


class CallHead:
    """What is known of a call before its message.

    Attributes:
        path: `/package.Service/Method`.
        encoding: How messages of the request are packed, if they are.
        pack: Whether those of the answer may be.
        timeout_seconds: How long the client waits; None for as long as it takes.
        error: What is wrong with it; None for a call that can be made.
        header: The block that begins its answer.
        road: Where such calls are handed in first; for whoever knows it.
    """

    __slots__ = ("encoding", "error", "header", "pack", "path", "road", "timeout_seconds")

    def __init__(self, head: RequestHead) -> None:
        self.path = head.path
        self.encoding = head.headers.get("grpc-encoding", "identity")
        self.pack = packs_answers(self.encoding)
        self.header = PACKED_HEADER if self.pack else PLAIN_HEADER
        self.road: CallRoad | None = None
        self.timeout_seconds: float | None = None
        self.error: ServingError | None = None
        try:
            self.timeout_seconds = parse_timeout(head.headers.get("grpc-timeout"))
        except InvalidArgument as error:
            self.error = error.with_traceback(None)


class Refusal:
    """The answer to a request that is no call.

    Attributes:
        header: The block that begins it.
        body: What it says; empty for HEAD.
    """

    __slots__ = ("body", "header")

    def __init__(self, status: int, text: str, *more: tuple[bytes, bytes], has_body: bool = True) -> None:
        self.body = f"{text}\n".encode() if has_body else b""
        length = str(len(text) + 1).encode()
        fields = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length))
        self.header = encode_block(((b":status", str(status).encode()), *fields, *more))


_ALLOW = (b"allow", b"POST")
_NOT_POSTED = Refusal(405, "gRPC calls are sent with POST.", _ALLOW)
_NOT_POSTED_HEAD = Refusal(405, "gRPC calls are sent with POST.", _ALLOW, has_body=False)
_NO_CALL = Refusal(
    415, "Over HTTP/2 this port answers gRPC calls, whose content-type is application/grpc. REST goes over HTTP/1.1."
)


class ErrorAnswers:
    """Whole answers that are errors; the last one is kept for those who are told the same object next."""

    __slots__ = ("_block", "_error")

    def __init__(self) -> None:
        self._error: ServingError | None = None
        self._block = b""

    def block(self, error: ServingError) -> bytes:
        """What `error_answer` writes."""
        if error is not self._error:
            self._error, self._block = error, error_answer(error)
        return self._block


def read_head(head: RequestHead) -> CallHead | Refusal:
    """What a request asks for."""
    if head.method != "POST":
        return _NOT_POSTED_HEAD if head.method == "HEAD" else _NOT_POSTED
    return CallHead(head) if is_grpc(head.headers.get("content-type")) else _NO_CALL


def error_trailers(error: ServingError) -> bytes:
    """The block that ends an answer that has begun."""
    return encode_block(trailers_of(error))


def error_answer(error: ServingError) -> bytes:
    """The block that is a whole answer."""
    return encode_block((*_OPENING, *trailers_of(error)))
