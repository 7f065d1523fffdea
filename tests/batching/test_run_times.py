from __future__ import annotations

import pytest

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
