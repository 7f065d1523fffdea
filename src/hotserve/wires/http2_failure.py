"""What ends an HTTP/2 connection: its client has broken the protocol, or asks for more than its share."""

from __future__ import annotations

from hotserve.wires.http2_frames import ErrorCode


class Http2Failure(Exception):
    """The connection has to end.

    Attributes:
        code: The error code that its client is told.
        reason: What the client has done.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
