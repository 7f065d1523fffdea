from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.sources.versions import twins_among, version_number, versions_among

INT64_MAX = 9223372036854775807


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("00000123", 123),
        ("000", 0),
        ("+5", 5),
        ("+005", 5),
        (" 7", 7),
        ("7\t", 7),
        ("\n 7 \n", 7),
        ("1700000000", 1_700_000_000),
        (str(INT64_MAX), INT64_MAX),
        ("0" * 30 + str(INT64_MAX), INT64_MAX),
    ],
)
def test_what_parses_as_an_int64_is_a_version(name: str, number: int) -> None:
    assert version_number(name) == number


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "+",
        "v1",
        "1.0",
        "1e3",
        "0x10",
        "1_000",
        "1 2",
        "+ 1",
        "++1",
        "1+",
        "-1",  # parses in the original, and is outside its contract
        "-0",
        "1.tmp",
        ".1",
        "1~",
        "latest",
        "saved_model.pb",
        "tmp-1",
        "\u0661",  # a digit, but not an ASCII one
        "\u00b2",
        "\u00a01",  # white space, but not ASCII
        str(INT64_MAX + 1),
        "99999999999999999999",
        "9" * 5000,  # more digits than `int` would take from a string
    ],
)
def test_everything_else_is_not(name: str) -> None:
    assert version_number(name) is None


@given(
    st.integers(0, INT64_MAX),
    st.integers(0, 20),
    st.sampled_from(["", "+"]),
    st.text(" \t\n\r\f\v", max_size=3),
    st.text(" \t\n\r\f\v", max_size=3),
)
def test_zeros_a_plus_and_white_space_around_change_nothing(
    number: int, zeros: int, sign: str, before: str, after: str
) -> None:
    assert version_number(f"{before}{sign}{'0' * zeros}{number}{after}") == number


@given(st.text(max_size=30))
def test_no_name_raises_and_every_number_is_an_int64(name: str) -> None:
    number = version_number(name)
    assert number is None or 0 <= number <= INT64_MAX


def test_versions_map_to_the_names_of_their_folders_and_the_rest_is_left_out() -> None:
    names = ["0002", "10", "tmp", "README.md", ".git", "-3"]
    assert versions_among(names) == {2: "0002", 10: "10"}


@pytest.mark.parametrize("names", [("1", "001"), ("001", "1")])
def test_of_two_names_for_one_number_the_lexicographically_last_counts(names: tuple[str, str]) -> None:
    assert versions_among(names) == {1: "1"}
    assert versions_among(("+1", " 1", *names)) == {1: "1"}


def test_twins_are_told_with_all_their_names() -> None:
    assert twins_among(["2", "1", "001", "01", "x"]) == {1: ("001", "01", "1")}


@given(st.lists(st.text("0123+ x", max_size=4), unique=True))
def test_every_version_is_the_number_of_its_name_and_twins_are_those_that_share_one(names: list[str]) -> None:
    found = versions_among(names)
    assert all(version_number(name) == number for number, name in found.items())
    assert found.keys() == {version_number(name) for name in names} - {None}
    for number, twins in twins_among(names).items():
        assert set(twins) == {name for name in names if version_number(name) == number}
        assert found[number] == max(twins)
    assert len(names) - names_of_no_version(names) - len(found) == sum(
        len(twins) - 1 for twins in twins_among(names).values()
    )


def names_of_no_version(names: list[str]) -> int:
    return sum(version_number(name) is None for name in names)
