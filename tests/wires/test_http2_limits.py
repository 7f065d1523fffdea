from __future__ import annotations

from hotserve.wires.http2_limits import Allowance


def spend(allowance: Allowance, now: float, number: int = 1000) -> int:
    """How many can be taken, one after the other."""
    return next((index for index in range(number) if not allowance.spend(now)), number)


def test_so_many_and_no_more() -> None:
    assert spend(Allowance(5, 0), 0.0) == 5


def test_some_come_back_with_the_time_and_never_more_than_at_first() -> None:
    allowance = Allowance(5, 2)
    assert spend(allowance, 10.0) == 5
    assert spend(allowance, 11.0) == 2
    assert spend(allowance, 11.2) == 0
    assert spend(allowance, 11.6) == 1
    assert spend(allowance, 99.0) == 5


def test_what_is_earned_comes_back_at_once() -> None:
    allowance = Allowance(2, 0)
    allowance.earn()
    assert spend(allowance, 0.0) == 2
    allowance.earn()
    assert spend(allowance, 0.0) == 1
    allowance.restore()
    assert spend(allowance, 0.0) == 2
