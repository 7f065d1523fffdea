"""Both twins keep requests the same way, and say the same of them."""

from __future__ import annotations

import os
from math import inf
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.batching import guests, plain_guests
from hotserve.codecs.compiled import SWITCH

try:
    from hotserve.batching import _guests
except ImportError:  # installed without a C compiler
    _guests = None  # type: ignore[assignment]

WITHOUT = pytest.mark.skipif(_guests is None, reason="hotserve was installed without a C compiler")
TWINS = [plain_guests, pytest.param(_guests, marks=WITHOUT)]

ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["first desk", "second desk"]),
        st.integers(0, 5),
        st.floats(0, 1e6),
        st.binary(max_size=12),
        st.binary(max_size=3),
        st.sampled_from([inf, 1.0, 2.5]),
    ),
    max_size=8,
)
Entry = tuple[str, int, float, bytes, bytes, float]


def guests_of(twin: ModuleType, entries: list[Entry]) -> list[Any]:
    return [
        twin.Guest(clerk, None, number, rows, 4 * rows, start, start + 1.0, [one, other], deadline, 10 * number)
        for number, (clerk, rows, start, one, other, deadline) in enumerate(entries)
    ]


@pytest.mark.parametrize("twin", TWINS)
def test_a_guest_is_what_it_was_made_of(twin: ModuleType) -> None:
    contents = (b"1234",)
    guest = twin.Guest("desk", "client", "request", 1, 4, 0.5, 0.75, contents)
    assert (guest.clerk, guest.client, guest.request, guest.contents) == ("desk", "client", "request", contents)
    assert (guest.rows, guest.size, guest.start, guest.decoded) == (1, 4, 0.5, 0.75)
    assert (guest.deadline, guest.received) == (inf, 0)
    other = twin.Guest("desk", None, None, 1, 4, 0.5, 0.75, contents, deadline=2.0, received=7)
    assert (other.deadline, other.received) == (2.0, 7)


@pytest.mark.parametrize("twin", TWINS)
@given(entries=ENTRIES)
def test_those_who_wait_are_added_up(twin: ModuleType, entries: list[Entry]) -> None:
    waiting = twin.Waiting(1000)
    assert (waiting.guests, waiting.rows, waiting.size, waiting.deadline, waiting.handle) == ([], 0, 0, inf, None)
    all_of_them = guests_of(twin, entries)
    for guest in all_of_them:
        waiting.add(guest, "version")
    assert waiting.guests == all_of_them
    assert waiting.rows == sum(guest.rows for guest in all_of_them)
    assert waiting.size == sum(guest.size for guest in all_of_them)
    assert waiting.deadline == min((guest.deadline for guest in all_of_them), default=inf)
    assert waiting.handle == ("version" if entries else None)
    assert waiting.is_mixed is (len({guest.clerk for guest in all_of_them}) > 1)
    kept = waiting.guests
    waiting.clear()
    assert (waiting.guests, waiting.rows, waiting.size, waiting.deadline, waiting.handle) == ([], 0, 0, inf, None)
    assert waiting.is_mixed is False
    assert kept == all_of_them
    for guest in all_of_them[:1]:
        waiting.add(guest, "version")
        assert waiting.is_mixed is False


@pytest.mark.parametrize("twin", TWINS)
def test_a_run_is_filled_by_its_most_rows_or_by_more_bytes_than_there_is_room_for(twin: ModuleType) -> None:
    one = twin.Guest("desk", None, None, 1, 4, 0.0, 0.0, [])
    waiting = twin.Waiting(3)
    assert [waiting.add(one, "version") for _ in range(3)] == [False, False, True]
    waiting.clear()
    waiting.room = 4.0
    assert [waiting.add(one, "version") for _ in range(2)] == [False, True]


@pytest.mark.parametrize("twin", TWINS)
@given(entries=ENTRIES)
def test_what_all_have_is_put_together_in_their_order(twin: ModuleType, entries: list[Entry]) -> None:
    all_of_them = guests_of(twin, entries)
    for index in (0, 1):
        column = twin.column_of(all_of_them, index)
        assert column == b"".join(guest.contents[index] for guest in all_of_them)
        assert isinstance(column, bytearray)
    received = sum(10 * number for number in range(len(entries)))
    starts = [entry[2] for entry in entries]
    assert twin.times_of(all_of_them) == (starts, [start + 1.0 for start in starts], received)
    counts = [entry[1] for entry in entries]
    assert twin.rows_of(all_of_them) == ([sum(counts[:number]) for number in range(len(counts))], counts)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize(("contents", "error"), [([], IndexError), ([None], TypeError), (["text"], TypeError)])
def test_contents_that_are_not_there_or_no_bytes_are_refused(
    twin: ModuleType, contents: list[Any], error: type[Exception]
) -> None:
    guest = twin.Guest("desk", None, None, 1, 4, 0.0, 0.0, contents)
    with pytest.raises(error):
        twin.column_of([guest], 0)


@WITHOUT
def test_what_is_no_guest_is_refused_by_compiled_code() -> None:
    for other, error in ((object(), TypeError), (None, AttributeError)):
        for function in (_guests.times_of, _guests.rows_of):
            with pytest.raises(error):
                function([other])  # type: ignore[list-item]
        with pytest.raises(error):
            _guests.column_of([other], 0)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        _guests.Waiting(1).add(None, None)  # type: ignore[arg-type]


@WITHOUT
def test_the_compiled_twin_is_used_unless_a_variable_says_otherwise() -> None:
    assert guests.IS_COMPILED is not bool(os.environ.get(SWITCH))
