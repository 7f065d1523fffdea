from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.loadgen.pace import NEVER, ClosedPace, OpenPace, Pace

SECOND = 1_000_000_000


def all_due(pace: Pace, now: int) -> list[int]:
    due = []
    while (one := pace.take(now)) is not None:
        due.append(one)
    return due


def test_in_a_closed_loop_a_request_begins_whenever_somebody_asks_until_the_time_is_over() -> None:
    pace = ClosedPace(100, warmup_seconds=1, seconds=2, requests=None)
    assert pace.measured_from == 100 + SECOND
    assert pace.take(150) == 150
    assert pace.take(pace.end - 1) == pace.end - 1
    assert pace.take(pace.end) is None
    assert pace.next_due() is NEVER


def test_requests_of_the_warm_up_are_not_among_those_that_are_counted() -> None:
    pace = ClosedPace(0, warmup_seconds=1, seconds=9, requests=2)
    assert [pace.take(now) for now in (0, 5, SECOND, SECOND + 1, SECOND + 2)] == [0, 5, SECOND, SECOND + 1, None]


def test_equal_gaps_do_not_drift() -> None:
    pace = OpenPace(0, 0, seconds=10, requests=None, rate=3, poisson_seed=None)
    due = all_due(pace, 10 * SECOND)
    assert due == [round(number * SECOND / 3) for number in range(30)]


def test_in_an_open_loop_a_request_counts_from_when_it_was_due_however_late_somebody_asks() -> None:
    pace = OpenPace(0, 0, seconds=1, requests=None, rate=4, poisson_seed=None)
    assert pace.take(0) == 0
    assert pace.take(0) is None
    assert pace.next_due() == SECOND // 4
    assert all_due(pace, 5 * SECOND) == [SECOND // 4, SECOND // 2, 3 * SECOND // 4]
    assert pace.next_due() is NEVER


@given(st.floats(0.5, 1e5), st.booleans())
def test_no_request_is_handed_out_before_it_is_due_or_twice(rate: float, poisson: bool) -> None:
    pace = OpenPace(0, 0, seconds=20 / rate, requests=None, rate=rate, poisson_seed=1 if poisson else None)
    taken = []
    while (due := pace.next_due()) is not NEVER:
        assert pace.take(due - 1) is None
        taken.append(pace.take(due))
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(taken))


def test_random_gaps_are_those_of_a_poisson_process_and_the_same_for_a_seed() -> None:
    first, second = (OpenPace(0, 0, seconds=100, requests=None, rate=100, poisson_seed=7) for _ in range(2))
    due = all_due(first, 200 * SECOND)
    assert due == all_due(second, 200 * SECOND)
    gaps = [(b - a) / SECOND for a, b in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.05)
    # Of an exponential distribution, the variance is the square of the mean.
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)


def test_an_open_loop_ends_after_the_requests_that_it_was_told() -> None:
    pace = OpenPace(0, 0.5, seconds=100, requests=3, rate=2, poisson_seed=None)
    assert len(all_due(pace, 100 * SECOND)) == 1 + 3


@given(
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(0, 30)),
    st.one_of(st.none(), st.integers(0, 5)),
    st.lists(st.tuples(st.integers(0, 4 * SECOND), st.integers(0, 20)), max_size=6),
)
def test_requests_that_somebody_else_begins_are_those_that_would_have_been_handed_out(
    rate: int, requests: int | None, seed: int | None, turns: list[tuple[int, int]]
) -> None:
    def made() -> OpenPace:
        return OpenPace(100, 1, seconds=2, requests=requests, rate=rate, poisson_seed=seed)

    expected = all_due(made(), 4 * SECOND)
    pace, found = made(), []
    for until, most in turns:
        coming = pace.coming(until)
        begun = coming[:most].tolist()
        pace.took(len(begun))
        found += begun
        assert pace.next_due() == (expected[len(found)] if len(found) < len(expected) else NEVER)
        if (one := pace.take(until)) is not None:
            found.append(one)
    assert found + all_due(pace, 4 * SECOND) == expected


def test_of_a_closed_loop_nothing_is_known_before_and_what_others_begin_is_no_more_left() -> None:
    pace = ClosedPace(0, warmup_seconds=0, seconds=9, requests=3)
    assert pace.coming(SECOND) is None
    pace.took(2)
    assert [pace.take(1), pace.take(2)] == [1, None]
