"""What is known of one stream of an HTTP/2 connection while it is open."""

from __future__ import annotations


class Stream:
    """One request and its answer.

    Attributes:
        number: Its identifier.
        remote_ended: Whether all of the request has come.
        send_window: How much of the answer its client still takes; may be below zero.
        receive_window: How much of the request the client may still send.
        untaken: How much of the request has come and still needs room.
        taken: How much of it was taken since the client was last told.
        expected: How much of the body `content-length` says is still to come; None if it says nothing.
        header: The block that begins the answer, until it has been sent.
        waiting: The part of the answer's body that has not been sent.
        waiting_from: Where in `waiting[0]` that begins.
        waiting_bytes: How much that is.
        trailers: The block that ends the answer once all of the body has been sent; None if there is more to come.
    """

    __slots__ = (
        "expected",
        "header",
        "number",
        "receive_window",
        "remote_ended",
        "send_window",
        "taken",
        "trailers",
        "untaken",
        "waiting",
        "waiting_bytes",
        "waiting_from",
    )

    def __init__(self, number: int, send_window: int, receive_window: int, expected: int | None) -> None:
        self.number = number
        self.remote_ended = False
        self.send_window = send_window
        self.receive_window = receive_window
        self.untaken = 0
        self.taken = 0
        self.expected = expected
        self.header: bytes | None = None
        self.waiting: list[bytes] = []
        self.waiting_from = 0
        self.waiting_bytes = 0
        self.trailers: bytes | None = None
