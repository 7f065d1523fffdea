from __future__ import annotations

import pytest

from hotserve.platforms.engines.other_shapes import other_shapes, sized


def test_a_column_may_be_a_row_of_numbers_a_matrix_or_a_number() -> None:
    assert other_shapes({"x": (None, 1)}) == [{"x": (None,)}, {"x": (None, None)}, {"x": ()}]


def test_a_fixed_number_of_rows_may_be_any() -> None:
    assert other_shapes({"x": (4, 6)})[0] == {"x": (None, 6)}
    assert other_shapes({"x": (1,)})[0] == {"x": (None,)}


def test_what_is_declared_is_not_among_them_and_nothing_is_there_twice() -> None:
    for declared in ((None,), (None, None), (1,), (), (None, 3, 3)):
        found = [shapes["x"] for shapes in other_shapes({"x": declared})]
        assert declared not in found
        assert len(set(found)) == len(found)


def test_where_ranks_must_not_change_only_the_number_of_rows_does() -> None:
    assert other_shapes({"x": (2, 28, 28, 1)}, are_ranks_free=False) == [{"x": (None, 28, 28, 1)}]
    assert other_shapes({"x": (None, 28, 28, 1)}, are_ranks_free=False) == []


def test_inputs_change_together_and_those_of_different_ranks_keep_them() -> None:
    assert {"x": (None,), "y": (None,)} in other_shapes({"x": (None, 1), "y": (None, 2)})
    assert other_shapes({"x": (3, 2), "k": ()}) == [{"x": (None, 2), "k": ()}]


def test_of_an_unknown_rank_all_are_tried() -> None:
    assert other_shapes({"x": None}) == [{"x": (None,)}, {"x": (None, None)}, {"x": ()}]


@pytest.mark.parametrize(("shape", "expected"), [((None, None, 3), (8, 2, 3)), ((4, None), (4, 2)), ((), ())])
def test_what_is_free_gets_a_size(shape: tuple[int | None, ...], expected: tuple[int, ...]) -> None:
    assert sized(shape, 8, 2) == expected
