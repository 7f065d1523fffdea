"""What one HTTP/2 client may ask for, and how much of what leads to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from hotserve.wires.http2_frames import FIRST_WINDOW, LARGEST_MAX_FRAME, LARGEST_NUMBER, SMALLEST_MAX_FRAME


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """The limits of one connection.

    Attributes:
        max_concurrent_streams: Requests at once, those that were given up and are still worked on among them; from 1
            on.
        max_header_list_bytes: The size of a header, as SETTINGS_MAX_HEADER_LIST_SIZE counts. A header of up to twice
            that is refused by itself, a larger one ends the connection.
        max_frame_bytes: The payload of the largest frame; from 2**14 to 2**24 - 1.
        stream_window_bytes: How much of a body may come before some of it is taken; from 65535 to 2**31 - 1.
        connection_window_bytes: The same for all bodies of a connection.
        idle_frames: How many frames may come in a row that lead to nothing: PING, SETTINGS, empty DATA and the like.
            Each body that moves on, in either direction, allows as many again.
        idle_frames_per_second: How many more may come by the time.
        resets: How many streams a client may give up, or have reset, before they are answered. Each answer allows one
            more.
        resets_per_second: How many more it may by the time.
        unsent_replies: How many replies to such frames wait for a client that does not read.
    """

    max_concurrent_streams: int = 256
    max_header_list_bytes: int = 1 << 16
    max_frame_bytes: int = 1 << 16
    stream_window_bytes: int = 8 << 20
    connection_window_bytes: int = 16 << 20
    idle_frames: int = 2000
    idle_frames_per_second: float = 200.0
    resets: int = 2000
    resets_per_second: float = 500.0
    unsent_replies: int = 1000

    def __post_init__(self) -> None:
        for name, least, most in (
            ("max_concurrent_streams", 1, LARGEST_NUMBER),
            ("max_header_list_bytes", 1, LARGEST_NUMBER),
            ("max_frame_bytes", SMALLEST_MAX_FRAME, LARGEST_MAX_FRAME),
            ("stream_window_bytes", FIRST_WINDOW, LARGEST_NUMBER),
            ("connection_window_bytes", FIRST_WINDOW, LARGEST_NUMBER),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected {least} to {most}, got {getattr(self, name)}.")


class Allowance:
    """How often something may still happen: more often with the time, and more if it is earned.

    Attributes:
        most: The most that can be left.
        left: How much is left; `restore` sets it to `most`, and so may whoever cannot afford a call.
    """

    __slots__ = ("_per_second", "_since", "left", "most")

    def __init__(self, most: int, per_second: float) -> None:
        """Starts with all of it.

        Args:
            most: The most that can be left.
            per_second: How much comes back by itself.
        """
        self.most = float(most)
        self._per_second = per_second
        self.left = float(most)
        self._since: float | None = None

    def spend(self, now: float, count: int = 1) -> bool:
        """Takes some; False if so many are not left.

        Args:
            now: Seconds of a clock that never goes back.
            count: How many.
        """
        if self._since is not None:
            self.left = min(self.most, self.left + (now - self._since) * self._per_second)
        self._since = now
        if self.left < count:
            return False
        self.left -= count
        return True

    def earn(self, count: int = 1) -> None:
        """Gives some back."""
        self.left = min(self.most, self.left + count)

    def restore(self) -> None:
        """Gives all of them back."""
        self.left = self.most
