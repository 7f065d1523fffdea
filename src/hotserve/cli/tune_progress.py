"""How far the examination of a version is: a line on a terminal that changes, and a line for each step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from hotserve.cli.progress_line import ProgressLine


class TuneProgress:
    """Shows it."""

    def __init__(self, output: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Shows nothing yet.

        Args:
            output: Where to; it is asked whether it is a terminal.
            clock: Seconds.
        """
        self._output = output
        self._clock = clock
        self._line = ProgressLine(output)
        self._path = Path()
        self._begin = 0.0
        self._step = ""

    def begin(self, path: Path) -> None:
        """The examination of a version begins."""
        self._path, self._begin, self._step = path, self._clock(), ""

    def show(self, step: str, done: float) -> None:
        """Shows how far it is; see `examination.Progress`."""
        if self._line.is_shown:
            self._line.show(str(self._path), done, self._clock() - self._begin, step)
        elif step != self._step:
            self.say(f"{self._path}: {step}")
        self._step = step

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        self.clear()
        print(text, file=self._output, flush=True)

    def clear(self) -> None:
        """Takes the line that changes away."""
        self._line.clear()
