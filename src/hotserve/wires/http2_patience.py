"""How much one HTTP/2 client has done that leads to nothing, and when that is too much."""

from __future__ import annotations

from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import ErrorCode
from hotserve.wires.http2_limits import Allowance, Http2Limits


class Patience:
    """Counts what a client may not do too often; see `Http2Limits`.

    Attributes:
        now: Seconds of a clock that never goes back; set by whoever takes what has come.
        idle_frames: How many frames may still come in a row that lead to nothing.
        resets: How many streams may still be given up or reset before they are answered.
    """

    __slots__ = ("_most_replies", "idle_frames", "now", "resets")

    def __init__(self, limits: Http2Limits) -> None:
        self.now = 0.0
        self.idle_frames = Allowance(limits.idle_frames, limits.idle_frames_per_second)
        self.resets = Allowance(limits.resets, limits.resets_per_second)
        self._most_replies = limits.unsent_replies

    def count_idle_frame(self, count: int = 1) -> None:
        """Counts frames that lead to nothing.

        Raises:
            Http2Failure: There were too many.
        """
        if not self.idle_frames.spend(self.now, count):
            raise Http2Failure(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that lead to nothing")

    def count_reset(self, count: int = 1) -> None:
        """Counts streams that are given up or reset before they are answered.

        Raises:
            Http2Failure: There were too many.
        """
        if not self.resets.spend(self.now, count):
            raise Http2Failure(ErrorCode.ENHANCE_YOUR_CALM, "too many streams that were reset")

    def check_replies(self, unsent: int) -> None:
        """Looks whether one more reply may wait.

        Args:
            unsent: How many wait for a client that does not read.

        Raises:
            Http2Failure: It may not.
        """
        if unsent >= self._most_replies:
            raise Http2Failure(ErrorCode.ENHANCE_YOUR_CALM, "too many frames to reply to, and no replies read")
