"""Whole calls read and answers written: by compiled code where this installation has it, else by `plain_calls`."""

from __future__ import annotations

import os
from typing import Final

from hotserve.codecs.compiled import SWITCH
from hotserve.wires import plain_calls
from hotserve.wires.plain_calls import Refusing, Unusual, WholeCall

try:
    from hotserve.wires import _calls
except ImportError:
    _calls = None  # type: ignore[assignment]

__all__ = ["IS_COMPILED", "Refusing", "Unusual", "WholeCall", "answer_frames", "read_calls"]

_REVISION: Final = 4
"""What `_calls.REVISION` is in the sources that belong to this file: an editable install may be older than they are."""

IS_COMPILED: Final = getattr(_calls, "REVISION", None) == _REVISION and not os.environ.get(SWITCH)
"""Whether the compiled code is used."""

read_calls = _calls.read_calls if IS_COMPILED else plain_calls.read_calls
answer_frames = _calls.answer_frames if IS_COMPILED else plain_calls.answer_frames
