from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredVersion
from hotserve.core.version_policy import Latest
from hotserve.sources.folder import WatchedModel
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


def test_another_list_of_models_aspires_those_that_have_versions_and_names_those_that_have_none() -> None:
    target = Target()
    source = StaticSource(target, VERSIONS)
    source.start()
    source.set_models([WatchedModel(name, Path("/unused"), Latest()) for name in ("digits", "birds")])
    assert dict(target.calls) == {"digits": VERSIONS["digits"], "clothes": ()}
    assert source.problems == {"birds": "Its versions are not known here. Models with versions: clothes, digits."}
