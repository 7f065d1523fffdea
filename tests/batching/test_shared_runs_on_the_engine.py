from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from hotserve.batching.lane import INLINE_SECONDS
from hotserve.batching.options import ALONE, NATURAL, BatchingOptions
from hotserve.batching.scheduler import QueueBounds
from hotserve.errors import (
    Code,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    ServingError,
    Unavailable,
)
from hotserve.tensors import Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from support.batching_bench import BAD, Bench, settle, values
from support.server_process import wait_until


def configured(**options: Any) -> Bench:
    return Bench(BatchingOptions(**options).rules())


async def error_of(request: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        await request
    return caught.value


# Natural batching.


def test_what_comes_while_the_engine_is_busy_goes_in_one_run_and_everyone_gets_their_own() -> None:
    bench = Bench(NATURAL)

    async def main() -> list[list[float]]:
        blocker = await bench.occupy()
        requests = [bench.begin(1, 2), bench.begin(3), bench.begin(4, 5)]
        await settle()
        bench.release()
        await blocker
        return [values(await request) for request in requests]

    assert bench.run(main) == [[2, 4], [6], [8, 10]]
    assert bench.batches == [[0], [1, 2, 3, 4, 5]]


async def shared_after_trying(bench: Bench) -> list[list[float]]:
    """Asks for vectors where a column is declared: eight times alone, then three times behind a run."""
    alone = [values(await bench.send({"x": np.float32([number, number])})) for number in range(8)]
    assert alone == [values(bench.answer(np.float32([number, number]))) for number in range(8)]
    await asyncio.to_thread(bench.engine._pool.submit(lambda: None).result)  # what is tried has been by then
    await settle()
    del bench.batches[:]
    blocker = await bench.occupy()
    requests = [asyncio.ensure_future(bench.send({"x": np.float32(vector)})) for vector in ([1], [2, 3], [5])]
    await settle()
    bench.release()
    await blocker
    return [values(await request) for request in requests]


def test_requests_of_another_shape_than_declared_share_runs_when_their_rows_turn_out_to_be_independent() -> None:
    spec = TensorSpec(DType.FLOAT, (None, 1))
    bench = Bench(NATURAL, signature=Signature({"x": spec}, {"y": spec}))
    assert bench.run(lambda: shared_after_trying(bench)) == [[2], [4, 6], [10]]
    assert bench.batches == [[0], [1, 2, 3, 5]]


def test_they_run_alone_where_the_graph_takes_such_a_shape_for_something_else() -> None:
    spec = TensorSpec(DType.FLOAT, (None, 1))
    bench = Bench(NATURAL, signature=Signature({"x": spec}, {"y": spec}))
    bench.answer = lambda x: {"y": x - x.max(axis=-1, keepdims=True)}
    assert bench.run(lambda: shared_after_trying(bench)) == [[0], [-1, 0], [0]]
    assert bench.batches == [[0], [1], [2, 3], [5]]


def test_what_one_turn_of_the_loop_brings_goes_in_one_run_and_nobody_waits_for_more() -> None:
    bench = Bench(NATURAL)

    async def main() -> None:
        await asyncio.gather(bench.ask(1), bench.ask(2), bench.ask(3))
        await bench.ask(4)

    bench.run(main)
    assert bench.batches == [[1, 2, 3], [4]]


def test_a_batch_of_short_requests_runs_on_the_loop_unless_it_would_hold_up_others() -> None:
    bench = Bench(NATURAL)

    async def main() -> None:
        bench.seconds = INLINE_SECONDS / 3
        await bench.ask(1)  # the first run is measured on a thread
        await asyncio.gather(*(bench.ask(n) for n in range(2)))
        await asyncio.gather(*(bench.ask(n) for n in range(8)))
        await asyncio.gather(*(bench.ask(n) for n in range(128)))

    bench.run(main)
    assert [len(batch) for batch in bench.batches] == [1, 1, 1, 8, 128]
    assert bench.threads == [False, True, True, True, False]


def test_a_request_that_comes_alone_runs_in_the_turn_that_brought_it() -> None:
    bench = Bench(NATURAL)
    bench.seconds = INLINE_SECONDS / 10

    async def main() -> None:
        await bench.ask(1)
        await settle()
        request = bench.ask(2)
        with pytest.raises(StopIteration):  # it ends without having waited
            request.send(None)

    bench.run(main)
    assert bench.batches == [[1], [2]]


def test_requests_of_other_shapes_share_other_runs() -> None:
    bench = Bench(NATURAL)

    async def main() -> list[list[int]]:
        blocker = await bench.occupy()
        requests = [bench.begin(n, shape=(width,)) for n, width in [(1, 2), (2, 3), (3, 2), (4, 3)]]
        await settle()
        bench.release()
        await blocker
        return [list((await request)["y"].shape) for request in requests]

    assert bench.run(main) == [[1, 2], [1, 3], [1, 2], [1, 3]]
    assert bench.batches == [[0], [1, 3], [2, 4]]


@pytest.mark.parametrize("shape", [(), (2, 2)])
def test_arrays_that_the_signature_does_not_declare_run_alone(shape: tuple[int, ...]) -> None:
    bench = Bench(NATURAL)

    async def main() -> None:
        blocker = await bench.occupy()
        requests = [bench.begin(n, shape=shape) for n in (1, 2)]
        await settle()
        bench.release()
        await asyncio.gather(blocker, *requests)

    bench.run(main)
    assert bench.batches == [[0], [1], [2]]


def test_scalars_and_inputs_that_disagree_run_alone_and_get_the_answer_that_they_get_alone() -> None:
    spec = TensorSpec(DType.FLOAT, (None,))
    bench = Bench(NATURAL, signature=Signature({"x": spec, "w": spec}, {"y": spec}))

    async def main() -> None:
        one = {"x": np.zeros(2, np.float32), "w": np.zeros(3, np.float32)}
        await asyncio.gather(bench.send(one), bench.send(one))

    bench.run(main)
    assert bench.shapes == [(2,), (2,)]


def test_a_batch_has_no_more_rows_than_the_limit_and_a_request_with_more_goes_alone() -> None:
    bench = Bench(NATURAL)
    limit = NATURAL.max_rows

    async def main() -> None:
        blocker = await bench.occupy()
        requests = [
            bench.begin(*([1] * (limit - 1))),
            bench.begin(2),
            bench.begin(3),
            bench.begin(*([4] * (limit + 5))),
        ]
        await settle()
        bench.release()
        await asyncio.gather(blocker, *requests)

    bench.run(main)
    assert [len(batch) for batch in bench.batches] == [1, limit, 1, limit + 5]


def test_without_a_plan_or_where_rows_depend_requests_run_alone() -> None:
    bench = Bench(ALONE)

    async def main() -> None:
        await asyncio.gather(bench.ask(1), bench.ask(2))

    bench.run(main)
    assert bench.batches == [[1], [2]]


def test_a_request_that_makes_a_batch_fail_fails_alone() -> None:
    bench = Bench(NATURAL)

    async def main() -> list[Any]:
        blocker = await bench.occupy()
        requests = [bench.begin(n) for n in (1, 2, BAD, 4, 5)]
        await settle()
        bench.release()
        await blocker
        return await asyncio.gather(*requests, return_exceptions=True)

    answers = bench.run(main)
    assert [values(answer) for answer in answers if not isinstance(answer, BaseException)] == [[2], [4], [8], [10]]
    assert isinstance(answers[2], InvalidArgument)
    # Halves: few runs for one that is bad among many.
    assert [len(batch) for batch in bench.batches] == [1, 5, 2, 3, 1, 2]


def test_a_signature_whose_batches_fail_while_their_requests_do_not_stops_sharing_runs() -> None:
    bench = Bench(NATURAL)
    bench.answer = lambda x: {"y": x[:1] * 2}

    async def main() -> None:
        for _ in range(5):
            answers = await asyncio.gather(bench.ask(1), bench.ask(2))
            assert [values(answer) for answer in answers] == [[2], [4]]

    bench.run(main)
    assert [len(batch) for batch in bench.batches] == [2, 1, 1] * 3 + [1, 1] * 2


def test_batched_and_alone_the_answers_are_equal_bit_by_bit() -> None:
    alone, together = Bench(ALONE), Bench(NATURAL)

    async def ask_all(bench: Bench) -> list[bytes]:
        answers = await asyncio.gather(*(bench.ask(n, n / 3, shape=(7,)) for n in range(20)))
        return [answer["y"].tobytes() for answer in answers]

    assert alone.run(lambda: ask_all(alone)) == together.run(lambda: ask_all(together))
    assert len(together.batches) < len(alone.batches)


# Who gives up.


def test_a_request_whose_time_is_over_is_dropped_before_it_runs() -> None:
    bench = Bench(NATURAL)

    async def main() -> ServingError:
        blocker = await bench.occupy()
        late, patient = bench.begin(1, timeout=0.02), bench.begin(2)
        error = await error_of(late)
        bench.release()
        await asyncio.gather(blocker, patient)
        return error

    assert isinstance(bench.run(main), DeadlineExceeded)
    assert bench.batches == [[0], [2]]


def test_a_request_that_is_cancelled_is_dropped_before_it_runs() -> None:
    bench = Bench(NATURAL)

    async def main() -> None:
        blocker = await bench.occupy()
        gone, patient = bench.begin(1), bench.begin(2)
        await settle()
        gone.cancel()
        await settle()
        bench.release()
        await asyncio.gather(blocker, patient)

    bench.run(main)
    assert bench.batches == [[0], [2]]


def test_a_batch_that_runs_holds_its_version_though_all_have_given_up() -> None:
    bench = Bench(NATURAL)

    async def main() -> None:
        blocker = await bench.occupy()
        blocker.cancel()
        await settle()
        bench.handle.withdraw()
        assert not bench.drained.is_set()
        bench.release()
        assert await asyncio.to_thread(bench.drained.wait, 30)

    bench.run(main)


def test_a_coroutine_that_is_driven_by_hand_and_closed_leaves_the_queue() -> None:
    bench = Bench(NATURAL)

    async def main() -> None:
        blocker = await bench.occupy()
        by_hand = bench.ask(1)
        assert asyncio.isfuture(by_hand.send(None))
        by_hand.close()
        bench.release()
        await blocker

    bench.run(main)
    assert bench.batches == [[0]]


def test_a_deadline_that_has_passed_already_is_told_at_once() -> None:
    bench = Bench(NATURAL)

    async def main() -> None:
        await bench.ask(1)
        assert isinstance(await error_of(bench.ask(2, timeout=0.0)), DeadlineExceeded)

    bench.run(main)
    assert bench.batches == [[1]]


# Too much.


def test_more_than_may_wait_is_refused_at_once() -> None:
    bench = Bench(NATURAL, bounds=QueueBounds(requests=2, input_bytes=1 << 20))

    async def main() -> ServingError:
        blocker = await bench.occupy()
        waiting = [bench.begin(n) for n in (1, 2)]
        await settle()
        error = await error_of(bench.ask(3))
        bench.release()
        await asyncio.gather(blocker, *waiting)
        await bench.ask(4)
        return error

    error = bench.run(main)
    assert isinstance(error, Unavailable)
    assert error.message.startswith("The batch scheduling queue to which this task was submitted is full; currently 2")
    assert bench.batches == [[0], [1, 2], [4]]


def test_what_comes_after_requests_that_ran_at_once_is_not_taken_for_old() -> None:
    bench = Bench(NATURAL)
    bench.seconds = 0.0001
    assert isinstance(bench.clock, FakeClock)
    clock = bench.clock

    async def main() -> list[dict[str, Array]]:
        for number in range(100):
            clock.advance(1.0)
            await bench.ask(number, timeout=10.0)
            await settle()
        clock.advance(0.001)
        return await asyncio.gather(*[bench.ask(number, timeout=10.0) for number in (1, 2, 3)])

    assert [values(answer) for answer in bench.run(main)] == [[2], [4], [6]]


def test_more_bytes_than_may_wait_are_refused_but_one_request_always_may() -> None:
    bench = Bench(NATURAL, bounds=QueueBounds(requests=100, input_bytes=10))

    async def main() -> ServingError:
        blocker = await bench.occupy()
        large = bench.begin(*range(8))
        await settle()
        error = await error_of(bench.ask(3))
        bench.release()
        await asyncio.gather(blocker, large)
        return error

    assert bench.run(main).code is Code.UNAVAILABLE


def test_what_cannot_be_answered_in_time_is_refused_at_once() -> None:
    # Each request is a batch of its own; each takes a second by the clock.
    bench = Bench(BatchingOptions(max_batch_size=1, max_enqueued_batches=1000).rules())

    async def main() -> ServingError:
        blocker = await bench.occupy()
        first = [bench.begin(n) for n in range(10)]
        await settle()
        bench.release()
        await asyncio.gather(blocker, *first)
        blocker = await bench.occupy()
        waiting = [bench.begin(n, timeout=1000) for n in range(10)]
        await settle()
        error = await error_of(bench.ask(11, timeout=12))
        patient = bench.begin(12, timeout=1000)
        bench.release()
        await asyncio.gather(blocker, patient, *waiting)
        return error

    error = bench.run(main)
    assert error.code is Code.UNAVAILABLE
    assert "10 requests wait, for about 10.0 s, and the client waits for 12 s" in error.message


# Configured batching, as TensorFlow Serving has it.


def test_a_batch_waits_for_more_rows_as_long_as_it_is_told_and_not_when_it_is_full() -> None:
    bench = Bench(BatchingOptions(max_batch_size=2, batch_timeout_micros=60_000_000).rules(), clock=FakeClock())

    async def main() -> None:
        first = bench.begin(1)
        await settle()
        assert bench.batches == []
        await asyncio.gather(first, bench.ask(2))

    bench.run(main)
    assert bench.batches == [[1, 2]]


def test_a_batch_whose_time_is_over_runs_with_what_it_has() -> None:
    bench = Bench(BatchingOptions(max_batch_size=100, batch_timeout_micros=20_000).rules())

    async def main() -> None:
        await asyncio.gather(bench.ask(1), bench.ask(2))

    bench.run(main)
    assert bench.batches == [[1, 2]]
    assert counted(bench, "closed") == {("m", "1", "serving_default", "timeout"): 1}


def test_a_batch_is_padded_to_an_allowed_size_and_nobody_sees_it() -> None:
    bench = configured(max_batch_size=8, allowed_batch_sizes=(4, 8))

    async def main() -> list[list[float]]:
        return [values(answer) for answer in await asyncio.gather(bench.ask(1), bench.ask(2, 3))]

    assert bench.run(main) == [[2], [4, 6]]
    assert bench.batches == [[1, 2, 3, 2]]


def test_a_request_that_comes_alone_is_padded_as_well() -> None:
    bench = configured(max_batch_size=8, allowed_batch_sizes=(4, 8))
    bench.seconds = INLINE_SECONDS / 10

    async def main() -> list[list[float]]:
        return [values(await bench.ask(n)) for n in (1, 2, 3)]

    assert bench.run(main) == [[2], [4], [6]]
    assert [len(batch) for batch in bench.batches] == [4, 4, 4]


def test_inputs_of_different_lengths_share_a_run_if_they_are_padded() -> None:
    bench = configured(pad_variable_length_inputs=True)

    async def main() -> list[list[list[float]]]:
        answers = await asyncio.gather(bench.ask(1, shape=(2,)), bench.ask(2, shape=(3,)))
        return [answer["y"].tolist() for answer in answers]

    assert bench.run(main) == [[[2, 2]], [[4, 4, 4]]]
    assert bench.shapes == [(2, 3)]


def test_inputs_of_different_lengths_harm_nobody_if_they_are_not() -> None:
    bench = configured()

    async def main() -> None:
        await asyncio.gather(bench.ask(1, shape=(2,)), bench.ask(2, shape=(3,)), bench.ask(3, shape=(2,)))

    bench.run(main)
    assert bench.batches == [[1, 3], [2]]
    assert counted(bench, "closed") == {
        ("m", "1", "serving_default", "shape"): 1,
        ("m", "1", "serving_default", "idle"): 1,
    }


def test_a_request_may_be_split_over_batches_and_gets_one_answer() -> None:
    bench = configured(max_batch_size=100, max_execution_batch_size=4, enable_large_batch_splitting=True)

    async def main() -> list[list[float]]:
        blocker = await bench.occupy()
        requests = [bench.begin(1, 2, 3), bench.begin(*range(4, 14)), bench.begin(14)]
        await settle()
        bench.release()
        await blocker
        return [values(await request) for request in requests]

    assert bench.run(main) == [[2, 4, 6], [2 * n for n in range(4, 14)], [28]]
    assert bench.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14]]


def test_the_first_piece_that_fails_fails_the_request_and_no_other() -> None:
    bench = configured(max_batch_size=100, max_execution_batch_size=2, enable_large_batch_splitting=True)

    async def main() -> list[Any]:
        blocker = await bench.occupy()
        requests = [bench.begin(1), bench.begin(2, BAD, 3, 4, 5), bench.begin(6)]
        await settle()
        bench.release()
        await blocker
        return await asyncio.gather(*requests, return_exceptions=True)

    first, second, third = bench.run(main)
    assert values(first) == [2]
    assert isinstance(second, InvalidArgument)
    assert values(third) == [12]


def test_a_full_queue_refuses_in_the_words_of_the_original() -> None:
    bench = configured(max_batch_size=2, max_enqueued_batches=2)

    async def main() -> ServingError:
        blocker = await bench.occupy()
        waiting = [bench.begin(1, 2), bench.begin(3)]
        await settle()
        error = await error_of(bench.ask(4, 5))
        waiting.append(bench.begin(6))  # fits into the open batch
        await settle()
        bench.release()
        await asyncio.gather(blocker, *waiting)
        return error

    error = bench.run(main)
    assert error.code is Code.UNAVAILABLE
    assert error.message.startswith(
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and"
        " max_enqueued_batches is 2"
    )
    assert bench.batches == [[0], [1, 2], [3, 6]]


def test_a_full_queue_that_splits_says_what_would_fit() -> None:
    bench = configured(
        max_batch_size=100, max_execution_batch_size=4, max_enqueued_batches=2, enable_large_batch_splitting=True
    )

    async def main() -> ServingError:
        blocker = await bench.occupy()
        waiting = [bench.begin(1, 2, 3)]
        await settle()
        error = await error_of(bench.ask(*range(6)))
        waiting.append(bench.begin(*range(5)))
        await settle()
        bench.release()
        await asyncio.gather(blocker, *waiting)
        return error

    assert bench.run(main).message == (
        "The batch scheduling queue to which this task was submitted is full; task size is 6 but scheduling capacity is"
        " only 5 (num_enqueued_batches=1, max_enqueued_batches=2, open_batch_size=3, max_execution_batch_size=4)"
    )


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.float32(1), "Batching Run() input tensors must have at least one dimension"),
        (np.zeros((9, 1), np.float32), "Task size 9 is larger than maximum input batch size 8"),
    ],
)
def test_what_cannot_be_batched_is_refused_though_it_could_run_alone(x: Any, text: str) -> None:
    bench = configured(max_batch_size=8)
    error = bench.run(lambda: error_of(bench.send({"x": np.asarray(x)})))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith(text)
    assert bench.batches == []


def test_an_answer_that_cannot_be_divided_is_an_error_even_of_one_request() -> None:
    bench = configured()
    bench.answer = lambda x: {"y": np.float32([1, 2, 3])}
    error = bench.run(lambda: error_of(bench.ask(1)))
    assert isinstance(error, FailedPrecondition)
    assert error.message.startswith("Batched output tensor's 0th dimension does not equal the sum")


def test_a_request_without_rows_is_answered() -> None:
    bench = configured(max_batch_size=8, allowed_batch_sizes=(4, 8))

    async def main() -> tuple[list[int], list[float]]:
        empty, full = await asyncio.gather(bench.ask(), bench.ask(1))
        return list(empty["y"].shape), values(full)

    assert bench.run(main) == ([0, 1], [2])
    assert bench.shapes == [(0, 1), (4, 1)]


def test_a_request_whose_time_is_over_in_the_queue_is_told_so_in_the_words_of_the_original() -> None:
    bench = configured()

    async def main() -> tuple[ServingError, ServingError]:
        blocker = asyncio.ensure_future(error_of(bench.ask(0, timeout=0.05)))
        bench.is_open.clear()
        assert await asyncio.to_thread(bench.entered.acquire, True, 30)
        queued = await error_of(bench.ask(1, timeout=0.02))
        running = await blocker
        bench.release()
        return queued, running

    queued, running = bench.run(main)
    assert isinstance(queued, ResourceExhausted)
    assert queued.message.startswith("Run() timeout exceeded while waiting in batching queue")
    assert isinstance(running, DeadlineExceeded)


def test_requests_for_other_outputs_wait_in_other_queues() -> None:
    bench = configured()

    async def main() -> None:
        first, second, _ = await asyncio.gather(
            bench.ask(1), bench.ask(2, outputs=("y", "z")), bench.ask(3, outputs=("y",))
        )
        assert (first.keys(), second.keys()) == ({"y"}, {"y", "z"})
        assert values(second, "z") == [3]

    bench.run(main)
    assert sorted(bench.batches) == [[1, 3], [2]]


# Lasting.


def test_an_engine_serves_one_loop_after_another_and_forgets_what_was_left_in_the_first() -> None:
    bench = Bench(NATURAL)

    async def abandon() -> None:
        bench.begin(1)
        await asyncio.sleep(0)

    asyncio.run(abandon())
    assert values(bench.run(lambda: bench.ask(2))) == [4]


def test_a_version_that_is_gone_is_forgotten() -> None:
    bench = Bench(NATURAL)
    bench.run(lambda: bench.ask(1))
    versions = bench.engine._lanes._versions._entries
    assert len(versions) == 1
    bench.handle.servable = None  # type: ignore[assignment]
    bench.servable = None  # type: ignore[assignment]
    # The thread that has run it may still hold on to it for a moment.
    wait_until(lambda: gc.collect() >= 0 and not versions, what="nothing is remembered of the version")


def test_two_signatures_take_turns_on_one_thread() -> None:
    bench = Bench(NATURAL)
    order: list[str] = []

    async def note(name: str, request: asyncio.Task[Any]) -> None:
        await request
        order.append(name)

    async def main() -> None:
        blocker = await bench.occupy()
        limit = NATURAL.max_rows
        many = [bench.begin(*([1.0] * limit)) for _ in range(3)]
        await settle()
        other = bench.begin(2, outputs=("z",))
        await settle()
        bench.release()
        await asyncio.gather(
            blocker, note("other", other), *(note(f"many {index}", task) for index, task in enumerate(many))
        )

    bench.run(main)
    assert order.index("other") < order.index("many 2")


# Counting.


def counted(bench: Bench, name: str) -> dict[tuple[str, ...], int]:
    return dict(getattr(bench.metrics.batching, name).cells())


def test_runs_waits_and_batches_are_counted() -> None:
    bench = configured(max_batch_size=4, allowed_batch_sizes=(2, 4))

    async def main() -> None:
        await asyncio.gather(bench.ask(1), bench.ask(2, 3))

    bench.run(main)
    labels = ("m", "1", "serving_default")
    batching = bench.metrics.batching
    assert counted(bench, "wrapped_run_count") == {(): 1}
    assert counted(bench, "closed") == {(*labels, "idle"): 1}
    assert counted(bench, "padding") == {labels: 1}
    sums = {
        histogram.name.rpartition("/")[2]: {key: (sum(cell.counts), cell.total) for key, cell in histogram.cells()}
        for histogram in (
            batching.padding_size,
            batching.input_batch_size,
            batching.processed_batch_size,
            batching.rows,
        )
    }
    assert sums == {
        "padding_size": {("4",): (1, 1)},
        "input_batch_size": {(): (2, 3)},
        "processed_batch_size": {(): (1, 4)},
        "hotserve_batch_rows": {labels: (1, 3)},
    }
    assert [sum(cell.counts) for _, cell in bench.metrics.run_duration.cells()] == [2]
    assert [sum(cell.counts) for _, cell in bench.metrics.queue_duration.cells()] == [2]
    assert [sum(cell.counts) for _, cell in batching.queuing_latency.cells()] == [2]
    assert [number for _, number in bench.metrics.graph_runs.cells()] == [1]


def test_natural_batches_are_counted_under_our_names_only() -> None:
    bench = Bench(NATURAL)
    bench.run(lambda: bench.ask(1))
    assert counted(bench, "closed") == {("m", "1", "serving_default", "idle"): 1}
    assert counted(bench, "wrapped_run_count") == {}
    assert counted(bench, "refused") == {}


def test_what_is_refused_is_counted() -> None:
    bench = Bench(NATURAL, bounds=QueueBounds(requests=1, input_bytes=1 << 20))

    async def main() -> None:
        blocker = await bench.occupy()
        waiting = bench.begin(1)
        await settle()
        await error_of(bench.ask(2))
        bench.release()
        await asyncio.gather(blocker, waiting)

    bench.run(main)
    assert counted(bench, "refused") == {("m", "1", "serving_default"): 1}


def test_the_answers_come_on_the_loop() -> None:
    bench = Bench(NATURAL)
    threads: list[threading.Thread] = []

    async def main() -> None:
        await bench.ask(1)
        threads.append(threading.current_thread())

    bench.run(main)
    assert threads == [threading.main_thread()]
