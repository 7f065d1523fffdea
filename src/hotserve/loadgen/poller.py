"""Waits for sockets: epoll where there is one, else poll."""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence

Ready = Sequence[tuple[int, int]]
"""File descriptors, and what they are ready for."""

if sys.platform == "linux":

    class Poller:
        """Waits until one of several sockets can be read or written."""

        def __init__(self) -> None:
            self._poll = select.epoll()

        def fileno(self) -> int:
            """The file descriptor by which all that it looks at can be waited for."""
            return self._poll.fileno()

        def add(self, number: int, *, writing: bool) -> None:
            """Begins to look at a file descriptor."""
            self._poll.register(number, select.EPOLLOUT if writing else select.EPOLLIN)

        def change(self, number: int, *, writing: bool) -> None:
            """Looks for something else at a file descriptor."""
            self._poll.modify(number, select.EPOLLOUT if writing else select.EPOLLIN)

        def remove(self, number: int) -> None:
            """Looks at a file descriptor no more."""
            self._poll.unregister(number)

        def wait(self, nanoseconds: int) -> Ready:
            """The file descriptors that are ready, waiting for the first one at most so long.

            A wait may be up to a millisecond longer.
            """
            return self._poll.poll(max(0, nanoseconds) / 1e9)

        def wait_exactly(self, nanoseconds: int) -> Ready:
            """The same, with waits that are not rounded to milliseconds, for one more call of the system."""
            if nanoseconds > 0:
                select.select((self._poll.fileno(),), (), (), nanoseconds / 1e9)
            return self._poll.poll(0)

        def close(self) -> None:
            """Gives the descriptor back."""
            self._poll.close()

else:

    class Poller:
        """Waits until one of several sockets can be read or written; see above."""

        def __init__(self) -> None:
            self._poll = select.poll()

        def fileno(self) -> int:
            return -1

        def add(self, number: int, *, writing: bool) -> None:
            self._poll.register(number, select.POLLOUT if writing else select.POLLIN)

        def change(self, number: int, *, writing: bool) -> None:
            self._poll.modify(number, select.POLLOUT if writing else select.POLLIN)

        def remove(self, number: int) -> None:
            self._poll.unregister(number)

        def wait(self, nanoseconds: int) -> Ready:
            return self._poll.poll(-(-max(0, nanoseconds) // 1_000_000))

        def wait_exactly(self, nanoseconds: int) -> Ready:
            return self.wait(nanoseconds)

        def close(self) -> None:
            return
