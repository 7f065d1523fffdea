"""Checks of a request against a signature, before the engine runs.

Every message begins with the words of TensorFlow Serving where its contract fixes them, and goes on to say what the
signature takes and what came, because "expects arg[0] to be float" does not tell a user which argument that is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hotserve.core.handle import Lease
from hotserve.errors import FailedPrecondition, Internal, InvalidArgument, ServingError
from hotserve.tensors import (
    CLASSIFY_METHOD,
    DEFAULT_SIGNATURE,
    NUMPY_OF,
    PREDICT_METHOD,
    REGRESS_METHOD,
    Array,
    Signature,
    dtype_of_array,
    shape_text,
)

INIT_OP_SIGNATURE = "__saved_model_init_op"

ASKED_BY_FLAG = (
    "Signature {} cannot be called like this: --enable_signature_method_name_check asks for it. Leave the flag out, or"
    " export the signature with that method_name."
)
"""What a refusal for a method name ends with; the signature's name goes in."""

_SERVED_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)


def callable_signatures(signatures: Mapping[str, Signature]) -> list[str]:
    """The names of the signatures that a client may call, sorted."""
    return sorted(name for name in signatures if name != INIT_OP_SIGNATURE)


def find_signature(lease: Lease, name: str, *, check_method_name: bool = False) -> tuple[str, Signature]:
    """The signature that a Predict request names; the default one for an empty name.

    Args:
        lease: The version.
        name: What the request names.
        check_method_name: Whether the signature's own method must be one of TensorFlow Serving's.

    Raises:
        FailedPrecondition: The version has no such signature.
        Internal: As for `check_predict_method`.
    """
    name = name or DEFAULT_SIGNATURE
    signature = lease.servable.signatures.get(name)
    if signature is None:
        raise FailedPrecondition(f'Serving signature key "{name}" not found. {other_signatures(lease)}')
    if check_method_name:
        check_predict_method(name, signature)
    return name, signature


def known_signature(lease: Lease, name: str) -> str:
    """The name of the signature that a request names, for metrics; empty if the version has none of that name."""
    name = name or DEFAULT_SIGNATURE
    return name if name in lease.servable.signatures else ""


def check_predict_method(name: str, signature: Signature) -> None:
    """Refuses a signature that has been exported for something else than serving.

    Source: PreProcessPrediction in tensorflow_serving/servables/tensorflow/predict_util.cc.

    Raises:
        Internal: The signature's method is none that is served.
    """
    if signature.method_name not in _SERVED_METHODS:
        raise Internal(
            f"Expected prediction signature method_name to be one of {{{', '.join(_SERVED_METHODS)}}}."
            f" Was: {signature.method_name}. {ASKED_BY_FLAG.format(name)}"
        )


def other_signatures(lease: Lease) -> str:
    """What to name instead, for a user who has named a signature that is not there."""
    names = ", ".join(callable_signatures(lease.servable.signatures)) or "none"
    return f"Signatures of {lease.id.name} version {lease.id.version}: {names}."


def check_input_names(signature: Signature, given: Collection[str]) -> None:
    """Refuses a request with too many inputs, or without one that has no default.

    Source: PreProcessPrediction in tensorflow_serving/servables/tensorflow/predict_util.cc.

    Raises:
        InvalidArgument: The names do not fit.
    """
    wanted = signature.inputs.keys()
    if len(given) > len(wanted) or (len(given) < len(wanted) and not signature.defaults):
        raise InvalidArgument(
            f"input size does not match signature: {len(given)}!={len(wanted)}"
            f" len({{{_listed(given)}}}) != len({{{_listed(wanted)}}})."
            f" Sent extra: {{{_listed(set(given) - wanted)}}}."
            f" Missing but required: {{{_listed(wanted - set(given) - signature.defaults.keys())}}}."
        )
    for alias in sorted(wanted):
        if alias not in given and alias not in signature.defaults:
            raise InvalidArgument(
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].tensor_name}) not found in"
                " request and no default value provided. Inputs expected to be in the request"
                f" {{{_listed(given)}}}, or default input alias set: {{{_listed(signature.defaults)}}}"
            )
    unused = set(given) - wanted
    if unused:
        raise InvalidArgument(
            f"Inputs contains invalid name. Used request inputs: {_listed(set(given) & wanted)},"
            f" request input: {_listed(given)}"
        )


def select_outputs(signature: Signature, output_filter: Sequence[str]) -> list[str]:
    """The outputs that a request wants: those of its filter, or all of them.

    Raises:
        InvalidArgument: An entry of the filter is no output, or stands there twice.
    """
    selected: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise InvalidArgument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set"
                f" {{{_listed(signature.outputs)}}}."
            )
        if alias in selected:
            raise InvalidArgument(f"duplicate output tensor alias: {alias}")
        selected.append(alias)
    return selected or list(signature.outputs)


def check_inputs(signature: Signature, inputs: Mapping[str, Array]) -> None:
    """Refuses arrays of another dtype, or, where the signature enforces shapes, of another shape.

    Args:
        signature: What is called.
        inputs: Input alias -> array; the names have been checked.

    Raises:
        InvalidArgument: An array does not fit.
    """
    for position, (alias, spec) in enumerate(sorted(signature.inputs.items())):
        array = inputs[alias]
        came = dtype_of_array(array)
        # Some types of graphs, resources among them, have no arrays: whatever came is not of such a type.
        if NUMPY_OF.get(spec.dtype) != came.numpy:
            raise InvalidArgument(
                f"Expects arg[{position}] to be {spec.dtype.label} but {came.label} is provided:"
                f" input {alias} is {spec}, and {came.label} {shape_text(array.shape)} came"
            )
        if signature.enforces_shapes and not spec.accepts(array.shape):
            raise InvalidArgument(
                f"Input {alias} has the wrong shape: expected {spec}, and {came.label} {shape_text(array.shape)} came"
            )


def explain(error: ServingError, signature_name: str, signature: Signature, came: Mapping[str, Array]) -> ServingError:
    """The same error, with what the signature takes and what came added to its words.

    Args:
        error: What went wrong, in the contract's words.
        signature_name: What was called.
        signature: Its inputs.
        came: The inputs as far as they were read; empty when they could not be.
    """
    given = ", ".join(
        f"{name}: {dtype_of_array(array).label} {shape_text(array.shape)}" for name, array in sorted(came.items())
    )
    text = error.message.rstrip()
    joint = " " if text.endswith((".", "!", "?")) else ". "
    text += f"{joint}Inputs of signature {signature_name}: {signature.describe_inputs()}."
    if given:
        text += f" The request gave {given}."
    return type(error)(text, error.code)


def _listed(names: Collection[str]) -> str:
    return ",".join(sorted(names))
