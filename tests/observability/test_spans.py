from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.compiled import SWITCH
from hotserve.observability import spans
from hotserve.observability.instruments import HistogramCell
from hotserve.observability.metrics import LATENCY_LIMITS_US
from hotserve.observability.spans import observe_spans_in_python

try:
    from hotserve.observability import _spans
except ImportError:  # installed without a C compiler
    _spans = None  # type: ignore[assignment]

WITHOUT = pytest.mark.skipif(_spans is None, reason="hotserve was installed without a C compiler")
TWINS = [
    observe_spans_in_python,
    pytest.param(_spans.observe_spans if _spans is not None else None, marks=WITHOUT),
]
Observe = Callable[..., None]

SECONDS = st.sampled_from([limit * 1e-6 for limit in LATENCY_LIMITS_US[:12]]) | st.floats(0, 1e4)


def cell(limits: tuple[float, ...] = LATENCY_LIMITS_US) -> HistogramCell:
    return HistogramCell(len(limits) + 1)


@pytest.mark.parametrize("observe", TWINS)
@given(times=st.lists(st.tuples(SECONDS, SECONDS), max_size=40), end=SECONDS)
def test_every_span_is_counted_in_its_bucket_in_every_cell(
    observe: Observe, times: list[tuple[float, float]], end: float
) -> None:
    begins, ends = [begin for begin, _ in times], [each for _, each in times]
    for those in (ends, end):
        first, second = cell(), cell()
        observe(begins, those, (first, None, second), LATENCY_LIMITS_US)
        spans = [
            max(0.0, 1e6 * (each - begin))
            for begin, each in zip(begins, those if isinstance(those, list) else [those] * len(begins), strict=True)
        ]
        expected = cell()
        for span in spans:
            expected.counts[bisect_right(LATENCY_LIMITS_US, span)] += 1
        for found in (first, second):
            assert found.counts == expected.counts
            assert found.total == pytest.approx(sum(spans))


@pytest.mark.parametrize("observe", TWINS)
def test_what_is_counted_is_added_to_what_was_there(observe: Observe) -> None:
    there = cell((10.0, 20.0))
    there.counts, there.total = [1, 2, 3], 5.0
    observe([0.0, 0.0], [15e-6, 20e-6], (there,), (10.0, 20.0))
    assert there.counts == [1, 3, 4]
    assert there.total == pytest.approx(40.0)


@pytest.mark.parametrize("observe", TWINS)
def test_a_span_that_ends_before_it_begins_takes_no_time(observe: Observe) -> None:
    there = cell()
    observe([2.0], 1.0, (there,), LATENCY_LIMITS_US)
    assert there.counts[0] == 1
    assert there.total == 0


@pytest.mark.parametrize("observe", TWINS)
@pytest.mark.parametrize(
    ("begins", "ends", "buckets", "limits"),
    [
        ([1.0, 2.0], [3.0], 3, (1.0, 2.0)),
        ([1.0], [3.0], 2, (1.0, 2.0)),
        ([1.0], [3.0], 129, tuple(map(float, range(128)))),
    ],
)
def test_what_does_not_fit_together_is_refused(
    observe: Observe, begins: list[float], ends: list[float], buckets: int, limits: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError):
        observe(begins, ends, (HistogramCell(buckets),), limits)


@WITHOUT
def test_the_compiled_twin_is_used_unless_a_variable_says_otherwise() -> None:
    assert spans.IS_COMPILED is not bool(os.environ.get(SWITCH))
