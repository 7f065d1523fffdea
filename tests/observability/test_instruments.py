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
    gauge.set(-2, "w")
    assert gauge.cells() == [(("w",), -2), (("x",), 0.5)]


def test_a_kept_cell_is_the_one_that_is_read() -> None:
    histogram = Histogram("h", ("a",), (2,))
    kept = histogram.cell("x")
    kept.counts[0] += 1
    kept.total += 1.5
    histogram.observe(1, "x")
    ((_, cell),) = histogram.cells()
    assert cell is kept
    assert (cell.counts, cell.total) == ([2, 0], 2.5)


def test_the_cells_of_some_label_values_can_be_dropped() -> None:
    counter = Counter("c", ("model", "version", "status"))
    for values in (("m", "1", "OK"), ("m", "1", "INTERNAL"), ("m", "2", "OK"), ("n", "1", "OK")):
        counter.add(*values)
    counter.drop({"model": "m", "version": "1"})
    assert [values for values, _ in counter.cells()] == [("m", "2", "OK"), ("n", "1", "OK")]
    counter.drop({"model": "m", "no such label": "1"})
    assert len(counter.cells()) == 2


def test_a_dropped_cell_that_is_still_written_to_is_not_read_and_the_next_one_begins_anew() -> None:
    counter = Counter("c", ("model",))
    kept = counter.cell("m")
    counter.drop({"model": "m"})
    kept.number += 1
    assert counter.cells() == []
    counter.add("m")
    assert counter.cells() == [(("m",), 1)]
