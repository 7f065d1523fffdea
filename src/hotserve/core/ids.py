"""The identity of a servable: the name of a model and the number of a version."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ServableId:
    """One version of one model.

    Attributes:
        name: The model's name, as clients give it.
        version: The version's number, the name of its folder.
    """

    name: str
    version: int

    def __str__(self) -> str:
        """The form of TensorFlow Serving's logs, which scripts wait for."""
        return f"{{name: {self.name} version: {self.version}}}"
