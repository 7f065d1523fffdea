"""The compiled forms of one signature, told apart by the shapes of what they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.engine import Runner
from hotserve.tensors import Array

_MAX_KINDS: Final = 1024
"""How many combinations of shapes are remembered; clients choose them."""


@dataclass(frozen=True, slots=True)
class Way:
    """One compiled form.

    Attributes:
        engine: The name of the engine.
        runner: The compiled signature.
        domain: The inputs that it may be given.
    """

    engine: str
    runner: Runner
    domain: Domain


class Ways:
    """All compiled forms of a signature. Any thread may ask.

    Clients send the same shapes again and again, so that what was found for some is remembered.
    """

    def __init__(self, ways: Sequence[Way]) -> None:
        """Takes them, the preferred ones first; there is one at least."""
        self._ways = tuple(ways)
        self._aliases = tuple(ways[0].domain.shapes)
        self._only = self._aliases[0] if len(self._aliases) == 1 else None
        self._known: dict[object, Way | None] = {}

    @property
    def first(self) -> Way:
        """The one for the shapes that the signature declares."""
        return self._ways[0]

    def find(self, inputs: Mapping[str, Array]) -> Way | None:
        """The form that these inputs may be given to; None where that is none."""
        only = self._only
        shapes: object = (
            inputs[only].shape if only is not None else tuple(inputs[alias].shape for alias in self._aliases)
        )
        try:
            way = self._known[shapes]
        except KeyError:
            way = self._look(shapes, inputs)
        return way if way is not None and way.domain.holds(inputs) else None

    def _look(self, shapes: object, inputs: Mapping[str, Array]) -> Way | None:
        found = next((way for way in self._ways if way.domain.fits(inputs)), None)
        if len(self._known) >= _MAX_KINDS:
            self._known.clear()
        self._known[shapes] = found
        return found
