from __future__ import annotations

import argparse

import pytest

from hotserve.cli.number_flags import positive, whole


def test_numbers_within_the_bounds_are_taken() -> None:
    assert [whole(1, 9)(text) for text in ("1", "9")] == [1, 9]
    assert [positive(2.5)(text) for text in ("1e-9", "2.5")] == [1e-9, 2.5]
    assert positive(1, or_zero=True)("0") == 0


@pytest.mark.parametrize("text", ["0", "10", "-1", "1.5", "x", ""])
def test_wholes_beyond_them_are_not(text: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        whole(1, 9)(text)


@pytest.mark.parametrize("text", ["0", "-1", "2.6", "nan", "inf", "x"])
def test_numbers_beyond_them_are_not(text: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        positive(2.5)(text)
