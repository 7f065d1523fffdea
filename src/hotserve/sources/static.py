"""A source that knows its versions from the start and never looks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hotserve.core.source import AspiredTarget, AspiredVersion
from hotserve.sources.folder import WatchedModel


class StaticSource:
    """Aspires a fixed list of versions once; for bundled models and for embedding."""

    def __init__(self, target: AspiredTarget, versions: Mapping[str, Sequence[AspiredVersion]]) -> None:
        self._target = target
        self._versions = versions
        self._unknown: tuple[str, ...] = ()

    def start(self) -> None:
        """States the versions."""
        for name, versions in self._versions.items():
            self._target.set_aspired(name, versions)

    def set_models(self, models: Sequence[WatchedModel]) -> None:
        """Aspires the versions of these models only; base paths and policies say nothing to this source."""
        names = [model.name for model in models]
        for name, versions in self._versions.items():
            self._target.set_aspired(name, versions if name in names else ())
        self._unknown = tuple(name for name in names if name not in self._versions)

    @property
    def problems(self) -> Mapping[str, str]:
        """Models that it was asked for and has no versions of; there is no storage that could be away."""
        known = ", ".join(sorted(self._versions)) or "none"
        return dict.fromkeys(self._unknown, f"Its versions are not known here. Models with versions: {known}.")

    @property
    def last_looks(self) -> Mapping[str, float]:
        """None: there is no storage to look at."""
        return {}

    def wait_first_look(self, timeout_seconds: float) -> bool:
        """True: `start` has said all there is."""
        return True

    def stop(self) -> None:
        """Nothing to end."""
