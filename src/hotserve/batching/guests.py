"""Requests that take part in a run: by compiled code where this installation has it, else by `plain_guests`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hotserve.batching.plain_guests import Answers, Clerk, Guest, Waiting, column_of, rows_of, times_of
from hotserve.codecs.compiled import SWITCH

try:
    from hotserve.batching import _guests
except ImportError:
    _guests = None  # type: ignore[assignment]

__all__ = ["IS_COMPILED", "Answers", "Clerk", "Guest", "Waiting", "column_of", "rows_of", "times_of"]

_REVISION: Final = 2
"""What `_guests.REVISION` is in the sources that belong here: an editable install may be older than they are."""

IS_COMPILED: Final = getattr(_guests, "REVISION", None) == _REVISION and not os.environ.get(SWITCH)
"""Whether the compiled code is used."""

if IS_COMPILED and not TYPE_CHECKING:
    Guest, Waiting = _guests.Guest, _guests.Waiting
    column_of, rows_of, times_of = _guests.column_of, _guests.rows_of, _guests.times_of
