from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hotserve.batching.options import ALONE, NATURAL, BatchingOptions
from hotserve.batching.plans import BatchPlans
from hotserve.batching.samples import Samples
from hotserve.core.servable import Servable
from hotserve.errors import ConfigError, InvalidArgument
from hotserve.handlers.batch_planning import ConfiguredPlanning, NaturalPlanning, PlannedWarmUp
from hotserve.tensors import Array, DType, Signature, TensorSpec
from support.in_process import ToyServable, adder

FOLDER = Path("/models/m/1")


def three_signatures() -> ToyServable:
    """`rows` has independent rows, `mixed` mixes them, `scalar` has none."""
    vector, scalar = TensorSpec(DType.FLOAT, (None,)), TensorSpec(DType.FLOAT, ())

    def run(name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        x = inputs["x"]
        return {"y": x - x.mean() if name == "mixed" else x}

    return ToyServable(
        {
            "rows": Signature({"x": vector}, {"y": vector}),
            "mixed": Signature({"x": vector}, {"y": vector}),
            "scalar": Signature({"x": scalar}, {"y": scalar}),
        },
        run,
    )


def nothing(servable: Servable, path: Path) -> None:
    pass


def test_naturally_those_signatures_share_runs_whose_rows_are_independent(caplog: pytest.LogCaptureFixture) -> None:
    plans, servable = BatchPlans(), three_signatures()
    with caplog.at_level(logging.INFO):
        PlannedWarmUp(nothing, NaturalPlanning(plans, Samples()))(servable, FOLDER)
    plan = plans.of(servable)
    assert [plan.rules_of(name) for name in ("rows", "mixed", "scalar")] == [NATURAL, ALONE, ALONE]
    assert "Requests for signature rows of /models/m/1 share runs" in caplog.text
    assert "Requests for signature mixed of /models/m/1 run alone: a row's output y depends" in caplog.text


def test_what_the_warm_up_was_run_with_is_what_rows_are_tried_with() -> None:
    spec = TensorSpec(DType.STRING, (None,))

    def run(name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if any(value.isdigit() for value in inputs["x"]):
            raise InvalidArgument("words only")
        return {"y": inputs["x"]}

    servable = ToyServable({"s": Signature({"x": spec}, {"y": spec})}, run)
    plans, samples = BatchPlans(), Samples()

    def warm_up(servable: Servable, path: Path) -> None:
        samples.note(servable, "s", {"x": np.array([b"a", b"b"], object)})

    PlannedWarmUp(warm_up, NaturalPlanning(plans, samples))(servable, FOLDER)
    assert plans.of(servable).rules_of("s") is NATURAL
    PlannedWarmUp(nothing, NaturalPlanning(plans, samples))(servable, FOLDER)
    assert plans.of(servable).rules_of("s") is ALONE


def test_where_it_is_configured_the_plan_is_there_before_the_warm_up() -> None:
    plans, servable = BatchPlans(), adder(1)
    options = BatchingOptions(max_batch_size=7)
    seen = []

    def warm_up(servable: Servable, path: Path) -> None:
        seen.append(plans.of(servable).rules_of("any"))

    PlannedWarmUp(warm_up, ConfiguredPlanning(plans, options, None))(servable, FOLDER)
    assert seen == [options.rules()]


def test_a_version_may_bring_its_own_parameters_and_is_not_batched_without() -> None:
    plans, one, other = BatchPlans(), adder(1), adder(2)
    own = BatchingOptions(max_batch_size=3)
    planning = ConfiguredPlanning(plans, BatchingOptions(), lambda path: own if path.name == "1" else None)
    PlannedWarmUp(nothing, planning)(one, FOLDER)
    PlannedWarmUp(nothing, planning)(other, FOLDER.with_name("2"))
    assert plans.of(one).rules_of("s") == own.rules()
    assert plans.of(other).rules_of("s") is ALONE


def test_parameters_of_a_version_that_are_wrong_end_its_load_before_the_warm_up() -> None:
    def wrong(path: Path) -> BatchingOptions:
        raise ConfigError("line 3")

    def never(servable: Servable, path: Path) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match="line 3"):
        PlannedWarmUp(never, ConfiguredPlanning(BatchPlans(), BatchingOptions(), wrong))(adder(1), FOLDER)
