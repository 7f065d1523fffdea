"""What becomes known of a request on its way through the server, for the metrics."""

from __future__ import annotations

import time


class RequestRecord:
    """One request; made when its last byte has come.

    Attributes:
        entrypoint: `REST` or `GRPC`.
        model: The client's name for the model, also of one that does not exist; empty if it named none.
        version: The number of the version that answered; empty if none did.
        signature: The signature that it named, or the default one; empty if the version has none of that name.
        api: `predict` over REST and `Predict` over gRPC, as in the original; empty for REST's GET and OPTIONS.
        received_bytes: The size of the body, or of the message, as it came.
        sent_bytes: The same of the answer.
        start: When it was made; this and what follows as `time.perf_counter` tells it.
        decoded: When its inputs were arrays, about to be handed over to be run; 0 if it did not get there.
        ran: When the arrays of the answer were there; 0 if there were none.
    """

    __slots__ = (
        "api",
        "decoded",
        "entrypoint",
        "model",
        "ran",
        "received_bytes",
        "sent_bytes",
        "signature",
        "start",
        "version",
    )

    def __init__(self, entrypoint: str, received_bytes: int, start: float | None = None) -> None:
        """Begins a record.

        Args:
            entrypoint: `REST` or `GRPC`.
            received_bytes: The size of the body, or of the message.
            start: When the request was whole, if that is some time ago.
        """
        self.entrypoint = entrypoint
        self.model = self.version = self.signature = self.api = ""
        self.received_bytes = received_bytes
        self.sent_bytes = 0
        self.start = time.perf_counter() if start is None else start
        self.decoded = self.ran = 0.0

    def mark_decoded(self) -> None:
        """Says that the inputs are arrays now."""
        self.decoded = time.perf_counter()

    def mark_ran(self) -> None:
        """Says that the arrays of the answer are there."""
        self.ran = time.perf_counter()
