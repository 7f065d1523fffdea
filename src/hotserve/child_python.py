"""How a module of this package is run as a program: by a new Python that finds the modules that this one finds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence


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
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
