"""A line on a terminal that is written anew while time goes on."""

from __future__ import annotations

from typing import TextIO

_WIDTH = 30


class ProgressLine:
    """The line; nothing where the output is no terminal.

    Attributes:
        is_shown: Whether it is one.
    """

    def __init__(self, output: TextIO) -> None:
        """Shows nothing yet.

        Args:
            output: Where to; it is asked whether it is a terminal.
        """
        self._output = output
        self.is_shown = output.isatty()
        self._is_there = False

    def show(self, what: str, done: float, seconds: float, said: str) -> None:
        """Writes it.

        Args:
            what: What goes on.
            done: Which part of it is done, from 0 to 1.
            seconds: How long it has taken.
            said: What there is to say of it.
        """
        if not self.is_shown:
            return
        filled = round(min(1.0, max(0.0, done)) * _WIDTH)
        bar = "#" * filled + "." * (_WIDTH - filled)
        # Erases to the end of the line: ECMA-48, EL.
        self._output.write(f"\r{what} [{bar}] {seconds:.1f} s, {said}\x1b[K")
        self._output.flush()
        self._is_there = True

    def clear(self) -> None:
        """Takes the line away."""
        if self._is_there:
            self._output.write("\r\x1b[K")
            self._output.flush()
            self._is_there = False
