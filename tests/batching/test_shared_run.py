from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.batching.options import ALONE, NATURAL, BatchingOptions
from hotserve.batching.shared_run import run_alone, run_together
from hotserve.errors import FailedPrecondition, InvalidArgument
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from support.in_process import ToyServable

BAD = -1.0


def doubler() -> ToyServable:
    """`x`: float [?] to `y`, twice as much; a row of `BAD` is refused."""

    def run(name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if (inputs["x"] == BAD).any():
            raise InvalidArgument("bad row")
        return {"y": inputs["x"] * 2}

    spec = TensorSpec(DType.FLOAT, (None,))
    return ToyServable({DEFAULT_SIGNATURE: Signature({"x": spec}, {"y": spec})}, run)


@given(st.lists(st.lists(st.sampled_from([BAD, 1.0, 2.0, 3.0]), min_size=1, max_size=3), min_size=1, max_size=9))
def test_every_request_gets_the_answer_or_the_error_that_it_gets_alone(rows: list[list[float]]) -> None:
    servable = doubler()
    requests = [{"x": np.array(row, np.float32)} for row in rows]
    shared = run_together(
        servable, DEFAULT_SIGNATURE, ["y"], NATURAL, requests, [len(row) for row in rows], FakeClock()
    )
    assert len(shared.answers) == len(rows)
    for row, answer in zip(rows, shared.answers, strict=True):
        if BAD in row:
            assert isinstance(answer, InvalidArgument)
        else:
            assert not isinstance(answer, BaseException)
            assert answer["y"].tolist() == [2 * value for value in row]
    good = [row for row in rows if BAD not in row]
    assert sum(run.rows for run in shared.runs) == sum(map(len, good))
    assert servable.runs <= 2 * len(rows) - 1


def test_what_is_raised_is_handed_over_whatever_it_is() -> None:
    def leave(name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        raise SystemExit(3)

    servable = ToyServable(doubler().signatures, leave)
    requests = [{"x": np.float32([1])}] * 2
    shared = run_together(servable, DEFAULT_SIGNATURE, ["y"], NATURAL, requests, [1, 1], FakeClock())
    assert [type(answer) for answer in shared.answers] == [SystemExit, SystemExit]
    assert shared.runs == []


def test_alone_a_request_is_padded_and_checked_only_where_that_is_configured() -> None:
    servable = doubler()
    inputs = {"x": np.float32([1, 2, 3])}
    rules = BatchingOptions(max_batch_size=8, allowed_batch_sizes=(4, 8)).rules()
    for how in (ALONE, NATURAL, rules):
        assert run_alone(servable, DEFAULT_SIGNATURE, inputs, ["y"], how, 3)["y"].tolist() == [2, 4, 6]
    summing = ToyServable(servable.signatures, lambda name, inputs: {"y": inputs["x"].sum()})
    assert run_alone(summing, DEFAULT_SIGNATURE, inputs, ["y"], NATURAL, 3)["y"] == 6
    with pytest.raises(FailedPrecondition, match="Batched output tensor has 0 dimensions"):
        run_alone(summing, DEFAULT_SIGNATURE, inputs, ["y"], rules, 3)
