"""A source that knows its versions from the start and never looks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hotserve.core.source import AspiredTarget, AspiredVersion


class StaticSource:
    """Aspires a fixed list of versions once; for bundled models and for embedding."""

    def __init__(self, target: AspiredTarget, versions: Mapping[str, Sequence[AspiredVersion]]) -> None:
        self._target = target
        self._versions = versions

    def start(self) -> None:
        """States the versions."""
        for name, versions in self._versions.items():
            self._target.set_aspired(name, versions)

    @property
    def problems(self) -> Mapping[str, str]:
        """None: there is no storage that could be away."""
        return {}

    def wait_first_look(self, timeout_seconds: float) -> bool:
        """True: `start` has said all there is."""
        return True

    def stop(self) -> None:
        """Nothing to end."""
