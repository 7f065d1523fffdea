"""Answers as HTTP/1.1 writes them: what is the same in each is prepared once a second.

Source: RFC 9112, section 4; RFC 9110, section 6.6.1 for Date. The reason phrases, and the page that answers a request
which never reaches the API, are those of libevent 2.1 (http.c), which TensorFlow Serving uses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

from hotserve.api.exchange import JSON, RestResponse
from hotserve.api.rest_errors import error_response
from hotserve.codecs.json_response import encode_error
from hotserve.errors import ServingError
from hotserve.wires.http1_head import Refused

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS: Mapping[int, str] = MappingProxyType(
    {
        **{status.value: status.phrase for status in HTTPStatus},
        413: "Request Entity Too Large",
        414: "Request-URI Too Long",
        429: "Client Error",
        499: "Client Error",
        504: "Gateway Time-out",
    }
)

_MAX_PREPARED = 256

SMALL_ANSWER = 64 * 1024
"""Up to here an answer is joined with its head; beyond it, copying costs more than a second buffer."""


STAYS = b""
"""What an answer says of a connection that stays: nothing, HTTP/1.1 implies it."""

KEPT = b"Connection: keep-alive\r\n"
"""What it says to an HTTP/1.0 client that has asked for it."""

ENDS = b"Connection: close\r\n"
"""What it says if it is the last one."""


class Answers:
    """Writes answers."""

    def __init__(self) -> None:
        self._date = b""
        self._prepared: dict[tuple[int, str, bytes], bytes] = {}
        self._heads: dict[tuple[int, int, str, bytes], bytes] = {}  # of answers of one length
        self.usual_heads: dict[int, bytes] = {}
        """What `usual_head` has said in this second."""
        self._failure: ServingError | None = None
        self._failed = b""  # what was written for it
        self.turn_second()

    def turn_second(self) -> None:
        """Sets the date to the present second; called about once in each."""
        self._date = formatdate(time.time(), usegmt=True).encode("ascii")
        self._prepared.clear()
        self._heads.clear()
        self.usual_heads.clear()
        self._failure = None

    def failed(self, error: ServingError) -> bytes:
        """What `whole` writes for an error and `STAYS`; kept for those who are told the same object next."""
        if error is not self._failure:
            self._failed = self.whole(error_response(error), STAYS)
            self._failure = error
        return self._failed

    def usual_head(self, length: int) -> bytes | None:
        """What `whole` writes before a body in JSON, the status 200 and `STAYS`; None if the body is large.

        Args:
            length: The bytes of the body.
        """
        if length > SMALL_ANSWER:
            return None
        if len(self.usual_heads) >= _MAX_PREPARED:
            self.usual_heads.clear()
        head = self.usual_heads[length] = self._head_without_others((200, JSON, STAYS), length)
        return head

    def whole(self, response: RestResponse, connection: bytes) -> bytes:
        """As `head`, and the body after it."""
        if response.headers:
            return self.head(response, connection) + response.body
        body = response.body
        key = (len(body), response.status, response.content_type, connection)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MAX_PREPARED:
                self._heads.clear()
            head = self._heads[key] = self.head(response, connection)
        return head + body

    def head(self, response: RestResponse, connection: bytes) -> bytes:
        """The bytes up to the empty line, which is included.

        Args:
            response: The answer.
            connection: `STAYS`, `KEPT` or `ENDS`.

        Raises:
            ValueError: A header cannot be written.
        """
        key = (response.status, response.content_type, connection)
        if not response.headers:
            return self._head_without_others(key, len(response.body))
        prepared = self._prepared.get(key) or self._prepare(key)
        lines = "".join(f"\r\n{_line(name, value)}" for name, value in response.headers.items())
        return b"%b%d%b\r\n\r\n" % (prepared, len(response.body), lines.encode("latin-1"))

    def _head_without_others(self, key: tuple[int, str, bytes], length: int) -> bytes:
        return b"%b%d\r\n\r\n" % (self._prepared.get(key) or self._prepare(key), length)

    def _prepare(self, key: tuple[int, str, bytes]) -> bytes:
        status, content_type, connection = key
        reason = _REASONS.get(status, "Unknown")
        first = f"HTTP/1.1 {status} {reason}\r\n{_line('content-type', content_type)}\r\n".encode("latin-1")
        prepared = b"%bDate: %b\r\n%bContent-Length: " % (first, self._date, connection)
        if len(self._prepared) >= _MAX_PREPARED:
            self._prepared.clear()
        self._prepared[key] = prepared
        return prepared


def refusal(refused: Refused) -> RestResponse:
    """The answer to a request that does not reach the API."""
    if refused.explanation is not None:
        return RestResponse(refused.status, encode_error(refused.explanation))
    return page(refused.status)


def page(status: int) -> RestResponse:
    """The page that libevent has for a status."""
    reason = _REASONS[status]
    text = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    return RestResponse(status, text.encode("ascii"), "text/html")


def _line(name: str, value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError(f"the header {name} cannot have a line break: {value!r}")
    return f"{name.title()}: {value}"
