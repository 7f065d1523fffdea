"""Who is told what the engines do: metrics, outside of this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:  # whoever listens need not have what examines
    from hotserve.platforms.engines.choice import Choice
    from hotserve.platforms.engines.findings import Examination

UNVERIFIED: Final = "unverified: TensorFlow is not installed, and the version has no recorded answers to compare with"
"""The reason of a choice whose answers nobody has compared."""


class EngineObserver(Protocol):
    """Hears of examinations, of choices, and of runs that go to TensorFlow after all. Any thread calls."""

    def examined(self, path: Path, result: str, seconds: float) -> None:
        """An examination has ended.

        Args:
            path: The version folder.
            result: `done`, `failed`, or `found` where the result was kept from before.
            seconds: What it took.
        """
        ...

    def chosen(self, path: Path, choices: Mapping[str, Choice], examination: Examination) -> None:
        """A version is served as chosen from now on.

        Args:
            path: The version folder.
            choices: Signature name -> engine.
            examination: What was found out; nothing where there was no examination.
        """
        ...

    def fell_back(self, path: Path, signature_name: str, reason: str) -> None:
        """A run has gone to TensorFlow although another engine serves the signature; see `FallBackCounter`."""
        ...

    def unloaded(self, path: Path) -> None:
        """A version is gone."""
        ...


class Unobserved:
    """An `EngineObserver` that does not listen."""

    def examined(self, path: Path, result: str, seconds: float) -> None:
        """See `EngineObserver.examined`."""

    def chosen(self, path: Path, choices: Mapping[str, Choice], examination: Examination) -> None:
        """See `EngineObserver.chosen`."""

    def fell_back(self, path: Path, signature_name: str, reason: str) -> None:
        """See `EngineObserver.fell_back`."""

    def unloaded(self, path: Path) -> None:
        """See `EngineObserver.unloaded`."""
