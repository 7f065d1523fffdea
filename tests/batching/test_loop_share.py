"""Runs on the event loop leave it time for everything else."""

from __future__ import annotations

from math import inf

import pytest

from hotserve.batching.loop_share import LoopShare


@pytest.fixture
def share() -> LoopShare:
    """A run has ended at 1000 s."""
    share = LoopShare()
    run(share, 999.0, 1000.0)
    share.end_turn()
    return share


def run(share: LoopShare, began: float, ended: float) -> None:
    share.begin_run(began)
    share.end_run(ended)


def test_a_turn_has_a_run_whatever_was_before(share: LoopShare) -> None:
    share.begin_turn()
    assert share.may_run(1000.0, 0.0)


def test_further_runs_of_a_turn_take_three_times_of_what_the_loop_has_done_before(share: LoopShare) -> None:
    share.begin_turn()
    run(share, 1000.01, 1000.02)  # a hundredth of a second was read
    assert share.may_run(1000.039, 0.0)
    assert not share.may_run(1000.041, 0.0)
    share.begin_turn()
    assert share.may_run(1000.041, 0.0)


@pytest.mark.parametrize(("patience", "longest"), [(0.0, 0.05), (0.1, 0.05), (1.0, 0.25), (60.0, 1.0)])
def test_runs_end_in_time_for_everybody_else_and_later_where_others_are_refused(
    share: LoopShare, patience: float, longest: float
) -> None:
    share.begin_turn()
    run(share, 1005.0, 1005.01)
    assert share.may_run(1005.0 + longest - 0.001, patience)
    assert not share.may_run(1005.0 + longest + 0.001, patience)


def test_runs_that_do_not_wait_for_the_end_of_a_turn_share_its_time_with_those_that_do(share: LoopShare) -> None:
    assert share.may_run_early(1000.01, inf)
    since = share.early_since()
    run(share, 1000.01, 1000.03)
    share.end_early(since, 0.02)
    assert share.may_run_early(1000.04, inf)  # of which the loop has read for two hundredths
    share.begin_turn()
    run(share, 1000.04, 1000.05)
    assert share.may_run(1000.069, 0.0)
    assert not share.may_run(1000.071, 0.0)


def test_runs_that_do_not_wait_for_the_end_of_a_turn_take_half_a_second_of_it(share: LoopShare) -> None:
    since = share.early_since()
    share.end_early(since, 0.51)
    assert not share.may_run_early(1010.0, inf)
    share.end_turn()
    assert share.may_run_early(1010.0, inf)
    assert not share.may_run_early(1000.51, inf)  # nothing has been read since


def test_they_take_no_more_than_a_tenth_of_the_time_of_those_who_run(share: LoopShare) -> None:
    since = share.early_since()
    share.end_early(since, 0.11)
    assert not share.may_run_early(1010.0, 1.0)
    assert share.may_run_early(1010.0, 2.0)


def test_runs_are_counted_and_it_is_known_when_the_last_one_ended(share: LoopShare) -> None:
    assert (share.begun, share.ended) == (1, 1000.0)
