from __future__ import annotations

import numpy as np
import pytest

from hotserve.batching.lane import INLINE_SECONDS, SHARED_INLINE_SECONDS, Lane, QueueBounds, Task
from hotserve.batching.options import ALONE, NATURAL, BatchingOptions, BatchRules
from hotserve.core.ids import ServableId
from hotserve.errors import InvalidArgument
from hotserve.tensors import DType, Shape, Signature, TensorSpec
from support.batching_bench import Bench


def lane(rules: BatchRules, shape: Shape | None = (None, 2), *, enforces_shapes: bool = False) -> Lane:
    spec = TensorSpec(DType.FLOAT, shape)
    signature = Signature({"x": spec}, {"y": spec}, enforces_shapes=enforces_shapes)
    return Lane(ServableId("m", 1), "s", signature, ("y",), rules, "toy")


def of_shape(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros(shape, np.float32)}


def test_naturally_a_request_has_its_rows_if_its_shape_is_declared_and_goes_alone_if_not() -> None:
    natural, alone = lane(NATURAL), NATURAL.max_rows + 1
    assert natural.admit(of_shape(3, 2))[:2] == (3, 3)
    assert natural.admit(of_shape(3, 5))[:2] == (3, alone)
    assert natural.admit(of_shape(3))[:2] == (3, alone)
    assert natural.admit(of_shape())[:2] == (1, alone)
    assert natural.admit(of_shape(0, 2))[:2] == (1, alone)


def test_of_a_shape_that_is_not_declared_it_is_tried_once_whether_it_has_rows_when_many_have_come() -> None:
    natural, alone = lane(NATURAL), NATURAL.max_rows + 1
    for _ in range(7):
        _, _, key = natural.admit(of_shape(3))
    assert natural.to_try == {}
    natural.admit(of_shape(5))
    assert natural.to_try == {key: {"x": TensorSpec(DType.FLOAT, (1,))}}
    natural.to_try = {}
    assert natural.admit(of_shape(4))[:2] == (4, alone)
    natural.learn_rows(key, are_independent=True)
    assert natural.admit(of_shape(4))[:2] == (4, 4)
    assert natural.admit(of_shape(4, 7))[:2] == (4, alone)
    assert natural.to_try == {}


@pytest.mark.parametrize(
    ("bounds", "few"),
    [
        (QueueBounds(), 64),
        (QueueBounds(requests=1024), 64),
        (QueueBounds(requests=160), 10),
        (QueueBounds(input_bytes=1 << 28), 16),
        (QueueBounds(requests=15), -1),
        (QueueBounds(input_bytes=1000), -1),
    ],
)
def test_no_more_than_a_sixteenth_of_what_may_wait_is_let_in_unasked(bounds: QueueBounds, few: int) -> None:
    spec = TensorSpec(DType.FLOAT, (None, 2))
    signature = Signature({"x": spec}, {"y": spec})
    assert Lane(ServableId("m", 1), "s", signature, ("y",), NATURAL, "toy", bounds=bounds).few == few


def test_what_clients_make_up_is_tried_for_so_many_shapes_only() -> None:
    natural = lane(NATURAL)
    for width in range(3, 100):
        for _ in range(8):
            natural.admit(of_shape(1, width))
    assert 1 < len(natural.to_try) < 50


def test_where_shapes_are_checked_before_there_is_nothing_to_compare() -> None:
    assert lane(NATURAL, enforces_shapes=True).admit(of_shape(3, 2)) == (3, 3, None)
    variable = lane(NATURAL, (None, None), enforces_shapes=True)
    assert variable.admit(of_shape(3, 2))[2] != variable.admit(of_shape(3, 4))[2]


def test_configured_a_request_is_refused_that_has_too_many_rows() -> None:
    configured = lane(BatchingOptions(max_batch_size=4).rules())
    assert configured.admit(of_shape(4, 7))[:2] == (4, 4)
    with pytest.raises(InvalidArgument, match="Task size 5"):
        configured.admit(of_shape(5, 2))


def test_alone_nothing_is_looked_at() -> None:
    assert lane(ALONE).admit(of_shape()) == (1, 1, None)


def ignore(task: Task) -> None:
    """Nobody gives a request up."""


def test_the_pace_of_two_threads_that_finish_together_is_not_infinite() -> None:
    bench = Bench(NATURAL)
    lease = bench.handle.acquire()
    assert lease is not None
    slow = lane(NATURAL)

    def task(timeout: float) -> Task:
        return Task(slow, lease, of_shape(1, 2), 1, 1, 8, "Predict", 0.0, timeout, ignore)

    for _ in range(10):
        slow.queue.add(task(1), 1, 8, None, 0.0)
    for pair in range(50):
        slow.learn_pace(1, float(pair))
        slow.learn_pace(1, float(pair))
    # Two answers a second, and ten requests that wait: five seconds, of which half of the time may be waited.
    assert slow.refusal(task(13), None, 0.0) == ""
    assert "10 requests wait" in slow.refusal(task(7), None, 0.0)
    lease.release()
    bench.engine.close()


def test_a_pause_in_which_nobody_waited_does_not_count_as_slowness() -> None:
    bench = Bench(NATURAL)
    lease = bench.handle.acquire()
    assert lease is not None
    lane_ = lane(NATURAL)

    def enqueue() -> str:
        task = Task(lane_, lease, of_shape(1, 2), 1, 1, 8, "Predict", 0.0, 1.0, ignore)
        refusal = lane_.refusal(task, None, 0.0)
        lane_.queue.add(task, 1, 8, None, 0.0)
        return refusal

    for seconds in (0.0, 0.001):  # a thousand answers a second, while others wait
        enqueue()
        enqueue()
        lane_.learn_pace(1, seconds)
    lane_.queue.clear()  # the rest is answered on the loop
    for _ in range(10):
        enqueue()
    lane_.learn_pace(1, 100.0)
    assert enqueue() == ""
    lease.release()
    bench.engine.close()


def test_what_has_been_in_its_socket_for_long_is_let_in_only_where_nobody_waits() -> None:
    natural = lane(NATURAL)
    assert natural.lateness(5.0, 3.0) == ""
    natural.guests = 2
    assert natural.lateness(5.0, 2.0) == ""
    assert "2 requests wait, for about 3.0 s" in natural.lateness(5.0, 3.0)
    assert natural.lateness(None, 3.0) == ""


def test_a_lane_that_stops_sharing_lets_every_request_go_alone() -> None:
    natural = lane(NATURAL)
    natural.stop_sharing()
    assert natural.rules is ALONE
    assert natural.admit(of_shape(3, 2)) == (1, 1, None)
    assert not natural.queue.fits(1, 8, None)


def test_a_run_is_short_only_when_that_is_known() -> None:
    natural = lane(NATURAL)
    assert not natural.is_short(8)
    natural.times.learn(8, 1e-6)
    assert natural.is_short(8)
    assert not natural.is_short(8_000_000)


def test_several_requests_may_share_a_longer_run_on_the_loop_than_one_may_have() -> None:
    natural = lane(NATURAL)
    assert not natural.is_short_together(64, 4)  # nothing is known yet
    natural.times.learn(64, INLINE_SECONDS * 2)
    assert natural.is_short_together(64, 4)
    assert not natural.is_short_together(64, 1)


def test_a_shared_run_on_the_loop_holds_up_others_for_no_longer_than_is_fair() -> None:
    natural = lane(NATURAL)
    natural.times.learn(64, SHARED_INLINE_SECONDS * 1.1)
    assert not natural.is_short_together(64, 32)
