from __future__ import annotations

import pytest

from hotserve.platforms.engines.choice import choose, is_doubtful
from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.findings import EngineFinding, Examination, SignatureFindings

ALL = ("onnxruntime", "openvino")


def agrees(*seconds: float) -> EngineFinding:
    return EngineFinding(domain=Domain({}), seconds=dict(zip((1, 8), seconds, strict=True)))


def choice(engines: dict[str, EngineFinding], wanted: str = "auto", available: tuple[str, ...] = ALL, bound: str = ""):
    examination = Examination({"s": SignatureFindings(0, bound, {1: 1.0, 8: 4.0}, engines)})
    return choose(examination, wanted, available)["s"]


def test_the_fastest_of_those_that_agree_is_chosen() -> None:
    found = choice({"onnxruntime": agrees(0.1, 1.0), "openvino": agrees(0.5, 0.1)})
    assert (found.engine, found.reason) == ("openvino", "8.9 times as fast as TensorFlow")


def test_an_engine_whose_answers_differ_is_not_chosen_however_fast_it_is() -> None:
    found = choice({"onnxruntime": EngineFinding("its answer differs", True), "openvino": agrees(0.5, 2.0)})
    assert found.engine == "openvino"


def test_an_engine_that_is_not_here_is_not_chosen() -> None:
    assert choice({"openvino": agrees(0.1, 0.1)}, available=("onnxruntime",)).engine == "tensorflow"


def test_an_engine_that_is_hardly_faster_is_not_worth_it() -> None:
    assert choice({"openvino": agrees(0.95, 3.9)}).engine == "tensorflow"


@pytest.mark.parametrize("wanted", ["auto", "openvino"])
def test_what_is_bound_stays_with_tensorflow(wanted: str) -> None:
    found = choice({"openvino": agrees(0.1, 0.1)}, wanted, bound="it is random (RandomUniform)")
    assert (found.engine, found.reason) == ("tensorflow", "it is random (RandomUniform)")


def test_an_engine_that_was_asked_for_is_used_where_it_agrees_even_if_it_is_slower() -> None:
    assert choice({"openvino": agrees(2.0, 8.0), "onnxruntime": agrees(0.1, 0.1)}, "openvino").engine == "openvino"


def test_an_engine_that_was_asked_for_and_cannot_run_it_says_why() -> None:
    found = choice({"openvino": EngineFinding("no rule for AsString")}, "openvino")
    assert (found.engine, found.reason) == ("tensorflow", "no rule for AsString")


def test_inputs_of_other_shapes_are_chosen_for_each_by_itself() -> None:
    slow, fast = ({"openvino": agrees(seconds, seconds)} for seconds in (2.0, 0.1))
    others = [SignatureFindings(number, "", {1: 1.0, 8: 1.0}, engines) for number, engines in ((1, slow), (2, fast))]
    found = SignatureFindings(0, "", {1: 1.0, 8: 4.0}, {"onnxruntime": agrees(0.1, 0.1)}, alternatives=others)
    chosen = choose(Examination({"s": found}), "auto", ALL)["s"]
    assert chosen.engine == "onnxruntime"
    assert [other.engine for other in chosen.alternatives] == ["tensorflow", "openvino"]


def doubtful(seconds: float, spread: float, timings: int = 1, bound: str = "", other: float = 0.9) -> bool:
    engines = {"onnxruntime": agrees(seconds, seconds), "openvino": agrees(other, other)}
    found = SignatureFindings(0, bound, {1: 1.0, 8: 1.0}, engines, spread=spread, timings=timings)
    return is_doubtful(Examination({"s": found, "bound": SignatureFindings(bound="it is random")}), ALL)


def test_a_choice_between_engines_that_are_closer_than_the_measurements_is_doubtful() -> None:
    assert doubtful(0.5, spread=0.3, other=0.45)
    assert not doubtful(0.5, spread=0.3, other=0.9)


def test_so_is_one_that_is_close_to_tensorflow() -> None:
    assert doubtful(0.85, spread=0.1, other=2.0)
    assert not doubtful(0.5, spread=0.1, other=2.0)


def test_measurements_that_are_far_apart_are_doubtful_whatever_they_say() -> None:
    assert doubtful(0.1, spread=0.6)


def test_after_some_measurements_and_where_there_is_no_choice_there_is_no_doubt() -> None:
    assert not doubtful(0.1, spread=0.6, timings=3)
    assert not doubtful(0.1, spread=0.6, bound="it is random (RandomUniform)")
    refused = SignatureFindings(0, "", {}, {"openvino": EngineFinding("no rule for AsString")}, spread=2.0)
    assert not is_doubtful(Examination({"s": refused}), ALL)
