"""How a module of this package is run as a program: by a new Python that finds the modules that this one finds."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_PARENT: Final = "HOTSERVE_PARENT"
"""The variable that tells such a program which process has started it."""

_PR_SET_PDEATHSIG: Final = 1
"""Source: prctl(2)."""


def module_command(module: str, *arguments: str) -> Sequence[str]:
    """The words of a command that runs a module.

    Args:
        module: Its full name.
        arguments: What it is told.
    """
    # -P: with -m alone, Python would look in the working directory first, where a file of the user's may have the name
    # of any module.
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> Mapping[str, str]:
    """The environment for such a command: that of this process, whatever has been done to its path since the start."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, _PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Has the system kill this process together with the thread that has started it, however that comes to its end.

    Does nothing where the system cannot do that (other than Linux).
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.environ.get(_PARENT, "")
    # Between the two there may be a program that has started Python for us.
    if parent.isdecimal() and int(parent) != os.getppid():
        try:
            os.kill(int(parent), 0)
        except ProcessLookupError:
            os._exit(1)  # It had ended by then.
