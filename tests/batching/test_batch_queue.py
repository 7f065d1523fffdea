from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hotserve.batching.batch_queue import Batch, BatchQueue, Closed, split_rows

NO_LIMIT = 1 << 60


def queue(max_rows: int = 10, max_bytes: int = NO_LIMIT, timeout: float = 0.0) -> BatchQueue[str]:
    return BatchQueue(max_rows, max_bytes, timeout)


def taken(waiting: BatchQueue[str], now: float = 0.0) -> tuple[list[str], Closed] | None:
    batch = waiting.next(now)
    if batch is None:
        return None
    return batch.tasks, waiting.take(batch)


def test_requests_that_wait_go_together_in_their_order() -> None:
    waiting = queue()
    for name in "abc":
        waiting.add(name, 2, 8, None, 0.0)
    assert waiting.tasks == 3
    assert taken(waiting) == (["a", "b", "c"], Closed.IDLE)
    assert waiting.tasks == 0
    assert taken(waiting) is None


def test_a_request_that_does_not_fit_closes_the_batch() -> None:
    waiting = queue(max_rows=5)
    for name in "abc":
        waiting.add(name, 2, 8, None, 0.0)
    assert waiting.batches == 2
    assert taken(waiting) == (["a", "b"], Closed.FULL)
    assert taken(waiting) == (["c"], Closed.IDLE)


def test_a_batch_is_full_at_its_last_row_or_byte() -> None:
    waiting = queue(max_rows=4, max_bytes=100)
    waiting.add("a", 4, 1, None, 0.0)
    waiting.add("b", 1, 100, None, 0.0)
    waiting.add("c", 1, 99, None, 0.0)
    waiting.add("d", 1, 2, None, 0.0)
    assert [taken(waiting) for _ in range(4)] == [
        (["a"], Closed.FULL),
        (["b"], Closed.FULL),
        (["c"], Closed.FULL),
        (["d"], Closed.IDLE),
    ]


def test_a_request_with_more_rows_than_a_batch_takes_goes_alone() -> None:
    waiting = queue(max_rows=4)
    waiting.add("a", 1, 1, None, 0.0)
    waiting.add("b", 9, 1, None, 0.0)
    waiting.add("c", 1, 1, None, 0.0)
    assert [taken(waiting) for _ in range(3)] == [(["a"], Closed.FULL), (["b"], Closed.FULL), (["c"], Closed.IDLE)]


def test_requests_of_different_shapes_are_in_different_batches_and_spoil_none() -> None:
    waiting = queue()
    for name, key in [("a", 1), ("x", 2), ("b", 1), ("y", 2)]:
        waiting.add(name, 1, 1, key, 0.0)
    assert taken(waiting) == (["a", "b"], Closed.SHAPE)
    assert taken(waiting) == (["x", "y"], Closed.IDLE)


def test_a_batch_that_is_not_full_waits_for_its_time() -> None:
    waiting = queue(timeout=2.0)
    waiting.add("a", 1, 1, None, 10.0)
    waiting.add("b", 1, 1, None, 11.0)
    assert waiting.due() == 12.0
    assert taken(waiting, 11.9) is None
    assert taken(waiting, 12.0) == (["a", "b"], Closed.TIMEOUT)
    assert waiting.due() is None


def test_a_batch_that_is_full_waits_for_nothing_and_overtakes_one_of_another_shape_that_does() -> None:
    waiting = queue(max_rows=2, timeout=5.0)
    waiting.add("slow", 1, 1, 1, 0.0)
    waiting.add("a", 1, 1, 2, 0.0)
    waiting.add("b", 1, 1, 2, 0.0)
    assert taken(waiting, 0.0) == (["a", "b"], Closed.FULL)
    assert taken(waiting, 0.0) is None


def test_what_is_taken_out_again_makes_room_and_an_empty_batch_vanishes() -> None:
    waiting = queue(max_rows=2)
    batch = waiting.add("a", 1, 1, None, 0.0)
    waiting.remove(batch, "a", 1, 1)
    assert (waiting.tasks, waiting.batches) == (0, 0)
    batch = waiting.add("b", 1, 1, None, 0.0)
    waiting.add("c", 1, 1, None, 0.0)
    waiting.remove(batch, "b", 1, 1)
    assert taken(waiting) == (["c"], Closed.FULL)


def test_from_some_time_on_every_request_may_have_a_batch_to_itself() -> None:
    waiting = queue()
    for name in "abcd":
        if name == "c":
            waiting.stop_joining()
        waiting.add(name, 1, 1, None, 0.0)
    assert [tasks for tasks, _ in (taken(waiting) or ([], None) for _ in range(3))] == [["a", "b"], ["c"], ["d"]]


def test_a_queue_that_is_cleared_gives_back_what_was_in_it() -> None:
    waiting = queue(max_rows=1)
    waiting.add("a", 1, 1, None, 0.0)
    waiting.add("b", 1, 1, None, 0.0)
    assert waiting.clear() == ["a", "b"]
    assert taken(waiting) is None


def test_it_says_whether_a_request_would_join() -> None:
    waiting = queue(max_rows=3)
    assert not waiting.fits(1, 1, None)
    waiting.add("a", 2, 1, None, 0.0)
    assert waiting.fits(1, 1, None)
    assert not waiting.fits(2, 1, None)
    assert not waiting.fits(1, 1, "another shape")
    assert (waiting.open_rows(None), waiting.open_rows("another shape")) == (2, 0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 7), st.integers(0, 2)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
        st.tuples(st.just("remove"), st.integers(0, 50), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 3), st.just(0)),
    ),
    max_size=60,
)


@given(steps, st.integers(1, 6), st.sampled_from([0.0, 2.0]))
def test_nothing_is_lost_nothing_comes_twice_and_within_a_shape_nothing_overtakes(
    steps: list[tuple[str, int, int]], max_rows: int, timeout: float
) -> None:
    waiting: BatchQueue[int] = BatchQueue(max_rows, NO_LIMIT, timeout)
    now = 0.0
    rows: dict[int, int] = {}
    keys: dict[int, int] = {}
    where: dict[int, Batch[int]] = {}
    removed: set[int] = set()
    out: list[int] = []

    def take(at: float) -> bool:
        batch = waiting.next(at)
        if batch is None:
            return False
        reason = waiting.take(batch)
        assert batch.rows == sum(rows[task] for task in batch.tasks)
        assert batch.rows <= max_rows or len(batch.tasks) == 1
        assert {keys[task] for task in batch.tasks} == {batch.key}
        if reason is Closed.TIMEOUT:
            assert batch.opened + timeout <= at
        for task in batch.tasks:
            del where[task]
        out.extend(batch.tasks)
        return True

    for action, number, key in steps:
        if action == "add":
            task = len(rows)
            rows[task], keys[task] = number, key
            where[task] = waiting.add(task, number, number, key, now)
        elif action == "take":
            take(now)
        elif action == "wait":
            now += number
        elif number in where:
            waiting.remove(where.pop(number), number, rows[number], rows[number])
            removed.add(number)
        assert waiting.tasks == len(where)
    while take(now + timeout):
        pass
    assert sorted(out) == [task for task in rows if task not in removed]
    for key in range(3):
        assert [task for task in out if keys[task] == key] == sorted(task for task in out if keys[task] == key)
    assert (waiting.tasks, waiting.batches) == (0, 0)


def test_a_large_request_fills_the_open_batch_and_goes_on_in_full_ones() -> None:
    assert split_rows(10, open_rows=3, max_rows=4) == [1, 4, 4, 1]
    assert split_rows(10, open_rows=0, max_rows=4) == [4, 4, 2]
    assert split_rows(1, open_rows=3, max_rows=4) == [1]


@given(st.integers(1, 100), st.integers(0, 20), st.integers(1, 20))
def test_the_pieces_of_a_request_are_the_request(rows: int, open_rows: int, max_rows: int) -> None:
    pieces = split_rows(rows, min(open_rows, max_rows), max_rows)
    assert sum(pieces) == rows
    assert all(0 < piece <= max_rows for piece in pieces)
