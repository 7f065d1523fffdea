from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.batching.run_times import RunTimes


def test_nothing_is_known_before_the_first_run() -> None:
    assert RunTimes().of(100) is None


def test_larger_inputs_take_longer_in_proportion() -> None:
    times = RunTimes()
    times.learn(100, 1.0)
    assert times.of(100) == 1.0
    assert times.of(120) == pytest.approx(1.2)
    assert times.of(1000) == pytest.approx(10.0)


def test_smaller_inputs_are_not_thought_to_take_less_until_they_have() -> None:
    times = RunTimes()
    times.learn(3200, 1.0)
    assert times.of(100) == 1.0
    times.learn(100, 0.1)
    assert times.of(100) == 0.1
    assert times.of(3200) == 1.0


def test_what_is_between_takes_no_longer_than_what_is_larger() -> None:
    times = RunTimes()
    times.learn(100, 1.0)
    times.learn(3200, 2.0)
    assert times.of(1600) == 2.0
    assert times.of(200) == pytest.approx(2.0)


def test_faster_counts_at_once_and_slower_by_and_by() -> None:
    times = RunTimes()
    times.learn(100, 1.0)
    times.learn(100, 2.0)
    assert times.of(100) == pytest.approx(1.2)
    times.learn(100, 0.5)
    assert times.of(100) == 0.5


def test_inputs_without_a_byte_have_a_time_as_well() -> None:
    times = RunTimes()
    times.learn(0, 1.0)
    assert times.of(0) == 1.0
    assert times.of(8) == pytest.approx(8.0)


def test_a_thread_that_was_kept_from_its_processor_once_does_not_make_a_short_run_a_long_one() -> None:
    times = RunTimes()
    times.learn(100, 0.00002)
    times.learn(100, 0.02)
    expected = times.of(100)
    assert expected is not None
    assert 0.00002 < expected < 0.00005


def test_runs_that_go_on_being_slow_are_believed() -> None:
    times = RunTimes()
    times.learn(100, 0.00002)
    for _ in range(40):
        times.learn(100, 0.02)
    assert times.of(100) == pytest.approx(0.02, rel=0.1)


def test_a_run_that_is_longer_than_any_jolt_counts_as_before() -> None:
    times = RunTimes()
    times.learn(100, 0.00002)
    times.learn(100, 1.0)
    assert times.of(100) == pytest.approx(0.2, rel=0.01)


@given(
    st.lists(st.tuples(st.integers(1, 1 << 20), st.floats(1e-6, 1.0)), min_size=1, max_size=8),
    st.sampled_from([1e-4, 2e-3, 0.1]),
)
def test_what_is_said_to_be_within_a_time_is_expected_to_be(runs: list[tuple[int, float]], seconds: float) -> None:
    times = RunTimes()
    for size, took in runs:
        times.learn(size, took)
    largest = int(times.size_within(seconds))
    if largest >= 1:
        expected = times.of(largest)
        assert expected is not None
        assert expected <= seconds * 1.000001


def test_before_the_first_run_no_size_is_known_to_be_within_any_time() -> None:
    assert RunTimes().size_within(1.0) == 0


def test_what_takes_longer_bounds_what_is_told_from_what_is_faster() -> None:
    times = RunTimes()
    times.learn(4, 0.001)
    assert times.size_within(0.002) == pytest.approx(8)
    times.learn(64, 0.004)
    assert times.size_within(0.002) == pytest.approx(8)
    times.learn(16, 0.001)
    assert times.size_within(0.002) == pytest.approx(32)


def test_a_new_era_begins_where_somebody_may_decide_otherwise() -> None:
    times = RunTimes()
    times.learn(4, 0.00001)
    era = times.era
    times.learn(4, 0.00003)
    times.learn(5, 0.00002)
    assert times.era is era
    times.learn(100, 0.00002)  # of another size, of which nothing was known
    assert times.era is not era
    era = times.era
    for _ in range(30):
        times.learn(4, 0.001)
    assert times.era is not era
    times.learn(4, 0.001)
    era = times.era
    times.learn(4, 0.00099)
    assert times.era is era
    times.learn(4, 0.0005)
    assert times.era is not era


def test_a_size_that_has_seemed_slow_is_tried_again_after_many_runs_of_others() -> None:
    times = RunTimes()
    times.learn(100, 0.0001)
    times.learn(1000, 0.005)
    assert times.size_within(0.002) < 1000
    for _ in range(600):
        times.learn(100, 0.0001)
    assert times.of(1000) == pytest.approx(0.001)
    assert times.size_within(0.002) >= 1000


def test_a_size_whose_runs_are_long_is_never_taken_for_a_fast_one() -> None:
    times = RunTimes()
    times.learn(100, 0.0001)
    times.learn(1000, 0.5)
    for _ in range(600):
        times.learn(100, 0.0001)
    assert times.of(1000) == 0.5
