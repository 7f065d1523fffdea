"""What goes to a server and what comes back, whatever wire carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        path: Of the URL, or the full name of the method: `/v1/models/m:predict`.
        body: The body of an HTTP request, or a serialized message.
        content_type: Of the body of an HTTP request.
        headers: More headers, names in lower case.
        method: Of HTTP.
    """

    path: str
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"


class Answer:
    """One answer.

    Attributes:
        error: Empty for an answer that is as it should be; else its status in words, such as `503` or `UNAVAILABLE`.
        body: The body, or the message; the text of the error where there is one.
        ends_connection: Whether no further request may follow on this connection.
    """

    __slots__ = ("body", "ends_connection", "error")

    def __init__(self, body: bytes, error: str = "", ends_connection: bool = False) -> None:
        self.body = body
        self.error = error
        self.ends_connection = ends_connection


class BrokenAnswer(Exception):
    """The server has sent what is no answer, or has ended the connection where one was due."""


@dataclass(frozen=True, slots=True)
class CallsAhead:
    """A connection of gRPC on which no call has been made yet, for somebody else to make them.

    Attributes:
        window: How many bytes the server takes on the connection until it says more.
        first_window: How many it takes of each call until it says more.
        max_frame: How many bytes of data a frame may have.
        most_calls: How many calls may be under way at once.
        first_block: The header block of the first call.
        later_block: The one of all others.
        received: The beginning of a frame that has come already.
    """

    window: int
    first_window: int
    max_frame: int
    most_calls: int
    first_block: bytes
    later_block: bytes
    received: bytes


class Client(Protocol):
    """The client's side of one connection, without a socket: bytes in, bytes out; one request under way at a time.

    Attributes:
        is_settled: Whether requests can be sent: the server may have to say something first.
        has_reply: Whether something has to be sent because of what was received.
    """

    is_settled: bool
    has_reply: bool

    def opening(self) -> bytes:
        """What is sent first; asked for once."""
        ...

    def request(self, request: Request) -> bytes:
        """The bytes of a request, as far as they can be sent now; what comes later is in `reply`."""
        ...

    def receive(self, data: bytes) -> Answer | None:
        """Takes in what the server has sent; returns the answer if that makes it whole.

        Raises:
            BrokenAnswer: It is none.
        """
        ...

    def reply(self) -> bytes:
        """What has to be sent because of what was received."""
        ...

    def repeated(self, requests: Sequence[Request]) -> Sequence[bytes] | None:
        """What somebody else sends for requests, on any connection to the same server; of calls the data alone.

        None where there is more about these requests that differs.
        """
        ...

    def end(self) -> Answer | None:
        """Takes in that the server has ended the connection; returns the answer if that makes it whole.

        Raises:
            BrokenAnswer: It was not whole.
        """
        ...
