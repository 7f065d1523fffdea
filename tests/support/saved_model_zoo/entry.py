"""One model of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.saved_model_zoo.requests import Request


@dataclass(frozen=True, slots=True)
class Entry:
    """A model, not made yet.

    Attributes:
        name: What it is; also its name when it is served.
        export: Writes the SavedModel into a folder.
        requests: What it is asked.
    """

    name: str
    export: Callable[[Path], None]
    requests: Sequence[Request]
