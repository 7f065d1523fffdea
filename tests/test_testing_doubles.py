from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredVersion
from hotserve.errors import InvalidArgument, ServingError
from hotserve.tensors import DEFAULT_SIGNATURE
from hotserve.testing import FakeClock, FakeLoader, FakeServable, FakeSource

PATIENCE = 30.0
PATH = Path("/models/m/3")


def test_the_servable_adds_its_version_and_counts_its_runs() -> None:
    servable = FakeServable(PATH)
    answer = servable.run(DEFAULT_SIGNATURE, {"x": np.array([1, 2], np.float32)}, ["y"])
    assert answer["y"].dtype == np.float32
    assert answer["y"].tolist() == [4.0, 5.0]
    assert servable.runs == 1


def test_the_servable_gives_what_its_signature_says() -> None:
    servable = FakeServable(PATH)
    signature = servable.signatures[DEFAULT_SIGNATURE]
    inputs = {name: np.zeros(2, spec.dtype.numpy) for name, spec in signature.inputs.items()}
    answer = servable.run(DEFAULT_SIGNATURE, inputs, list(signature.outputs))
    assert answer.keys() == signature.outputs.keys()
    assert all(
        spec.accepts(answer[name].shape) and answer[name].dtype == spec.dtype.numpy
        for name, spec in signature.outputs.items()
    )


def test_the_servable_remembers_that_it_was_unloaded() -> None:
    servable = FakeServable(PATH)
    assert not servable.unloaded
    servable.unload()
    assert servable.unloaded


def test_a_load_ends_at_once_unless_it_is_held() -> None:
    loader = FakeLoader()
    assert loader.load(PATH) is loader.servables[PATH]
    assert loader.started == [PATH]


def test_a_held_load_ends_when_it_is_told_to() -> None:
    loader = FakeLoader(hold=True)
    loading = threading.Thread(target=loader.load, args=(PATH,))
    loading.start()
    assert loader.wait_started(PATH, PATIENCE)
    assert PATH not in loader.servables
    loader.finish(PATH)
    loading.join(PATIENCE)
    assert PATH in loader.servables


def test_a_held_load_fails_when_it_is_told_to() -> None:
    loader = FakeLoader(hold=True)
    errors: list[ServingError] = []

    def load() -> None:
        try:
            loader.load(PATH)
        except ServingError as error:
            errors.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    assert loader.wait_started(PATH, PATIENCE)
    bad = InvalidArgument("bad")
    loader.fail(PATH, bad)
    loading.join(PATIENCE)
    assert errors == [bad]


def test_a_load_can_be_told_to_fail_before_it_comes_and_to_end_well_when_it_comes_again() -> None:
    loader = FakeLoader()
    loader.fail(PATH)
    with pytest.raises(ServingError, match="no good"):
        loader.load(PATH)
    loader.finish(PATH)
    assert loader.load(PATH) is loader.servables[PATH]


def test_a_load_that_never_begins_is_not_waited_for_longer_than_asked() -> None:
    assert not FakeLoader().wait_started(PATH, 0)


class Target:
    def __init__(self) -> None:
        self.calls: list[tuple[str, list[AspiredVersion]]] = []

    def set_aspired(self, name: str, versions: Sequence[AspiredVersion]) -> None:
        self.calls.append((name, list(versions)))


def test_the_source_says_what_it_is_told_to_say() -> None:
    target = Target()
    source = FakeSource(target)
    source.aspire("m", 1, 2, waiting={2: "weights"})
    source.aspire("m")
    assert target.calls == [
        (
            "m",
            [
                AspiredVersion(ServableId("m", 1), source.path("m", 1)),
                AspiredVersion(ServableId("m", 2), source.path("m", 2), waiting_for="weights"),
            ],
        ),
        ("m", []),
    ]


def test_time_passes_when_it_is_told_to() -> None:
    clock = FakeClock(100.0)
    assert clock() == 100.0
    clock.advance(2.5)
    assert clock() == 102.5
