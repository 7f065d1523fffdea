from __future__ import annotations

from itertools import product

import pytest

from hotserve.core.states import LEGAL_MOVES, State

START, LOADING, AVAILABLE, UNLOADING, END = State

MOVES = {
    (START, LOADING),
    (START, END),  # no longer aspired, before anything was done
    (LOADING, AVAILABLE),
    (LOADING, END),  # failed
    (AVAILABLE, UNLOADING),
    (UNLOADING, END),
    (END, START),  # aspired again, or changed after a failure
}


@pytest.mark.parametrize(("before", "after"), list(product(State, State)), ids=lambda state: state.name)
def test_only_the_moves_of_the_published_life_cycle_are_legal(before: State, after: State) -> None:
    assert (after in LEGAL_MOVES[before]) == ((before, after) in MOVES)


def test_the_numbers_are_those_of_model_version_status() -> None:
    assert {state.name: state.value for state in State} == {
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    }


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        LEGAL_MOVES[START] = frozenset(State)  # type: ignore[index]
