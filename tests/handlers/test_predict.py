from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hotserve.batching.scheduler import EngineThreads
from hotserve.core.servable import Servable
from hotserve.errors import Code, DeadlineExceeded, FailedPrecondition, InvalidArgument, ServingError
from hotserve.handlers.predict import Predict
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from support.in_process import Gate, ToyServable, adder, failing
from support.leases import lease

X = TensorSpec(DType.FLOAT, (None,), "x:0")


def predict(engine: EngineThreads, servable: Servable, inputs: Mapping[str, Array], **how: Any) -> dict[str, Array]:
    name = how.get("signature", DEFAULT_SIGNATURE)
    signature = servable.signatures[name]
    with lease(servable) as held:
        return asyncio.run(
            Predict(engine)(held, name, signature, inputs, how.get("outputs", ["y"]), how.get("timeout_seconds"))
        )


def test_a_checked_request_is_run(engine: EngineThreads) -> None:
    answer = predict(engine, adder(2), {"x": np.float32([1, 2])})
    assert answer["y"].tolist() == [3.0, 4.0]


def test_only_the_outputs_that_are_wanted_are_asked_for(engine: EngineThreads) -> None:
    both = ToyServable(
        {DEFAULT_SIGNATURE: Signature({"x": X}, {"y": X, "z": X})}, lambda _, inputs: dict.fromkeys("yz", inputs["x"])
    )
    assert list(predict(engine, both, {"x": np.float32([1])}, outputs=["z"])) == ["z"]


def test_what_a_request_leaves_out_takes_its_default_and_what_it_gives_does_not(engine: EngineThreads) -> None:
    signature = Signature({"x": X, "k": X}, {"y": X}, defaults={"k": np.float32([10])})
    servable = ToyServable({DEFAULT_SIGNATURE: signature}, lambda _, inputs: {"y": inputs["x"] * inputs["k"]})
    assert predict(engine, servable, {"x": np.float32([2])})["y"].tolist() == [20.0]
    assert predict(engine, servable, {"x": np.float32([2]), "k": np.float32([3])})["y"].tolist() == [6.0]
    assert signature.defaults.keys() == {"k"}


def test_arrays_that_do_not_fit_never_reach_the_engine(engine: EngineThreads) -> None:
    servable = adder(1)
    with pytest.raises(InvalidArgument) as caught:
        predict(engine, servable, {"x": np.int32([1])})
    assert servable.runs == 0
    assert caught.value.message == (
        "Expects arg[0] to be float but int32 is provided: input x is float [?], and int32 [1] came. Inputs of"
        " signature serving_default: x: float [?]. The request gave x: int32 [1]."
    )


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE])
def test_what_the_engine_refuses_is_explained(engine: EngineThreads, code: Code) -> None:
    with pytest.raises(ServingError) as caught:
        predict(engine, failing(ServingError("the engine's words", code)), {"x": np.float32([1, 2])})
    assert caught.value.code is code
    assert caught.value.message == (
        "the engine's words. Inputs of signature serving_default: x: float [?]. The request gave x: float [2]."
    )


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL, Code.RESOURCE_EXHAUSTED])
def test_what_is_not_the_fault_of_the_request_is_left_as_it_is(engine: EngineThreads, code: Code) -> None:
    error = ServingError("the engine's words", code)
    with pytest.raises(ServingError) as caught:
        predict(engine, failing(error), {"x": np.float32([1])})
    assert caught.value is error


def test_the_graphs_own_initialisation_cannot_be_called(engine: EngineThreads) -> None:
    servable = ToyServable({"__saved_model_init_op": Signature({}, {"y": X})}, lambda _, inputs: {"y": np.zeros(1)})
    with pytest.raises(FailedPrecondition, match="initialises the graph and cannot be called"):
        predict(engine, servable, {}, signature="__saved_model_init_op")
    assert servable.runs == 0


def test_a_run_that_takes_too_long_is_given_up(engine: EngineThreads) -> None:
    gate = Gate()
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.01 s"):
        predict(engine, gate.servable, {"x": np.float32([1])}, timeout_seconds=0.01)
    gate.open()
