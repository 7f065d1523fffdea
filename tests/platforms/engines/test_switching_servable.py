from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from hotserve.core.servable import NeedsThread, for_loop, runtime_of
from hotserve.errors import InvalidArgument
from hotserve.platforms.engines.domain import Bounds, Domain
from hotserve.platforms.engines.reference import Reference
from hotserve.platforms.engines.switching_servable import Served, SwitchingServable
from hotserve.platforms.engines.ways import Way, Ways
from hotserve.tensors import Array, DType, Signature, TensorSpec
from support.in_process import ToyServable

NUMBERS = TensorSpec(DType.INT64, (None,))
SIGNATURES = {name: Signature({"x": NUMBERS}, {"y": NUMBERS}) for name in ("moved", "other")}
DOMAIN = Domain({"x": (None,)}, {"x": Bounds(0, 9)})


def numbers(*values: int) -> dict[str, Array]:
    return {"x": np.array(values)}


class Doubling:
    """An engine that cannot double 7."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        if 7 in np.atleast_1d(inputs["x"]):
            raise InvalidArgument("the engine cannot double 7")
        return {"y": 2 * inputs["x"]}


def served_by(engine: str, is_short: bool = False) -> Served:
    return Served(Ways([Way(engine, Doubling(), DOMAIN)]), is_short)


class Loads:
    """Makes references that add 100, and counts."""

    def __init__(self) -> None:
        self.made: list[ToyServable] = []

    def __call__(self) -> ToyServable:
        def run(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            if 8 in np.atleast_1d(inputs["x"]):
                raise InvalidArgument("TensorFlow's words about 8")
            return {"y": inputs["x"] + 100}

        self.made.append(ToyServable(SIGNATURES, run))
        return self.made[-1]


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def counted() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def servable(loads: Loads, counted: list[tuple[str, str]]) -> SwitchingServable:
    served = {"moved": served_by("onnxruntime")}
    return SwitchingServable(
        SIGNATURES, ("serve",), Reference(loads), served, lambda name, reason: counted.append((name, reason))
    )


def test_a_signature_is_run_by_the_engine_that_was_chosen(servable: SwitchingServable, loads: Loads) -> None:
    assert servable.run("moved", numbers(1, 2), ["y"])["y"].tolist() == [2, 4]
    assert loads.made == []
    assert (runtime_of(servable, "moved"), runtime_of(servable, "other")) == ("onnxruntime", "TF1")
    assert servable.engines == {"moved": "onnxruntime", "other": "tensorflow"}


@pytest.mark.parametrize(("value", "reason"), [(10, "outside"), (-1, "outside"), (7, "refused")])
def test_what_the_engine_may_not_or_cannot_run_goes_to_tensorflow(
    servable: SwitchingServable, loads: Loads, counted: list[tuple[str, str]], value: int, reason: str
) -> None:
    assert servable.run("moved", numbers(value), ["y"])["y"].tolist() == [value + 100]
    assert counted == [("moved", reason)]
    servable.run("moved", numbers(value), ["y"])
    assert len(loads.made) == 1


def test_inputs_of_another_shape_that_was_examined_have_a_form_of_their_own(
    loads: Loads, counted: list[tuple[str, str]]
) -> None:
    ways = Ways([Way("onnxruntime", Doubling(), DOMAIN), Way("onnxruntime", Doubling(), Domain({"x": ()}))])
    servable = SwitchingServable(
        SIGNATURES, (), Reference(loads), {"moved": Served(ways)}, lambda name, reason: counted.append((name, reason))
    )
    scalar = {"x": np.array(4)}
    assert servable.run("moved", scalar, ["y"])["y"].tolist() == 8
    assert for_loop(servable).run("moved", scalar, ["y"])["y"].tolist() == 8
    assert (loads.made, counted) == ([], [])
    assert servable.run("moved", {"x": np.array([[4]])}, ["y"])["y"].tolist() == [[104]]
    assert counted == [("moved", "outside")]


def test_an_error_has_the_words_of_tensorflow(servable: SwitchingServable) -> None:
    with pytest.raises(InvalidArgument, match="TensorFlow's words about 8"):
        servable.run("moved", numbers(7, 8), ["y"])


def test_the_event_loop_is_told_to_use_a_thread_before_anything_long_is_begun(
    servable: SwitchingServable, loads: Loads
) -> None:
    view = for_loop(servable)
    assert view.run("moved", numbers(3), ["y"])["y"].tolist() == [6]
    for name, value in (("moved", 10), ("moved", 7), ("other", 1)):
        with pytest.raises(NeedsThread):
            view.run(name, numbers(value), ["y"])
    assert loads.made == []
    servable.run("other", numbers(1), ["y"])
    assert view.run("other", numbers(1), ["y"])["y"].tolist() == [101]
    assert view.signatures == servable.signatures


def test_tensorflow_runs_on_the_event_loop_where_it_is_there_and_quick(
    loads: Loads, counted: list[tuple[str, str]]
) -> None:
    served = {"moved": served_by("onnxruntime", is_short=True)}
    servable = SwitchingServable(
        SIGNATURES, (), Reference(loads), served, lambda name, reason: counted.append((name, reason))
    )
    with pytest.raises(NeedsThread):
        for_loop(servable).run("moved", numbers(10), ["y"])
    assert counted == []
    servable.run("moved", numbers(10), ["y"])
    assert for_loop(servable).run("moved", numbers(10), ["y"])["y"].tolist() == [110]
    assert counted == [("moved", "outside")] * 2
    with pytest.raises(NeedsThread):  # what the engine has refused may be anything
        for_loop(servable).run("moved", numbers(7), ["y"])


def test_a_switch_changes_what_runs_next(servable: SwitchingServable) -> None:
    servable.switch({"other": served_by("openvino")})
    assert servable.run("moved", numbers(1), ["y"])["y"].tolist() == [101]
    assert servable.run("other", numbers(1), ["y"])["y"].tolist() == [2]


def test_tensorflow_is_let_go_and_comes_back_when_it_is_needed(servable: SwitchingServable, loads: Loads) -> None:
    servable.run("other", numbers(1), ["y"])
    assert servable.let_reference_go()
    assert [made.unloaded.is_set() for made in loads.made] == [True]
    assert servable.run("other", numbers(1), ["y"])["y"].tolist() == [101]
    assert [made.unloaded.is_set() for made in loads.made] == [True, False]


def test_an_unloaded_version_holds_nothing_and_says_so_to_those_who_asked(
    servable: SwitchingServable, loads: Loads
) -> None:
    told: list[str] = []
    servable.when_unloaded(lambda: told.append("gone"))
    servable.run("other", numbers(1), ["y"])
    servable.unload()
    assert told == ["gone"]
    assert loads.made[0].unloaded.is_set()


def without_tensorflow() -> SwitchingServable:
    return SwitchingServable(SIGNATURES, ("serve",), None, {"moved": served_by("openvino")})


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (numbers(7), "the engine cannot double 7"),
        (numbers(10), r"Input x has values outside of \[0, 9\]"),
        ({"x": np.array([[1]])}, r"Input x has the shape \[1, 1\]. Expected \[-1\]"),
        (numbers(), r"Input x has the shape \[0\]"),
    ],
)
def test_without_tensorflow_what_cannot_be_run_is_the_fault_of_the_request(
    inputs: dict[str, Array], words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        without_tensorflow().run("moved", inputs, ["y"])


def test_without_tensorflow_a_signature_that_needs_it_says_what_to_install() -> None:
    with pytest.raises(InvalidArgument, match=r"pip install 'hotserve\[tensorflow\]'"):
        without_tensorflow().run("other", numbers(1), ["y"])


def in_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_reference_is_loaded_once_for_all_who_ask_at_the_same_time(loads: Loads) -> None:
    reference = Reference(loads)
    both = threading.Barrier(4)

    def use() -> None:
        both.wait()
        with reference.use() as servable:
            servable.run("other", numbers(1), ["y"])

    in_threads(4, use)
    assert len(loads.made) == 1


def test_a_reference_stays_while_it_is_used(loads: Loads) -> None:
    reference = Reference(loads)
    with reference.use():
        assert not reference.let_go(0.01)
        assert reference.is_loaded
    assert reference.let_go(1.0)
    assert not reference.is_loaded


def test_a_reference_that_cannot_be_loaded_is_tried_again(loads: Loads) -> None:
    failures = iter([InvalidArgument("not now")])

    def load() -> ToyServable:
        for failure in failures:
            raise failure
        return loads()

    reference = Reference(load)
    with pytest.raises(InvalidArgument), reference.use():
        pass
    with reference.use():
        assert reference.is_loaded
