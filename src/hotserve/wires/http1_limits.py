"""How much an HTTP/1.1 client may send, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Http1Limits:
    """The bounds of one connection.

    Times are looked at about four times within the shortest of them, and never end early.

    Attributes:
        request_line_bytes: The longest first line of a request; beyond it, status 414.
        head_bytes: The largest request line and headers together; beyond it, status 431.
        header_count: The most headers; beyond it, status 431.
        chunk_extension_bytes: The most that one body's chunk extensions may take up; beyond it, status 400.
        waiting_bytes: What may arrive behind a request that is being answered before reading stops.
        turn_requests: How many requests that wait in line one connection may have answered before others have a turn.
        head_seconds: How long a head may take, from its first byte to its last; after it, status 408.
        body_seconds: How long a body may take to bring `body_bytes` more; after it, status 408.
        body_bytes: How much of a body has to come in `body_seconds`.
        idle_seconds: How long a connection may wait for its next request. Load balancers keep connections for up to
            600 s, and lose a request if the server is the first to close.
        write_seconds: How long a client may take nothing of an answer; then it is cut off.
        linger_seconds: How long the rest of a refused request is read and dropped, so that the client reads the answer
            instead of failing to send.
        linger_bytes: How much of it is.
    """

    request_line_bytes: int = 16 * 1024
    head_bytes: int = 64 * 1024
    header_count: int = 200
    chunk_extension_bytes: int = 16 * 1024
    waiting_bytes: int = 64 * 1024
    turn_requests: int = 32
    head_seconds: float = 30.0
    body_seconds: float = 30.0
    body_bytes: int = 16 * 1024
    idle_seconds: float = 650.0
    write_seconds: float = 60.0
    linger_seconds: float = 10.0
    linger_bytes: int = 256 * 1024 * 1024
