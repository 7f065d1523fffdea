"""A servable: one loaded version that answers requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from hotserve.tensors import Array, Signature


class Servable(Protocol):
    """What a platform makes of a version folder. Everything above depends on this and on nothing else of a platform."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Signature name -> signature. Never changes after the load."""
        ...

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Runs one signature.

        Called from several threads at once; blocks; releases the GIL while the engine works. The caller has
        checked names and dtypes, and shapes too where `Signature.enforces_shapes` is set.

        Args:
            signature_name: A key of `signatures`.
            inputs: Input alias -> array of the declared dtype. Read only: arrays may share memory with a request.
            outputs: The output aliases that are wanted; never empty.

        Returns:
            Output alias -> array, exactly those of `outputs`.

        Raises:
            InvalidArgument: The engine refuses these inputs (a shape, a value).
            ServingError: Anything else that the engine reports, under its canonical code.
        """
        ...

    def unload(self) -> None:
        """Gives back what the version holds. Called once, when no run is under way and none will follow."""
        ...


def runtime_of(servable: Servable) -> str:
    """The name of what runs a servable, for metrics: its attribute `runtime`, `unknown` where it has none.

    `TF1` is TensorFlow Serving's name for a session; other engines have their own.
    """
    name = getattr(servable, "runtime", "unknown")
    return name if isinstance(name, str) else "unknown"


@runtime_checkable
class Tagged(Protocol):
    """What a servable also is if its export holds several models, told apart by tags."""

    @property
    def saved_model_tags(self) -> tuple[str, ...]:
        """The tags of the one that was loaded."""
        ...


def saved_model_tags(servable: Servable) -> tuple[str, ...]:
    """The tags by which a servable was chosen from its export; empty where exports hold one model only."""
    return servable.saved_model_tags if isinstance(servable, Tagged) else ()
