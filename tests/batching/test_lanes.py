from __future__ import annotations

from hotserve.batching.lane import QueueBounds
from hotserve.batching.lanes import Lanes
from hotserve.batching.options import ALONE, NATURAL
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.tensors import DEFAULT_SIGNATURE
from support.in_process import ToyServable, adder


def version(servable: ToyServable, number: int = 1) -> VersionHandle:
    return VersionHandle(ServableId("m", number), servable, lambda _: None)


def test_requests_for_the_same_outputs_of_a_signature_of_a_version_have_the_same_lane() -> None:
    lanes, handle = Lanes(BatchPlans(), QueueBounds()), version(adder(1))
    lane = lanes.of(handle, DEFAULT_SIGNATURE, ["y"])
    lease = handle.acquire()
    assert lease is not None
    assert lanes.of(lease, DEFAULT_SIGNATURE, ("y",)) is lane
    assert lanes.of(handle, DEFAULT_SIGNATURE, ["y", "z"]) is not lane
    assert lanes.of(version(adder(1), 2), DEFAULT_SIGNATURE, ["y"]) is not lane
    assert (lane.id, lane.signature_name, lane.outputs) == (handle.id, DEFAULT_SIGNATURE, ("y",))


def test_a_lane_has_the_rules_that_its_version_was_given() -> None:
    plans, sharing, other = BatchPlans(), adder(1), adder(2)
    plans.set(sharing, VersionPlan(otherwise=NATURAL))
    lanes = Lanes(plans, QueueBounds())
    assert lanes.of(version(sharing), DEFAULT_SIGNATURE, ["y"]).rules is NATURAL
    assert lanes.of(version(other), DEFAULT_SIGNATURE, ["y"]).rules is ALONE


def test_clients_who_ask_for_ever_other_outputs_do_not_fill_the_memory_and_those_who_wait_are_kept() -> None:
    lanes, handle = Lanes(BatchPlans(), QueueBounds()), version(adder(1))
    first = lanes.of(handle, DEFAULT_SIGNATURE, ["0"])
    first.queue.add(None, 1, 4, None, 0.0)  # type: ignore[arg-type]  # whoever waits
    second = lanes.of(handle, DEFAULT_SIGNATURE, ["1"])
    for number in range(2, 300):
        lanes.of(handle, DEFAULT_SIGNATURE, [str(number)])
    assert lanes.of(handle, DEFAULT_SIGNATURE, ["0"]) is first
    assert lanes.of(handle, DEFAULT_SIGNATURE, ["1"]) is not second
