from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.loadgen.histogram import RELATIVE_ERROR, Histogram

NANOSECONDS = st.integers(0, 2**43)
PERCENTS = st.floats(0.1, 100)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def by_nearest_rank(values: list[int], percent: float) -> int:
    rank = max(1, math.ceil(round(percent / 100 * len(values), 6)))
    return sorted(values)[min(rank, len(values)) - 1]


@given(st.lists(NANOSECONDS, min_size=1), PERCENTS)
def test_a_percentile_is_as_near_to_the_number_that_it_stands_for_as_is_promised(
    values: list[int], percent: float
) -> None:
    expected = by_nearest_rank(values, percent)
    assert abs(of(values).percentile(percent) - expected) <= expected * RELATIVE_ERROR


@given(st.lists(st.integers(0, 255), min_size=1), PERCENTS)
def test_small_numbers_are_exact(values: list[int], percent: float) -> None:
    assert of(values).percentile(percent) == by_nearest_rank(values, percent)


@given(st.lists(NANOSECONDS, min_size=1))
def test_count_total_mean_smallest_and_largest_are_exact(values: list[int]) -> None:
    histogram = of(values)
    assert (histogram.count, histogram.total) == (len(values), sum(values))
    assert (histogram.smallest, histogram.largest) == (min(values), max(values))
    assert histogram.mean == sum(values) / len(values)
    assert histogram.percentile(100) <= histogram.largest


@given(st.lists(st.lists(st.integers(-10, 2**50))))
def test_recording_many_at_once_is_the_same_as_one_by_one(blocks: list[list[int]]) -> None:
    at_once = Histogram()
    for block in blocks:
        at_once.record_all(np.array(block, np.int64))
    one_by_one = of([value for block in blocks for value in block])
    assert list(at_once._filled()) == list(one_by_one._filled())
    assert (at_once.count, at_once.smallest, at_once.largest) == (
        one_by_one.count,
        one_by_one.smallest,
        one_by_one.largest,
    )


@given(st.lists(NANOSECONDS), st.lists(NANOSECONDS))
def test_merging_is_the_same_as_recording_all_in_one(some: list[int], others: list[int]) -> None:
    merged = of(some)
    merged.merge(of(others))
    both = of(some + others)
    assert (merged.count, merged.total, merged.smallest, merged.largest) == (
        both.count,
        both.total,
        both.smallest,
        both.largest,
    )
    if both.count:
        assert merged.percentiles([1, 50, 99.9, 100]) == both.percentiles([1, 50, 99.9, 100])


@given(st.lists(NANOSECONDS, min_size=1), st.lists(PERCENTS, min_size=1).map(sorted))
def test_several_percentiles_are_those_that_are_asked_for_one_by_one(values: list[int], percents: list[float]) -> None:
    histogram = of(values)
    assert histogram.percentiles(percents) == [histogram.percentile(percent) for percent in percents]


def test_three_nines_of_a_thousand_are_the_last_but_one() -> None:
    assert of([*range(1, 1000), 250_000]).percentile(99.9) == pytest.approx(999, rel=RELATIVE_ERROR)


def test_without_numbers_there_is_no_percentile_and_no_mean() -> None:
    assert math.isnan(Histogram().percentile(50))
    assert math.isnan(Histogram().mean)


@pytest.mark.parametrize("value", [-5, 2**60])
def test_numbers_beyond_all_cells_still_count(value: int) -> None:
    histogram = of([value])
    assert histogram.count == 1
    assert histogram.largest == max(value, 0)


def test_how_many_numbers_are_larger_than_another_one_is_known_but_for_those_near_it() -> None:
    histogram = Histogram()
    for value in (1, 200, 4_000_000, 5_010_000, 6_000_000, 7_000_000):
        histogram.record(value)
    assert histogram.above(5_000_000) in (2, 3)
    assert histogram.above(10) == 5
    assert histogram.above(8_000_000) == 0
