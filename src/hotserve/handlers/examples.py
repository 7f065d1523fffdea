"""What Classify, Regress and MultiInference have in common: a signature is run on a vector of tf.Examples.

Source: PerformOneShotTensorComputation in tensorflow_serving/servables/tensorflow/util.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hotserve.codecs.tf_example import describe_examples
from hotserve.core.handle import Lease
from hotserve.errors import Code, InvalidArgument, ServingError
from hotserve.handlers.checks import ASKED_BY_FLAG, callable_signatures
from hotserve.handlers.predict import Predict
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec

INPUTS = "inputs"
"""The input that takes the examples."""

Result_co = TypeVar("Result_co", covariant=True)


class ExamplesRefused(InvalidArgument):
    """The model refuses the examples: a feature is missing, or of another kind than it takes."""


@dataclass(frozen=True, slots=True)
class ExampleMethod(Generic[Result_co]):
    """A way to call a signature on examples.

    Attributes:
        verb: What clients call it.
        method_name: The method name of the signatures that are made for it.
        noun: What the words of the contract call it.
        outputs_needed: What a signature must give, in words for the user.
        outputs_of: Signature -> the outputs that are wanted of it; raises InvalidArgument if it does not fit.
        result_of: The outputs that came, those that were wanted, the number of examples -> the result; raises
            InvalidArgument if they do not fit.
    """

    verb: str
    method_name: str
    noun: str
    outputs_needed: str
    outputs_of: Callable[[Signature], Sequence[str]]
    result_of: Callable[[Mapping[str, Array], Sequence[str], int], Result_co]


@dataclass(frozen=True, slots=True)
class ExampleCall(Generic[Result_co]):
    """A method and a signature that fits it.

    Attributes:
        method: What to do with the signature.
        name: The signature's name.
        signature: What is called.
        outputs: The outputs that are wanted.
    """

    method: ExampleMethod[Result_co]
    name: str
    signature: Signature
    outputs: Sequence[str]


class OnExamples(Generic[Result_co]):
    """Runs one method on examples: Classify or Regress."""

    def __init__(self, method: ExampleMethod[Result_co], predict: Predict, *, check_method_name: bool = False) -> None:
        """Makes a handler.

        Args:
            method: What it does.
            predict: Runs signatures.
            check_method_name: Whether a signature must have the method's name. TensorFlow 2 exports every signature as
                one for Predict, so that this leaves TensorFlow 1 only.
        """
        self._method = method
        self._predict = predict
        self._check_method_name = check_method_name

    async def __call__(
        self, lease: Lease, signature_name: str, examples: Array, timeout_seconds: float | None
    ) -> Result_co:
        """Runs a signature on examples.

        Args:
            lease: The version to run; held by the caller until the answer is encoded.
            signature_name: What is called; empty for the default.
            examples: string [n], serialized.
            timeout_seconds: How long to wait; None for as long as it takes.

        Raises:
            InvalidArgument: There is no such signature, it does not fit the method, there are no examples, or the model
                does not give what it should.
            ExamplesRefused: The model refuses the examples.
            DeadlineExceeded: The time is over.
        """
        call = fitting_call(self._method, lease, signature_name, check_method_name=self._check_method_name)
        check_examples(lease, call, examples)
        return await run_call(self._predict, lease, call, examples, timeout_seconds)


def fitting_call(
    method: ExampleMethod[Result_co], lease: Lease, signature_name: str, *, check_method_name: bool = False
) -> ExampleCall[Result_co]:
    """The call of a method on a signature.

    Raises:
        InvalidArgument: The version has no such signature, or it does not fit the method.
    """
    name = signature_name or DEFAULT_SIGNATURE
    signature = lease.servable.signatures.get(name)
    try:
        if signature is None:
            raise InvalidArgument(f"No signature was found with the name: {name}.")
        if check_method_name and signature.method_name != method.method_name:
            raise InvalidArgument(
                f"Expected {method.noun} signature method_name to be {method.method_name}."
                f" Was: {signature.method_name}. {ASKED_BY_FLAG.format(name)}"
            )
        outputs = method.outputs_of(signature)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.message} {_what_fits(method, lease, check_method_name)}") from error
    return ExampleCall(method, name, signature, outputs)


def check_examples(lease: Lease, call: ExampleCall[object], examples: Array) -> None:
    """Refuses to run on no examples, and a signature whose input takes no examples but numbers.

    Raises:
        InvalidArgument: As said.
    """
    if not len(examples):
        raise InvalidArgument("Input is empty. Expected at least one tf.Example.")
    declared = call.signature.inputs[INPUTS]
    if declared.dtype is not DType.STRING:
        raise InvalidArgument(
            f"Expects arg[0] to be {declared.dtype.label} but string is provided: input {INPUTS} of signature"
            f" {call.name} is {declared}, and examples are string [{len(examples)}]. {_what_fits(call.method, lease)}"
        )


async def run_call(
    predict: Predict,
    lease: Lease,
    call: ExampleCall[Result_co],
    examples: Array,
    timeout_seconds: float | None,
    api: str = "",
) -> Result_co:
    """Runs a call on examples that have been checked; see `OnExamples`.

    Args:
        predict: Runs signatures.
        lease: The version.
        call: What is run.
        examples: string [n], serialized.
        timeout_seconds: How long to wait; None for as long as it takes.
        api: What the client has called, if that is not the call's method.

    Raises:
        InvalidArgument: The model does not give what it should.
        ExamplesRefused: The model refuses the examples.
        DeadlineExceeded: The time is over.
    """
    try:
        answer = await predict(
            lease,
            call.name,
            call.signature,
            {INPUTS: examples},
            call.outputs,
            timeout_seconds,
            api or call.method.verb,
        )
    except ServingError as error:
        if error.code not in (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE):
            raise
        came = describe_examples(examples)
        raise ExamplesRefused(f"{error.message} Of the examples, {came}.", error.code) from error
    return result_of_call(call, answer, len(examples))


def result_of_call(call: ExampleCall[Result_co], answer: Mapping[str, Array], examples: int) -> Result_co:
    """What a signature's outputs mean.

    Args:
        call: What was run.
        answer: Output alias -> array.
        examples: How many examples it was run on.

    Raises:
        InvalidArgument: The model does not give what the method needs.
    """
    try:
        return call.method.result_of(answer, call.outputs, examples)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"{error.message}. Signature {call.name} gave this for {examples} examples; {call.method.verb} needs"
            f" {call.method.outputs_needed}."
        ) from error


def outputs_text(signature: Signature) -> str:
    """What a signature takes and gives, in the place where the original prints its SignatureDef."""
    return f"it takes {signature.describe_inputs()} and gives {_listed(signature.outputs)}."


def _listed(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{alias}: {spec}" for alias, spec in sorted(specs.items())) or "nothing"


def _what_fits(method: ExampleMethod[object], lease: Lease, check_method_name: bool = False) -> str:
    """What a signature must be like, and which are, for a user who has named another one."""
    needs = (
        f"{method.verb} needs a signature with one input, {INPUTS}: string [?], which takes serialized tf.Examples, and"
        f" {method.outputs_needed}."
    )
    version = f"{lease.id.name} version {lease.id.version}"
    signatures = lease.servable.signatures
    fitting = [
        name
        for name in callable_signatures(signatures)
        if _fits(method, signatures[name])
        and not (check_method_name and signatures[name].method_name != method.method_name)
    ]
    if fitting:
        return f"{needs} {method.verb} signatures available in {version}: {', '.join(fitting)}."
    return (
        f"{needs} {method.verb} signatures available in {version}: none. Only a TensorFlow SavedModel can be exported"
        " with one; Predict takes tensors and works with every model."
    )


def _fits(method: ExampleMethod[object], signature: Signature) -> bool:
    try:
        method.outputs_of(signature)
    except InvalidArgument:
        return False
    return signature.inputs[INPUTS].dtype is DType.STRING
