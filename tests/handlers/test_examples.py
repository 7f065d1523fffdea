from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from hotserve.batching.scheduler import EngineThreads
from hotserve.codecs.inference_results import Classified
from hotserve.codecs.tf_example import examples_of
from hotserve.core.servable import Servable
from hotserve.errors import Code, DeadlineExceeded, InvalidArgument, ServingError
from hotserve.handlers.classify import CLASSIFY
from hotserve.handlers.examples import ExamplesRefused, OnExamples
from hotserve.handlers.predict import Predict
from hotserve.handlers.regress import REGRESS
from hotserve.tensors import DEFAULT_SIGNATURE, PREDICT_METHOD, Array, DType, Signature, TensorSpec
from support.in_process import Gate, ToyServable, adder
from support.leases import lease
from support.toy_examples import EXAMPLES, FLOATS, example, examples_input, likes

ONE = examples_of(examples_input(example(x=1.0)))
CLASSIFY_NEEDS = (
    "Classify needs a signature with one input, inputs: string [?], which takes serialized tf.Examples, and the output"
    " classes: string [?,?] or scores: float [?,?] or both, with a row for each example."
)


def classify(engine: EngineThreads, servable: Servable, examples: Array = ONE, **how: Any) -> Classified:
    handler = OnExamples(CLASSIFY, Predict(engine), check_method_name=how.get("check_method_name", False))
    with lease(servable) as held:
        return asyncio.run(handler(held, how.get("signature", ""), examples, how.get("timeout_seconds")))


def failing(error: Exception) -> ToyServable:
    def run(signature_name: str, inputs: Any) -> Any:
        raise error

    return ToyServable({DEFAULT_SIGNATURE: Signature({"inputs": EXAMPLES}, {"scores": FLOATS})}, run)


def test_the_whole_vector_goes_to_the_engine_in_one_run(engine: EngineThreads) -> None:
    servable = likes()
    examples = examples_of(examples_input(example(x=0.25), example(x=1.0)))
    result = classify(engine, servable, examples)
    assert servable.runs == 1
    assert result.scores.tolist() == [[0.25, 0.75], [1.0, 0.0]]


def test_a_name_that_is_empty_is_the_default_signature(engine: EngineThreads) -> None:
    assert classify(engine, likes(), signature=DEFAULT_SIGNATURE).labels.tolist() == [[b"yes", b"no"]]
    assert classify(engine, likes(), signature="").labels.tolist() == [[b"yes", b"no"]]


def test_a_signature_that_there_is_not_is_answered_with_those_that_fit(engine: EngineThreads) -> None:
    with pytest.raises(InvalidArgument) as caught:
        classify(engine, likes(), signature="nope")
    assert caught.value.message == (
        f"No signature was found with the name: nope. {CLASSIFY_NEEDS} Classify signatures available in m version 7:"
        " labels, scores, serving_default."
    )


def test_a_model_that_takes_no_examples_at_all_is_sent_to_predict(engine: EngineThreads) -> None:
    with pytest.raises(InvalidArgument) as caught:
        classify(engine, adder(1))
    assert caught.value.message == (
        "No classification inputs found in SignatureDef: it takes x: float [?] and gives y: float [?]."
        f" {CLASSIFY_NEEDS} Classify signatures available in m version 7: none. Only a TensorFlow SavedModel can be"
        " exported with one; Predict takes tensors and works with every model."
    )


def test_no_examples_are_refused_before_the_engine_but_after_the_signature(engine: EngineThreads) -> None:
    servable = likes()
    nothing = examples_of(examples_input())
    with pytest.raises(InvalidArgument, match=r": Input is empty\. Expected at least one tf\.Example\.$"):
        classify(engine, servable, nothing)
    with pytest.raises(InvalidArgument, match="No signature was found with the name: nope"):
        classify(engine, servable, nothing, signature="nope")
    # ... and, as in the original, before the dtype of the input is looked at.
    with pytest.raises(InvalidArgument, match="Input is empty"):
        classify(engine, servable, nothing, signature="score_alone")
    assert servable.runs == 0


def test_a_signature_that_takes_numbers_is_refused_with_the_engines_words(engine: EngineThreads) -> None:
    servable = likes()
    with pytest.raises(InvalidArgument) as caught:
        classify(engine, servable, signature="score_alone")
    assert servable.runs == 0
    assert caught.value.message == (
        "Expects arg[0] to be float but string is provided: input inputs of signature score_alone is float [?], and"
        f" examples are string [1]. {CLASSIFY_NEEDS} Classify signatures available in m version 7: labels, scores,"
        " serving_default."
    )


def test_the_methods_name_is_looked_at_only_when_that_is_asked_for(engine: EngineThreads) -> None:
    assert likes().signatures["scores"].method_name == PREDICT_METHOD
    assert classify(engine, likes(), signature="scores").scores.tolist() == [[1.0, 0.0]]
    with pytest.raises(InvalidArgument) as caught:
        classify(engine, likes(), signature="scores", check_method_name=True)
    assert caught.value.message.startswith(
        "Expected classification signature method_name to be tensorflow/serving/classify."
        " Was: tensorflow/serving/predict"
    )
    regress = OnExamples(REGRESS, Predict(engine), check_method_name=True)
    with lease(likes()) as held, pytest.raises(InvalidArgument) as caught:
        asyncio.run(regress(held, "labels", ONE, None))
    assert caught.value.message.startswith(
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify"
    )


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE])
def test_examples_that_the_model_refuses_are_described(engine: EngineThreads, code: Code) -> None:
    with pytest.raises(ExamplesRefused) as caught:
        classify(
            engine, failing(ServingError("Data types don't match", code)), examples_of(examples_input(example(x=1)))
        )
    assert caught.value.code is code
    assert caught.value.message == (
        "Data types don't match. Inputs of signature serving_default: inputs: string [?]. The request gave inputs:"
        " string [1]. Of the examples, examples[0] has x: int64."
    )


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL])
def test_what_is_not_the_fault_of_the_examples_is_left_as_it_is(engine: EngineThreads, code: Code) -> None:
    error = ServingError("the engine's words", code)
    with pytest.raises(ServingError) as caught:
        classify(engine, failing(error))
    assert caught.value is error


def test_an_answer_that_makes_no_result_says_which_signature_gave_it(engine: EngineThreads) -> None:
    spec = TensorSpec(DType.FLOAT, None)
    servable = ToyServable(
        {"odd": Signature({"inputs": EXAMPLES}, {"scores": spec})}, lambda _, inputs: {"scores": np.float32([1.0])}
    )
    with pytest.raises(InvalidArgument) as caught:
        classify(engine, servable, signature="odd")
    assert not isinstance(caught.value, ExamplesRefused)
    assert caught.value.message == (
        "Expected Tensor shape: [batch_size num_classes] but got [1]: output scores. Signature odd gave this for 1"
        " examples; Classify needs the output classes: string [?,?] or scores: float [?,?] or both, with a row for each"
        " example."
    )


def test_a_run_that_takes_too_long_is_given_up(engine: EngineThreads) -> None:
    gate = Gate()
    slow = ToyServable(
        {DEFAULT_SIGNATURE: Signature({"inputs": EXAMPLES}, {"scores": FLOATS})},
        lambda _, inputs: gate.servable.run(DEFAULT_SIGNATURE, {"x": inputs["inputs"]}, ["y"]),
    )
    with pytest.raises(DeadlineExceeded):
        classify(engine, slow, timeout_seconds=0.01)
    gate.open()
