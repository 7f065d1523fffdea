from __future__ import annotations

import numpy as np

from hotserve.errors import InvalidArgument
from hotserve.platforms.engines.domain import Bounds
from hotserve.platforms.engines.made_up_inputs import SCALES, Inputs, Trials, can_be_made_up, make_trials
from hotserve.tensors import Array, DType, Shape, Signature, TensorSpec


def signature(**inputs: TensorSpec) -> Signature:
    return Signature(inputs, {"y": TensorSpec(DType.FLOAT, (None,))})


def floats(*shape: int | None) -> TensorSpec:
    return TensorSpec(DType.FLOAT, shape)


def takes_all(inputs: Inputs) -> dict[str, Array]:
    return {"y": np.zeros(1, np.float32)}


def trials_of(signature: Signature, run=takes_all, samples=()) -> Trials:
    trials = make_trials(signature, run, samples)
    assert isinstance(trials, Trials)
    return trials


def test_several_numbers_of_rows_are_tried_and_some_of_them_timed() -> None:
    trials = trials_of(signature(x=floats(None, 3)))
    assert {trial.inputs["x"].shape for trial in trials.trials} == {(rows, 3) for rows in (1, 2, 3, 8, 32)}
    assert sorted(trials.timed) == [1, 8, 32]


def test_values_of_all_scales_are_tried_and_bound_what_an_engine_is_given() -> None:
    trials = trials_of(signature(x=floats(None, 8))).trials
    for scale in SCALES:
        largest = max(np.abs(trial.inputs["x"]).max() for trial in trials if trial.scale == scale)
        assert scale / 100 < largest <= scale * (1 + 1e-6)
    domain = trials_of(signature(x=floats(None, 8))).domain(signature(x=floats(None, 8)), SCALES[-1])
    assert domain.bounds == {"x": Bounds(-1e6, 1e6)}


def test_a_fixed_first_dimension_is_kept() -> None:
    trials = trials_of(signature(x=floats(4, 2)))
    assert {trial.inputs["x"].shape for trial in trials.trials} == {(4, 2)}
    assert trials.shapes == {"x": (4, 2)}


def test_two_sizes_of_unknown_dimensions_are_tried() -> None:
    trials = trials_of(signature(x=floats(None, None)))
    assert len({trial.inputs["x"].shape[1] for trial in trials.trials}) == 2
    assert trials.shapes == {"x": (None, None)}


def test_a_dimension_of_which_only_one_size_is_accepted_is_held_to_it() -> None:
    def run(inputs: Inputs) -> dict[str, Array]:
        if inputs["x"].shape[1] != 33:
            raise InvalidArgument("33 columns, please")
        return takes_all(inputs)

    trials = trials_of(signature(x=floats(None, None)), run)
    assert trials.shapes == {"x": (None, 33)}
    assert trials.domain(signature(x=floats(None, None)), SCALES[-1]).shapes == {"x": (None, 33)}


def test_sizes_that_are_named_are_all_tried_and_all_have_to_be_accepted() -> None:
    matrix = signature(x=floats(None, None))
    trials = make_trials(matrix, takes_all, sizes=(5, 1, 2))
    assert isinstance(trials, Trials)
    assert {trial.inputs["x"].shape[1] for trial in trials.trials} == {5, 1, 2}
    assert trials.domain(matrix, 1.0).smallest_size == 1

    def run(inputs: Inputs) -> dict[str, Array]:
        if inputs["x"].shape[1] == 2:
            raise InvalidArgument("not two")
        return takes_all(inputs)

    assert make_trials(matrix, run, sizes=(5, 1, 2)) == "TensorFlow refuses inputs that are made up (not two)"


def test_an_unknown_rank_is_found_out() -> None:
    def run(inputs: Inputs) -> dict[str, Array]:
        if inputs["x"].ndim != 2:
            raise InvalidArgument("a matrix, please")
        return takes_all(inputs)

    assert trials_of(signature(x=TensorSpec(DType.FLOAT, None)), run).shapes == {"x": (None, None)}


def table_of(size: int):
    def run(inputs: Inputs) -> dict[str, Array]:
        if inputs["id"].min() < 0 or inputs["id"].max() >= size:
            raise InvalidArgument(f"indices are not in [0, {size})")
        return takes_all(inputs)

    return run


def test_the_size_of_a_table_is_learnt() -> None:
    for size in (1, 2, 7, 1000, 123_457):
        ids = signature(id=TensorSpec(DType.INT64, (None, 4)))
        trials = trials_of(ids, table_of(size))
        assert trials.limits == {"id": (0, size - 1)}
        assert trials.domain(ids, SCALES[-1]).bounds == {"id": Bounds(0, size - 1)}
        assert all(trial.inputs["id"].max() < size for trial in trials.trials)
        assert any(trial.inputs["id"].max() == size - 1 for trial in trials.trials)


def test_integers_that_may_be_anything_have_no_bounds_when_all_have_been_tried() -> None:
    numbers = signature(n=TensorSpec(DType.INT32, (None,)))
    trials = trials_of(numbers)
    assert trials.domain(numbers, SCALES[-1]).bounds == {}
    assert trials.domain(numbers, 1e3).bounds == {"n": Bounds(-1000, 1000)}


def test_an_integer_that_sizes_the_answer_is_held_to_what_leaves_it_as_it_is() -> None:
    def run(inputs: Inputs) -> dict[str, Array]:
        assert inputs["n"] < 100, "an answer of such a size would take all memory"
        return {"y": np.zeros(max(0, int(inputs["n"])), np.float32)}

    assert trials_of(signature(n=TensorSpec(DType.INT32, ())), run).limits == {"n": (-(2**31), 0)}


def test_recorded_requests_are_tried_first_and_stand_alone_where_nothing_can_be_made_up() -> None:
    def run(inputs: Inputs) -> dict[str, Array]:
        if inputs["x"][0, 0] != 7:
            raise InvalidArgument("no")
        return takes_all(inputs)

    sample = {"x": np.array([[7, 8, 9]], np.float32)}
    matrix = signature(x=floats(None, 3))
    assert trials_of(matrix, samples=[sample]).trials[0].scale == 0
    trials = trials_of(matrix, run, [sample])
    assert [trial.inputs for trial in trials.trials] == [sample]
    assert trials.domain(matrix, 0.0).bounds == {"x": Bounds(7.0, 9.0)}
    reason = make_trials(matrix, run)
    assert reason == "TensorFlow refuses inputs that are made up (no)"


def test_strings_are_not_made_up() -> None:
    def reason(dtype: DType, shape: Shape = (None,)) -> str:
        return can_be_made_up(signature(x=TensorSpec(dtype, shape)))

    assert reason(DType.STRING) == "its input x is string, which other engines are not given"
    assert reason(DType.COMPLEX64)
    assert not reason(DType.FLOAT)
    assert not reason(DType.BOOL)
    assert can_be_made_up(Signature({}, {})) == "it has no inputs, or no outputs"
