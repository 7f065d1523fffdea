"""What is read may have come since its connection was read before."""

from __future__ import annotations

import pytest

from hotserve.batching.reading_age import ReadingAge


def turn(age: ReadingAge, began: float, ended: float) -> None:
    age.read(began)
    age.end_turn(ended)


def test_what_is_read_first_has_just_come() -> None:
    age = ReadingAge()
    age.read(1000.0)
    assert age.at(1000.0) == 0
    assert age.at(1000.5) == pytest.approx(0.5)


def test_what_is_read_in_one_turn_after_the_other_has_come_since_the_one_before_began() -> None:
    age = ReadingAge()
    turn(age, 1000.0, 1000.8)
    age.read(1000.801)
    assert age.at(1000.801) == pytest.approx(0.801)
    assert age.at(1001.0) == pytest.approx(1.0)
    age.end_turn(1001.1)
    age.read(1001.101)
    assert age.at(1001.101) == pytest.approx(0.3)


def test_only_the_first_request_of_a_turn_says_when_it_began() -> None:
    age = ReadingAge()
    turn(age, 1000.0, 1000.1)
    age.read(1000.1)
    age.read(1000.3)
    age.end_turn(1000.4)
    age.read(1000.4)
    assert age.at(1000.4) == pytest.approx(0.3)


def test_what_comes_after_the_loop_had_to_wait_for_it_has_just_come() -> None:
    age = ReadingAge()
    turn(age, 1000.0, 1000.001)
    age.read(1007.0)
    assert age.at(1007.0) == 0


def test_a_gap_that_is_short_beside_the_turn_before_it_is_no_wait() -> None:
    age = ReadingAge()
    turn(age, 1000.0, 1001.0)
    age.read(1001.3)  # a thousand connections had to be written to
    assert age.at(1001.3) == pytest.approx(1.3)


def test_what_is_read_after_a_turn_that_brought_nothing_has_come_since_then() -> None:
    age = ReadingAge()
    turn(age, 1000.0, 1000.1)
    age.end_turn(1060.0)
    age.read(1060.001)
    assert age.at(1060.001) == pytest.approx(0.001)
