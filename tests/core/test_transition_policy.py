from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.core.states import State
from hotserve.core.transition_policy import Step, VersionSnapshot, preserve_availability, preserve_resources

START, LOADING, AVAILABLE, UNLOADING, END = State


def aspired(version: int, state: State) -> VersionSnapshot:
    return VersionSnapshot(version, state, aspired=True, loadable=True)


def incomplete(version: int) -> VersionSnapshot:
    return VersionSnapshot(version, START, aspired=True, loadable=False)


def unwanted(version: int, state: State) -> VersionSnapshot:
    return VersionSnapshot(version, state, aspired=False, loadable=True)


@pytest.mark.parametrize(
    ("versions", "step"),
    [
        pytest.param([], None, id="nothing is known"),
        pytest.param([aspired(1, START)], (Step.LOAD, 1), id="the first version loads"),
        pytest.param([aspired(1, START), aspired(2, START)], (Step.LOAD, 2), id="the highest loads first"),
        pytest.param([aspired(1, START), incomplete(2)], (Step.LOAD, 1), id="an incomplete one holds back no other"),
        pytest.param([incomplete(2)], None, id="an incomplete version never loads"),
        pytest.param([aspired(1, START), aspired(2, LOADING)], None, id="one load at a time in a model"),
        pytest.param([aspired(1, START), aspired(2, AVAILABLE)], (Step.LOAD, 1), id="then the next lower one"),
        pytest.param([unwanted(1, LOADING), aspired(2, START)], None, id="also while the one loading is unwanted"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, START)], (Step.LOAD, 2), id="new before old"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, LOADING)], None, id="the old stays while the new loads"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, AVAILABLE)], (Step.UNLOAD, 1), id="then the old goes"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, END)], None, id="the old stays when the new has failed"),
        pytest.param([unwanted(1, AVAILABLE), incomplete(2)], None, id="the old stays while the new is incomplete"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, UNLOADING)], None, id="one that is leaving covers nothing"),
        pytest.param([unwanted(2, AVAILABLE), aspired(1, START)], (Step.LOAD, 1), id="a step back is a swap, too"),
        pytest.param(
            [unwanted(1, AVAILABLE), unwanted(2, AVAILABLE), aspired(3, START)],
            (Step.UNLOAD, 1),
            id="one unwanted version is enough to bridge the gap: the highest",
        ),
        pytest.param(
            [unwanted(1, AVAILABLE), unwanted(2, AVAILABLE), aspired(3, AVAILABLE)],
            (Step.UNLOAD, 1),
            id="the lowest goes first",
        ),
        pytest.param(
            [unwanted(1, AVAILABLE), aspired(2, AVAILABLE), aspired(3, START)],
            (Step.UNLOAD, 1),
            id="unloading comes before loading",
        ),
        pytest.param([unwanted(1, AVAILABLE)], (Step.UNLOAD, 1), id="nothing is wanted, so nothing is kept"),
        pytest.param([unwanted(1, START), unwanted(2, LOADING), unwanted(3, UNLOADING)], None, id="on their way"),
        pytest.param([unwanted(1, END), aspired(2, END)], None, id="what has ended stays so"),
        pytest.param([aspired(1, AVAILABLE), aspired(2, AVAILABLE)], None, id="all is well"),
    ],
)
def test_the_next_step_keeps_the_model_answering(
    versions: list[VersionSnapshot], step: tuple[Step, int] | None
) -> None:
    assert preserve_availability(versions) == step
    assert preserve_availability(reversed(versions)) == step


snapshots = st.dictionaries(
    st.integers(1, 5), st.tuples(st.sampled_from(State), st.booleans(), st.booleans()), max_size=5
).map(lambda known: [VersionSnapshot(version, *facts) for version, facts in known.items()])


@given(snapshots)
def test_a_step_is_always_one_that_its_version_can_take(versions: list[VersionSnapshot]) -> None:
    step = preserve_availability(versions)
    by_number = {snapshot.version: snapshot for snapshot in versions}
    match step:
        case Step.LOAD, version:
            subject = by_number[version]
            assert (subject.state, subject.aspired, subject.loadable) == (START, True, True)
        case Step.UNLOAD, version:
            subject = by_number[version]
            assert (subject.state, subject.aspired) == (AVAILABLE, False)


@given(snapshots)
def test_no_step_takes_the_last_available_version_from_a_model_that_is_wanted(
    versions: list[VersionSnapshot],
) -> None:
    available = {snapshot.version for snapshot in versions if snapshot.state is AVAILABLE}
    match preserve_availability(versions):
        case Step.UNLOAD, version if any(snapshot.aspired for snapshot in versions):
            assert available - {version}


@pytest.mark.parametrize(
    ("versions", "step"),
    [
        pytest.param([], None, id="nothing is known"),
        pytest.param([aspired(1, START), aspired(2, START)], (Step.LOAD, 2), id="the highest loads first"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, START)], (Step.UNLOAD, 1), id="old before new"),
        pytest.param([unwanted(1, UNLOADING), aspired(2, START)], None, id="the new waits until the old is gone"),
        pytest.param([unwanted(1, LOADING), aspired(2, START)], None, id="also for one that has begun to load"),
        pytest.param([unwanted(1, END), aspired(2, START)], (Step.LOAD, 2), id="then it loads"),
        pytest.param([unwanted(1, AVAILABLE), incomplete(2)], None, id="the old stays while the new is incomplete"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, END)], None, id="and when the new has failed before"),
        pytest.param([unwanted(1, AVAILABLE), aspired(2, AVAILABLE)], (Step.UNLOAD, 1), id="one is enough"),
        pytest.param([unwanted(1, AVAILABLE), unwanted(2, AVAILABLE)], (Step.UNLOAD, 1), id="the lowest goes first"),
        pytest.param([aspired(1, AVAILABLE), aspired(2, LOADING)], None, id="all is on its way"),
    ],
)
def test_the_next_step_gives_resources_back_first(versions: list[VersionSnapshot], step: tuple[Step, int]) -> None:
    assert preserve_resources(versions) == step
    assert preserve_resources(reversed(versions)) == step


@given(snapshots)
def test_nothing_loads_beside_a_version_that_is_not_wanted(versions: list[VersionSnapshot]) -> None:
    match preserve_resources(versions):
        case Step.LOAD, version:
            assert next(v for v in versions if v.version == version).loadable
            assert all(v.aspired or v.state in (START, END) for v in versions)
        case Step.UNLOAD, version:
            assert (False, AVAILABLE) in {(v.aspired, v.state) for v in versions if v.version == version}
