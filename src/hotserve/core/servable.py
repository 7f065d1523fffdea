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


class NeedsThread(Exception):
    """A run has not been begun, because it may take longer than the event loop can wait: a thread has to run it."""


def for_loop(servable: Servable) -> Servable:
    """What the event loop runs in place of a servable: its attribute `on_loop`, itself where it has none.

    That is for servables some of whose runs take much longer than others of the same kind; it raises `NeedsThread`
    where this is one of those.
    """
    view: Servable = getattr(servable, "on_loop", servable)
    return view


def settle(servable: Servable) -> None:
    """Has a servable that has been warmed up give back what only its largest runs have needed: its `settle`, if any.

    Called once, on the thread that loads it, before its first request.
    """
    asked = getattr(servable, "settle", None)
    if asked is not None:
        asked()


def is_prepared(servable: Servable, signature_name: str) -> bool:
    """Whether a signature has been run with batches of all usual sizes already: what its `is_prepared` says of it."""
    asked = getattr(servable, "is_prepared", None)
    return asked is not None and bool(asked(signature_name))


def runtime_of(servable: Servable, signature_name: str = "") -> str:
    """The name of what runs a signature of a servable, for metrics: what its `runtime_of` says of the signature, or its
    attribute `runtime`; `unknown` where it has neither.

    `TF1` is TensorFlow Serving's name for a session; other engines have their own.
    """
    of_signature = getattr(servable, "runtime_of", None)
    if of_signature is not None:
        return str(of_signature(signature_name))
    name = getattr(servable, "runtime", "unknown")
    return name if isinstance(name, str) else "unknown"


def engine_report(servable: Servable) -> Mapping[str, Mapping[str, object]]:
    """What runs each signature of a servable, and why: what its `engine_report` says, or its runtime alone.

    Returns:
        Signature name -> what can be written as JSON; `engine` is always there.
    """
    report: Mapping[str, Mapping[str, object]] | None = getattr(servable, "engine_report", None)
    if report is not None:
        return report
    return {name: {"engine": runtime_of(servable, name)} for name in servable.signatures}


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
