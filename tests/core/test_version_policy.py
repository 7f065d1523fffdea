from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.core.version_policy import All, Latest, Specific, VersionPolicy, aspired_versions, policy_text


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Latest(), "latest 1"),
        (Latest(0), "latest 1"),
        (Latest(2), "latest 2"),
        (All(), "all"),
        (Specific((4, 7)), "specific: 4, 7"),
        (Specific(()), "specific: none"),
    ],
)
def test_a_policy_in_words(policy: VersionPolicy, text: str) -> None:
    assert policy_text(policy) == text


@pytest.mark.parametrize(
    ("policy", "found", "aspired"),
    [
        (Latest(), (1, 2, 10), (10,)),
        (Latest(0), (1, 2, 10), (10,)),  # latest { num_versions: 0 }, as the contract has it
        (Latest(1), (10, 2, 1), (10,)),
        (Latest(2), (10, 2, 1), (2, 10)),
        (Latest(9), (3, 1), (1, 3)),
        (Latest(2), (), ()),
        (All(), (7, 3, 5), (3, 5, 7)),
        (All(), (), ()),
        (Specific((2,)), (1, 2, 3), (2,)),
        (Specific((3, 1)), (1, 2, 3), (1, 3)),
        (Specific((4, 2)), (1, 2, 3), (2,)),
        (Specific((2, 2)), (1, 2), (2,)),
        (Specific(()), (1, 2, 3), ()),
        (Specific((1,)), (), ()),
    ],
)
def test_a_policy_picks_from_the_versions_that_exist(
    policy: VersionPolicy, found: tuple[int, ...], aspired: tuple[int, ...]
) -> None:
    assert aspired_versions(policy, found) == aspired


def test_numbers_are_compared_as_numbers_and_not_as_text() -> None:
    assert aspired_versions(Latest(1), (9, 10)) == (10,)


def test_a_number_found_twice_counts_once() -> None:
    assert aspired_versions(Latest(2), (3, 3, 2, 1)) == (2, 3)


policies = st.one_of(
    st.builds(Latest, st.integers(0, 8)),
    st.just(All()),
    st.builds(Specific, st.lists(st.integers(0, 20)).map(tuple)),
)


@given(policies, st.sets(st.integers(0, 20)))
def test_whatever_the_policy_only_versions_that_exist_are_aspired_each_once_and_in_order(
    policy: VersionPolicy, found: set[int]
) -> None:
    aspired = aspired_versions(policy, found)
    assert set(aspired) <= found
    assert list(aspired) == sorted(set(aspired))


@given(st.integers(0, 8), st.sets(st.integers(0, 20)))
def test_latest_leaves_out_no_version_that_is_higher_than_one_it_takes(count: int, found: set[int]) -> None:
    aspired = aspired_versions(Latest(count), found)
    assert len(aspired) == min(max(1, count), len(found))
    assert all(left_out < min(aspired) for left_out in found.difference(aspired))
