from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotserve.config.model_config import ModelConfig
from hotserve.core.served_versions import ModelSpec
from hotserve.core.version_policy import All, Latest, Specific, aspired_versions
from hotserve.errors import InvalidArgument, ServingError
from support.reloading import PATIENCE, Reloading
from support.server_process import wait_until

UNTOUCHED = ("steady", "calm")
"""Models that every list has, and that no list changes."""

OTHERS = ("p", "q", "r", "broken", "missing")
"""Models that come, go and change; `broken` does not load, and `missing` has no folder."""

VERSIONS = {"steady": (1,), "calm": (1,), "p": (1, 2), "q": (1, 2), "r": (1,)}
"""Base path -> the good versions in it."""


class Traffic:
    """Asks for the untouched models all the time.

    Attributes:
        answered: How many requests were answered.
        errors: What the others met.
    """

    def __init__(self, served: Reloading) -> None:
        self.answered = 0
        self.errors: list[Exception] = []
        self._served = served
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        order = random.Random(7)
        while not self._stop.is_set():
            name = order.choice(UNTOUCHED)
            spec = ModelSpec(name, label="stable") if order.random() < 0.5 else ModelSpec(name)
            try:
                with self._served.manager.lease(spec) as lease:
                    assert lease.id.version == 1
                    assert not self._served.loader.servables[self._served.folder / name / "1"].unloaded
                self.answered += 1
            except Exception as error:  # noqa: BLE001 - whatever a request meets is the finding
                self.errors.append(error)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()


@dataclass(frozen=True)
class Entry:
    """An entry of a list: of which model, from which folder, and with what else."""

    name: str
    folder: str
    fields: tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Step:
    """One reload: entries beside those of the untouched models, and whether one of these is spoiled."""

    entries: tuple[Entry, ...]
    spoil: str
    two_at_once: bool


policies = st.sampled_from([Latest(), Latest(2), All(), Specific((1,)), Specific((9,))])
labels = st.dictionaries(st.sampled_from(["stable", "canary"]), st.sampled_from([1, 2, 9]))
entries = st.builds(
    lambda name, folder, policy, chosen: Entry(
        name, folder or name, (("version_policy", policy), ("version_labels", chosen))
    ),
    st.sampled_from(OTHERS),
    st.sampled_from(["", "p", "missing"]),
    policies,
    labels,
)
steps = st.builds(
    Step,
    st.lists(entries, max_size=4, unique_by=lambda entry: entry.name).map(tuple),
    st.sampled_from(["", "", "", "twice", "platform", "changed platform"]),
    st.booleans(),
)


def configs(served: Reloading, step: Step) -> list[ModelConfig]:
    untouched = [served.config(name, version_labels={"stable": 1}) for name in UNTOUCHED]
    listed = [ModelConfig(e.name, served.folder / e.folder, **dict(e.fields)) for e in step.entries]  # type: ignore[arg-type]
    match step.spoil:
        case "twice":
            return [*untouched, *listed, untouched[0]]
        case "platform":
            return [*untouched, *listed, served.config("x", platform="cobol")]
        case "changed platform":
            return [replace(untouched[0], platform="onnx"), *untouched[1:], *listed]
        case _:
            return [*untouched, *listed]


def reload(served: Reloading, models: Sequence[ModelConfig], *, bad: bool) -> None:
    before = served.reloader.models
    try:
        served.reloader.apply(models)
    except ServingError:
        return  # a label may be refused as well; which list is served then is checked in the end
    assert not bad, f"{models} was applied to {before}"


@given(st.lists(steps, min_size=1, max_size=8))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_no_reload_disturbs_a_model_that_it_does_not_change(todo: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder, Reloading(Path(folder)) as served:
        for name, versions in VERSIONS.items():
            for version in versions:
                served.add(name, version)
        served.loader.fail(served.add("broken", 1), InvalidArgument("broken"))
        served.reload(*configs(served, Step((), "", False)))
        with Traffic(served) as traffic:
            for step in todo:
                models = configs(served, step)
                beside = threading.Thread(target=served.reloader.apply, args=(models[:2],))
                if step.two_at_once and not step.spoil:
                    beside.start()
                reload(served, models, bad=step.spoil != "")
                if beside.is_alive():
                    beside.join()
            check_what_is_served(served)
        assert traffic.errors == []
        assert traffic.answered > 0
        for name in UNTOUCHED:
            assert served.loader.started.count(served.folder / name / "1") == 1


def check_what_is_served(served: Reloading) -> None:
    """Everything settles, and then exactly the models of the last list answer, but for those that cannot."""
    names = [model.name for model in served.reloader.models]
    assert served.poller.wait_first_look(PATIENCE)
    for name in OTHERS:
        if name not in names:
            wait_until(lambda name=name: not served.available(name), PATIENCE, f"{name} is unloaded")
    assert set(served.health.readiness().models) == set(names)
    for model in served.reloader.models:
        versions = VERSIONS.get(model.base_path.name)
        if versions is not None and model.name != "broken":
            expected = set(aspired_versions(model.version_policy, versions))
            wait_until(
                lambda model=model, expected=expected: served.available(model.name) == expected, PATIENCE, f"{model}"
            )
