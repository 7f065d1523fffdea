from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hotserve.errors import InvalidArgument
from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.engine import Runner
from hotserve.platforms.engines.findings import EngineFinding, SignatureFindings
from hotserve.platforms.engines.made_up_inputs import Inputs
from hotserve.platforms.engines.timing import time_again, time_runs
from hotserve.tensors import Array, DType, Signature, TensorSpec
from support.in_process import ToyServable

TIMED = {rows: {"x": np.zeros(rows, np.float32)} for rows in (1, 8)}


def test_each_is_timed_with_all_numbers_of_rows() -> None:
    asked: list[int] = []

    def run(inputs: Inputs) -> None:
        asked.append(len(inputs["x"]))

    times = time_runs({"one": run, "other": run}, TIMED)
    assert {name: set(seconds) for name, seconds in times.seconds.items()} == {"one": {1, 8}, "other": {1, 8}}
    assert all(seconds >= 0 for each in times.seconds.values() for seconds in each.values())
    assert times.spread >= 0
    assert asked.count(1) == asked.count(8) > 2


def test_rows_that_one_of_them_refuses_are_left_out() -> None:
    def run(inputs: Inputs) -> None:
        if len(inputs["x"]) == 8:
            raise InvalidArgument("too many")

    assert set(time_runs({"one": run, "other": lambda inputs: None}, TIMED).seconds["other"]) == {1}


class Doubling:
    """An engine that keeps in mind what it was given."""

    def __init__(self) -> None:
        self.shapes: set[tuple[int, ...]] = set()

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.shapes.add(inputs["x"].shape)
        return {"y": 2 * inputs["x"]}


def test_the_shortest_times_of_all_measurements_are_kept_also_of_other_shapes() -> None:
    spec = TensorSpec(DType.FLOAT, (None, 1))
    servable = ToyServable({"s": Signature({"x": spec}, {"y": spec})}, lambda name, inputs: {"y": 2 * inputs["x"]})

    def finding(shape: tuple[int | None, ...], seconds: float) -> Mapping[str, EngineFinding]:
        return {
            "onnxruntime": EngineFinding(domain=Domain({"x": shape}), seconds={1: seconds, 8: seconds}),
            "openvino": EngineFinding("no rule for it"),
        }

    other = SignatureFindings(1, "", {1: 100.0}, finding((None,), 0.0), spread=9.0)
    found = SignatureFindings(0, "", {1: 100.0, 8: 0.0}, finding((None, 1), 100.0), 12, (other,), spread=0.0)
    engine = Doubling()
    restored: list[tuple[str, int]] = []

    def restore(name: str, number: int, signature: Signature) -> Runner:
        restored.append((name, number))
        return engine

    again = time_again(found, "s", servable, restore)
    assert sorted(restored) == [("onnxruntime", 0), ("onnxruntime", 1)]
    assert engine.shapes == {(1, 1), (8, 1), (32, 1), (1,), (8,), (32,)}
    assert again.seconds[1] < 100 > again.engines["onnxruntime"].seconds[8]
    assert again.seconds[8] == 0.0
    assert again.alternatives[0].engines["onnxruntime"].seconds == {1: 0.0, 8: 0.0}
    assert (again.spread, again.timings, again.alternatives[0].timings) == (0.0, 2, 2)
    assert replace(again.engines["openvino"]) == found.engines["openvino"]
