from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from hotserve.core.handle import Lease
from hotserve.errors import Code, FailedPrecondition, Internal, InvalidArgument, NotFound, ServingError, Unimplemented
from hotserve.handlers.checks import (
    callable_signatures,
    check_input_names,
    check_inputs,
    explain,
    find_signature,
    other_signatures,
    select_outputs,
)
from hotserve.tensors import Array, DType, Shape, Signature, TensorSpec
from support.in_process import ToyServable
from support.leases import lease

X = TensorSpec(DType.FLOAT, (None,), "x:0")
N = TensorSpec(DType.INT32, (None,), "n:0")
ONE = Signature({"x": X}, {"y": X})
TWO = Signature({"x": X, "n": N}, {"y": X, "z": N})
DEFAULTED = Signature({"x": X, "n": N}, {"y": X}, defaults={"n": np.int32([5])})


def lease_of(signatures: Mapping[str, Signature]) -> Lease:
    return lease(ToyServable(signatures, lambda _, inputs: inputs))


# Signatures.


@pytest.mark.parametrize("method", ["predict", "classify", "regress"])
def test_predict_calls_what_was_exported_for_serving(method: str) -> None:
    signature = replace(ONE, method_name=f"tensorflow/serving/{method}")
    assert find_signature(lease_of({"s": signature}), "s", check_method_name=True) == ("s", signature)


def test_another_method_name_is_refused_only_where_that_is_asked_for() -> None:
    signature = replace(ONE, method_name="mine")
    assert find_signature(lease_of({"s": signature}), "s")[0] == "s"
    with pytest.raises(Internal) as raised:
        find_signature(lease_of({"s": signature}), "s", check_method_name=True)
    assert raised.value.message == (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict,"
        " tensorflow/serving/classify, tensorflow/serving/regress}. Was: mine. Signature s cannot be called like this:"
        " --enable_signature_method_name_check asks for it. Leave the flag out, or export the signature with that"
        " method_name."
    )


@pytest.mark.parametrize(("asked", "found"), [("", "serving_default"), ("serving_default",) * 2, ("other",) * 2])
def test_a_signature_is_found_by_name_and_the_default_one_by_none(asked: str, found: str) -> None:
    signatures = {"serving_default": ONE, "other": TWO}
    assert find_signature(lease_of(signatures), asked) == (found, signatures[found])


@pytest.mark.parametrize(
    ("signatures", "asked", "text"),
    [
        (
            {"b": ONE, "a": ONE},
            "",
            'Serving signature key "serving_default" not found. Signatures of m version 7: a, b.',
        ),
        (
            {"b": ONE, "__saved_model_init_op": ONE},
            "zzz",
            'Serving signature key "zzz" not found. Signatures of m version 7: b.',
        ),
        ({}, "zzz", 'Serving signature key "zzz" not found. Signatures of m version 7: none.'),
    ],
)
def test_a_missing_signature_is_refused_with_those_that_can_be_called(
    signatures: Mapping[str, Signature], asked: str, text: str
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        find_signature(lease_of(signatures), asked)
    assert caught.value.message == text
    assert caught.value.message.endswith(other_signatures(lease_of(signatures)))


def test_the_graphs_own_initialisation_is_not_callable() -> None:
    assert callable_signatures({"b": ONE, "__saved_model_init_op": ONE, "a": ONE}) == ["a", "b"]


# Names of inputs.


@pytest.mark.parametrize(
    ("signature", "given"),
    [
        (ONE, ["x"]),
        (TWO, ["n", "x"]),
        (DEFAULTED, ["x"]),
        (DEFAULTED, ["x", "n"]),
        (Signature({}, {}), []),
    ],
)
def test_the_names_of_a_signature_are_accepted(signature: Signature, given: list[str]) -> None:
    check_input_names(signature, given)


@pytest.mark.parametrize(
    ("signature", "given", "text"),
    [
        (
            ONE,
            [],
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            TWO,
            ["c", "b", "a"],
            "input size does not match signature: 3!=2 len({a,b,c}) != len({n,x}). Sent extra: {a,b,c}. Missing but"
            " required: {n,x}.",
        ),
        (
            Signature({}, {}),
            ["x"],
            "input size does not match signature: 1!=0 len({x}) != len({}). Sent extra: {x}. Missing but required: {}.",
        ),
        (
            DEFAULTED,
            ["c", "b", "a"],
            "input size does not match signature: 3!=2 len({a,b,c}) != len({n,x}). Sent extra: {a,b,c}. Missing but"
            " required: {x}.",
        ),
        (
            ONE,
            ["k"],
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs"
            " expected to be in the request {k}, or default input alias set: {}",
        ),
        (
            DEFAULTED,
            [],
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs"
            " expected to be in the request {}, or default input alias set: {n}",
        ),
        (
            DEFAULTED,
            ["k", "x"],
            "Inputs contains invalid name. Used request inputs: x, request input: k,x",
        ),
    ],
)
def test_names_that_do_not_fit_are_refused_in_the_words_of_the_contract(
    signature: Signature, given: list[str], text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_input_names(signature, given)
    assert caught.value.message == text


# Outputs.


@pytest.mark.parametrize(
    ("output_filter", "selected"), [([], ["y", "z"]), (["z"], ["z"]), (["z", "y"], ["z", "y"]), (["y"], ["y"])]
)
def test_a_filter_selects_outputs_and_none_selects_all(output_filter: list[str], selected: list[str]) -> None:
    assert select_outputs(TWO, output_filter) == selected


@pytest.mark.parametrize(
    ("output_filter", "text"),
    [
        (["k"], "output tensor alias not found in signature: k Outputs expected to be in the set {y,z}."),
        (["y", ""], "output tensor alias not found in signature:  Outputs expected to be in the set {y,z}."),
        (["y", "z", "y"], "duplicate output tensor alias: y"),
        (["y", "y", "k"], "duplicate output tensor alias: y"),
        (["x"], "output tensor alias not found in signature: x Outputs expected to be in the set {y,z}."),
    ],
)
def test_a_filter_that_does_not_fit_is_refused_at_its_first_fault(output_filter: list[str], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        select_outputs(TWO, output_filter)
    assert caught.value.message == text


# Arrays.


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_an_array_of_the_declared_dtype_fits_whatever_its_shape(shape: tuple[int, ...]) -> None:
    check_inputs(ONE, {"x": np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        (DType.STRING, np.array([b"a"], object)),
        (DType.STRING, np.array([b"a"])),
        (DType.STRING, np.array(["a"])),
        (DType.HALF, np.zeros(1, np.float16)),
        (DType.BFLOAT16, np.zeros(1, ml_dtypes.bfloat16)),
        (DType.QINT8, np.zeros(1, np.int8)),  # quantized kinds travel as the plain ones
        (DType.BOOL, np.zeros(1, bool)),
    ],
)
def test_arrays_fit_by_what_they_hold(dtype: DType, array: Array) -> None:
    check_inputs(Signature({"x": TensorSpec(dtype, None)}, {}), {"x": array})


@pytest.mark.parametrize(
    ("signature", "inputs", "text"),
    [
        (
            ONE,
            {"x": np.zeros((2, 3), np.float64)},
            "Expects arg[0] to be float but double is provided: input x is float [?], and double [2,3] came",
        ),
        (
            ONE,
            {"x": np.array(b"a", object)},
            "Expects arg[0] to be float but string is provided: input x is float [?], and string [] came",
        ),
        # The position is that among the sorted names, whatever the order of the signature.
        (
            TWO,
            {"x": np.zeros(1, np.int32), "n": np.zeros(1, np.int32)},
            "Expects arg[1] to be float but int32 is provided: input x is float [?], and int32 [1] came",
        ),
        (
            TWO,
            {"x": np.zeros(1, np.float32), "n": np.zeros(1, np.int64)},
            "Expects arg[0] to be int32 but int64 is provided: input n is int32 [?], and int64 [1] came",
        ),
        (
            Signature({"r": TensorSpec(DType.RESOURCE, ())}, {}),
            {"r": np.zeros((), np.float32)},
            "Expects arg[0] to be resource but float is provided: input r is resource [], and float [] came",
        ),
        (
            Signature({"i": TensorSpec(DType.INT4, None)}, {}),
            {"i": np.zeros(1, np.int8)},
            "Expects arg[0] to be int4 but int8 is provided: input i is int4 of any shape, and int8 [1] came",
        ),
    ],
)
def test_an_array_of_another_dtype_is_refused_by_its_name(
    signature: Signature, inputs: Mapping[str, Array], text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_inputs(signature, inputs)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("declared", "shape", "fits"),
    [
        ((None, 2), (5, 2), True),
        ((None, 2), (0, 2), True),
        ((None, 2), (5, 3), False),
        ((None, 2), (2,), False),
        ((None, 2), (1, 1, 2), False),
        ((), (), True),
        ((), (1,), False),
        (None, (4, 5, 6), True),
    ],
)
def test_shapes_bind_only_where_the_signature_enforces_them(
    declared: Shape | None, shape: tuple[int, ...], fits: bool
) -> None:
    spec = TensorSpec(DType.FLOAT, declared)
    inputs = {"x": np.zeros(shape, np.float32)}
    check_inputs(Signature({"x": spec}, {}), inputs)
    enforcing = Signature({"x": spec}, {}, enforces_shapes=True)
    if fits:
        check_inputs(enforcing, inputs)
    else:
        with pytest.raises(InvalidArgument, match="Input x has the wrong shape: expected float"):
            check_inputs(enforcing, inputs)


# Explanations.


@pytest.mark.parametrize(
    ("words", "explained"),
    [
        ("bad", "bad. Inputs of signature sig: n: int32 [?], x: float [?]."),
        ("bad.", "bad. Inputs of signature sig: n: int32 [?], x: float [?]."),
        ("bad ", "bad. Inputs of signature sig: n: int32 [?], x: float [?]."),
        ("bad?", "bad? Inputs of signature sig: n: int32 [?], x: float [?]."),
        (
            "Matrix\n\t [[{{node a}}]]",
            "Matrix\n\t [[{{node a}}]]. Inputs of signature sig: n: int32 [?], x: float [?].",
        ),
        ("", ". Inputs of signature sig: n: int32 [?], x: float [?]."),
    ],
)
def test_an_explanation_begins_with_the_words_and_goes_on_with_what_the_signature_takes(
    words: str, explained: str
) -> None:
    assert explain(InvalidArgument(words), "sig", TWO, {}).message == explained


def test_an_explanation_ends_with_what_came() -> None:
    came = {"x": np.zeros((2, 1), np.float64), "n": np.array(["a", "b"])}
    assert explain(InvalidArgument("bad"), "sig", TWO, came).message == (
        "bad. Inputs of signature sig: n: int32 [?], x: float [?]. The request gave n: string [2], x: double [2,1]."
    )


def test_a_signature_without_inputs_takes_none() -> None:
    text = explain(InvalidArgument("bad"), "sig", Signature({}, {}), {}).message
    assert text == "bad. Inputs of signature sig: none."


@pytest.mark.parametrize(
    "error", [InvalidArgument("x"), Unimplemented("x"), NotFound("x"), ServingError("x", Code.OUT_OF_RANGE)]
)
def test_an_explained_error_is_of_the_same_kind(error: ServingError) -> None:
    explained = explain(error, "sig", ONE, {})
    assert (type(explained), explained.code) == (type(error), error.code)
