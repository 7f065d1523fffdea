"""How far an examination is: told by the process that examines to the one that has started it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from typing import Final

Progress = Callable[[str, float], None]
"""Told what is being done, in words for the user, and which part of all steps is done, from 0 to 1."""

Step = Callable[[str], None]
"""The same of one step, whose part is known."""

_TELL_SECONDS: Final = 0.2
_MOST_BYTES: Final = 64 << 10


def silent(step: str, done: float) -> None:
    """Tells nobody."""


def step_of(progress: Progress, done: float) -> Step:
    """Tells of steps all of which begin with the same part done."""
    return lambda step: progress(step, done)


def telling(file: int) -> Progress:
    """Tells it through a pipe, a line for each step: which part is done, and what comes next.

    Args:
        file: The descriptor of the end that is written.
    """

    def tell(step: str, done: float) -> None:
        # Whoever has started this may be gone, and the examination goes on.
        with contextlib.suppress(OSError):
            os.write(file, f"{done:.3f} {' '.join(step.split())}\n".encode())

    return tell


def follow(process: subprocess.Popen[str], timeout_seconds: float, file: int, progress: Progress) -> str:
    """Waits for a process that tells how far it is.

    Args:
        process: It has a pipe for what it prints as errors, and none for its standard input.
        timeout_seconds: How long it may take.
        file: The descriptor of the end of the pipe that is read; reading does not block.
        progress: Told several times a second how far it is.

    Returns:
        What it has printed as errors.

    Raises:
        TimeoutExpired: It takes longer.
    """
    until = time.monotonic() + timeout_seconds
    step, done = "starting", 0.0
    while True:
        left = until - time.monotonic()
        try:
            # Asked again, it goes on where it was.
            return process.communicate(timeout=max(0.0, min(left, _TELL_SECONDS)))[1]
        except subprocess.TimeoutExpired:
            if left <= _TELL_SECONDS:
                raise
        with contextlib.suppress(BlockingIOError):
            for line in os.read(file, _MOST_BYTES).decode(errors="replace").splitlines():
                part, _, step = line.partition(" ")
                done = float(part)
        progress(step, done)
