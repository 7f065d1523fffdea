from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.observability.instruments import HistogramCell, NumberCell
from hotserve.observability.metrics import LATENCY_LIMITS_US
from hotserve.observability.request_cells import FEW, Note, RequestCells, count, count_many, count_one, count_together

# Milliseconds apart, and limits of buckets themselves.
SECONDS = st.sampled_from([limit * 1e-6 for limit in LATENCY_LIMITS_US[:12]]) | st.floats(0, 1e4)
TIMES = st.tuples(SECONDS, SECONDS, SECONDS, SECONDS)


def cells(*, ok: bool = True, signature: bool = True, in_original: bool = True) -> RequestCells:
    def histogram(wanted: bool) -> HistogramCell | None:
        return HistogramCell(len(LATENCY_LIMITS_US) + 1) if wanted else None

    return RequestCells(
        in_flight=NumberCell(),
        requests=NumberCell(),
        received=NumberCell(),
        sent=NumberCell(),
        in_original=NumberCell() if in_original else None,
        latency=histogram(ok and in_original),
        duration=histogram(ok),
        decode=histogram(ok and signature),
        encode=histogram(ok and signature),
    )


def contents(of: RequestCells) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in RequestCells.__slots__:
        match getattr(of, name):
            case NumberCell(number=number):
                found[name] = number
            case HistogramCell(counts=counts, total=total):
                found[name] = (counts, pytest.approx(total))
            case None:
                found[name] = None
    return found


def note(of: RequestCells, decoded: float, ran: float, rest: float, start: float) -> Note:
    """A request that takes so long for each of its parts; one that takes no time to run has not been run."""
    end = start + decoded + ran + rest
    return of, start, start + decoded if ran else 0.0, start + decoded + ran if ran else 0.0, end, 100, 7


@given(
    times=st.lists(TIMES, min_size=1, max_size=40), ok=st.booleans(), signature=st.booleans(), in_original=st.booleans()
)
def test_many_requests_are_counted_as_each_of_them_is(
    times: list[tuple[float, float, float, float]], ok: bool, signature: bool, in_original: bool
) -> None:
    each = cells(ok=ok, signature=signature, in_original=in_original)
    many = cells(ok=ok, signature=signature, in_original=in_original)
    for four in times:
        count_one(note(each, *four), LATENCY_LIMITS_US)
    count_many(many, [note(many, *four) for four in times], LATENCY_LIMITS_US)
    assert contents(many) == contents(each)


@given(
    times=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=40),
    rest=SECONDS,
    ok=st.booleans(),
    signature=st.booleans(),
    in_original=st.booleans(),
)
def test_those_that_are_answered_together_are_counted_as_each_of_them_is(
    times: list[tuple[float, float]], rest: float, ok: bool, signature: bool, in_original: bool
) -> None:
    each = cells(ok=ok, signature=signature, in_original=in_original)
    together = cells(ok=ok, signature=signature, in_original=in_original)
    starts = [start for start, _ in times]
    decoded = [start + span for start, span in times]
    ran = max(decoded) + 1.0
    end = ran + rest
    for start, then in zip(starts, decoded, strict=True):
        count_one((each, start, then, ran, end, 100, 7), LATENCY_LIMITS_US)
    received, sent = 100 * len(times), 7 * len(times)
    count_together(together, starts, decoded, ran, end, received, sent, LATENCY_LIMITS_US)
    assert contents(together) == contents(each)


@pytest.mark.parametrize("requests", [1, FEW, FEW + 1])
def test_every_request_is_counted_in_its_own_cells(requests: int) -> None:
    first, second = cells(), cells()
    notes = [note(of, 1e-3, 2e-3, 3e-3, 0.0) for _ in range(requests) for of in (first, second)]
    count([*notes, note(second, 1e-3, 2e-3, 3e-3, 0.0)], LATENCY_LIMITS_US)
    assert (first.requests.number, second.requests.number) == (requests, requests + 1)
    for of in (first, second):
        assert of.duration is not None
        assert sum(of.duration.counts) == of.requests.number
        assert of.received.number == 100 * of.requests.number
        assert of.sent.number == 7 * of.requests.number
