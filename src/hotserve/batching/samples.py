"""Inputs that versions have been warmed up with: what a signature takes is best told by what it has taken."""

from __future__ import annotations

from collections.abc import Mapping

from hotserve.batching.padding import Inputs
from hotserve.batching.plans import ByServable
from hotserve.core.servable import Servable

_KEPT = 4


class Samples:
    """The first inputs of each signature of versions that are loading. Any thread may read and write."""

    def __init__(self) -> None:
        self._inputs: ByServable[dict[str, list[Inputs]]] = ByServable()

    def note(self, servable: Servable, signature_name: str, inputs: Inputs) -> None:
        """Keeps inputs that a signature has been run with, if there are not enough of them yet."""
        kept = self._inputs.get(servable)
        if kept is None:
            kept = {}
            self._inputs.set(servable, kept)
        of_signature = kept.setdefault(signature_name, [])
        if len(of_signature) < _KEPT:
            of_signature.append(inputs)

    def take(self, servable: Servable) -> Mapping[str, list[Inputs]]:
        """What was kept of a version: signature name -> inputs. It is not kept any longer."""
        kept = self._inputs.get(servable)
        self._inputs.set(servable, {})
        return kept or {}
