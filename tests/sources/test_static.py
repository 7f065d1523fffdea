from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredVersion
from hotserve.sources.static import StaticSource


class Target:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Sequence[AspiredVersion]]] = []

    def set_aspired(self, name: str, versions: Sequence[AspiredVersion]) -> None:
        self.calls.append((name, versions))


VERSIONS = {
    "digits": [AspiredVersion(ServableId("digits", 1), Path("/digits/1"))],
    "clothes": [AspiredVersion(ServableId("clothes", version), Path(f"/clothes/{version}")) for version in (1, 2)],
}


def test_start_states_the_versions_of_every_model_once_and_nothing_is_said_before() -> None:
    target = Target()
    source = StaticSource(target, VERSIONS)
    assert target.calls == []
    source.start()
    source.stop()
    assert target.calls == list(VERSIONS.items())


def test_there_is_nothing_to_wait_for_and_nothing_that_can_go_wrong() -> None:
    source = StaticSource(Target(), VERSIONS)
    source.start()
    assert source.wait_first_look(0)
    assert source.problems == {}
