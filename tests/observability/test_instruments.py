from __future__ import annotations

import pytest

from hotserve.observability.instruments import Counter, Gauge, Histogram


def test_a_counter_counts_for_each_set_of_label_values() -> None:
    counter = Counter("c", ("a", "b"))
    counter.add("1", "2")
    counter.add("1", "2", amount=5)
    counter.add("1", "1")
    assert list(counter.cells()) == [(("1", "1"), 1), (("1", "2"), 6)]


def test_a_counter_that_never_counted_has_no_cells() -> None:
    assert list(Counter("c", ("a",)).cells()) == []


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(0, 0), (1, 0), (1.999, 0), (2, 1), (3.9, 1), (4, 2), (1e12, 2), (float("inf"), 2)],
)
def test_a_value_equal_to_a_limit_counts_in_the_next_bucket(value: float, bucket: int) -> None:
    histogram = Histogram("h", (), (2, 4))
    histogram.observe(value)
    ((labels, cell),) = histogram.cells()
    assert labels == ()
    assert cell.counts == [int(number == bucket) for number in range(3)]
    assert cell.total == value


def test_a_histogram_sums_for_each_set_of_label_values() -> None:
    histogram = Histogram("h", ("a",), (2,))
    histogram.observe(1, "x")
    histogram.observe(2.5, "x")
    histogram.observe(7, "w")
    cells = {labels: (cell.counts, cell.total) for labels, cell in histogram.cells()}
    assert cells == {("w",): ([0, 1], 7.0), ("x",): ([1, 1], 3.5)}
    assert list(cells) == [("w",), ("x",)]


def test_a_gauge_is_what_it_was_set_to_last() -> None:
    gauge = Gauge("g", ("a",))
    gauge.set(3, "x")
    gauge.set(0.5, "x")
    gauge.add(2, "w")
    gauge.add(-1, "w")
    assert list(gauge.cells()) == [(("w",), 1), (("x",), 0.5)]


def test_a_kept_cell_is_the_one_that_is_read() -> None:
    histogram = Histogram("h", ("a",), (2,))
    kept = histogram.cell("x")
    kept.counts[0] += 1
    kept.total += 1.5
    histogram.observe(1, "x")
    ((_, cell),) = histogram.cells()
    assert cell is kept
    assert (cell.counts, cell.total) == ([2, 0], 2.5)


@pytest.mark.parametrize("instrument", [Counter("c", ("a",)), Gauge("g", ("a",)), Histogram("h", ("a",), (2,))])
def test_cells_can_be_dropped(instrument: Counter | Gauge | Histogram) -> None:
    for value in ("x", "y"):
        if isinstance(instrument, Histogram):
            instrument.observe(1, value)
        else:
            instrument.add(1, value) if isinstance(instrument, Gauge) else instrument.add(value)
    instrument.drop(lambda values: values == ("x",))
    assert [values for values, _ in instrument.cells()] == [("y",)]
