from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from hotserve.batching.options import ALONE, BatchRules
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.core.servable import Servable
from hotserve.errors import Internal, InvalidArgument, ServingError
from hotserve.handlers.batch_warmup import PATIENCE_SECONDS, BatchSizesWarmUp
from hotserve.handlers.recorded_warmup import WARMUP_FILE
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeClock
from support.in_process import ToyServable

UP_TO_10 = BatchRules(max_rows=10, max_bytes=1 << 20)
X = TensorSpec(DType.FLOAT, (None, 2))


def nothing(servable: Servable, path: Path) -> None:
    pass


class Model:
    """Takes `seconds_per_row` of a clock of its own for each row, and remembers how many rows came."""

    def __init__(self, spec: TensorSpec = X, seconds_per_row: float = 0.0, error: ServingError | None = None) -> None:
        self.rows: list[int] = []
        self.clock = FakeClock()
        self._seconds_per_row = seconds_per_row
        self._error = error
        self.servable = ToyServable({DEFAULT_SIGNATURE: Signature({"x": spec}, {"y": spec})}, self._run)

    def warm_up(self, path: Path, rules: BatchRules) -> list[int]:
        """The sizes that were run."""
        plans = BatchPlans(VersionPlan(otherwise=rules))
        BatchSizesWarmUp(nothing, plans, self.clock)(self.servable, path)
        return self.rows

    def _run(self, signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self.rows.append(len(inputs["x"]))
        self.clock.advance(self._seconds_per_row * len(inputs["x"]))
        if self._error is not None:
            raise self._error
        return {"y": np.asarray(inputs["x"])}


def test_powers_of_two_up_to_the_largest_batch_are_run(tmp_path: Path) -> None:
    assert Model().warm_up(tmp_path, UP_TO_10) == [2, 4, 8, 10]


def test_prescribed_sizes_are_run_all_of_them_however_long_they_take(tmp_path: Path) -> None:
    rules = BatchRules(max_rows=32, max_bytes=1 << 20, sizes=(1, 8, 32))
    assert Model(seconds_per_row=PATIENCE_SECONDS).warm_up(tmp_path, rules) == [1, 8, 32]


def test_without_a_prescription_sizes_end_where_they_would_take_too_long(tmp_path: Path) -> None:
    # 2, 4 and 8 rows take 1, 2 and 4 tenths of the time there is; twice the last is more than the 3 that are left.
    assert Model(seconds_per_row=PATIENCE_SECONDS / 20).warm_up(tmp_path, UP_TO_10) == [2, 4, 8]
    assert Model(seconds_per_row=PATIENCE_SECONDS / 4).warm_up(tmp_path, UP_TO_10) == [2]


@pytest.mark.parametrize("rules", [ALONE, BatchRules(max_rows=1, max_bytes=1 << 20)])
def test_nothing_is_run_where_requests_do_not_share_runs(tmp_path: Path, rules: BatchRules) -> None:
    assert Model().warm_up(tmp_path, rules) == []


def test_nothing_is_run_where_the_first_dimension_does_not_count_rows(tmp_path: Path) -> None:
    assert Model(TensorSpec(DType.FLOAT, (3,))).warm_up(tmp_path, UP_TO_10) == []


def test_a_version_with_recorded_requests_runs_those_and_no_others(tmp_path: Path) -> None:
    (tmp_path / WARMUP_FILE).parent.mkdir()
    (tmp_path / WARMUP_FILE).touch()
    assert Model().warm_up(tmp_path, UP_TO_10) == []


def test_values_that_are_refused_once_are_not_tried_in_other_sizes(tmp_path: Path) -> None:
    assert Model(error=InvalidArgument("zeros are no JPEG")).warm_up(tmp_path, UP_TO_10) == [2]


def test_any_other_failure_fails_the_load_and_says_at_which_size(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"Warm-up of signature serving_default with 2 rows failed: no room"):
        Model(error=Internal("no room")).warm_up(tmp_path, UP_TO_10)


def test_a_signature_that_has_been_prepared_elsewhere_is_left_alone(tmp_path: Path) -> None:
    model = Model()
    model.servable.is_prepared = lambda name: name == DEFAULT_SIGNATURE  # type: ignore[attr-defined]
    assert model.warm_up(tmp_path, UP_TO_10) == []
