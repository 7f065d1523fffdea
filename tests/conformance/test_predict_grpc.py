"""Contract 1.10: Predict over gRPC, in the order of its checks."""

from __future__ import annotations

import pytest

from hotserve.protos import messages
from support.contract import Client, floats, lines, predict_request, tensor

ONE = floats(1.0)
BROKEN = tensor("DT_FLOAT", [2], tensor_content=b"123")


@lines(
    "request_, code, text",
    {
        "2. the signature exists": [
            predict_request(signature="zzz", x=ONE),
            "FAILED_PRECONDITION",
            'Serving signature key "zzz" not found.',
        ],
        "2. the default signature exists": [
            predict_request("odd", x=ONE),
            "FAILED_PRECONDITION",
            'Serving signature key "serving_default" not found.',
        ],
        "4. no inputs": [
            predict_request(),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ],
        "4. more inputs than the signature, in the order of their names": [
            predict_request("pair", b=ONE, zz=ONE, a=ONE, c=ONE),
            "INVALID_ARGUMENT",
            "input size does not match signature: 4!=2 len({a,b,c,zz}) != len({a,b})."
            " Sent extra: {c,zz}. Missing but required: {}.",
        ],
        "4. fewer inputs than the signature": [
            predict_request("pair", q=ONE),
            "INVALID_ARGUMENT",
            "input size does not match signature: 1!=2 len({q}) != len({a,b})."
            " Sent extra: {q}. Missing but required: {a,b}.",
        ],
        "4. more inputs than the signature, which has defaults": [
            predict_request("pair", "with_default", a=ONE, b=ONE, c=ONE),
            "INVALID_ARGUMENT",
            "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b})."
            " Sent extra: {c}. Missing but required: {}.",
        ],
        "5. as many inputs, another name": [
            predict_request(k=ONE),
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided."
            " Inputs expected to be in the request {k}, or default input alias set: {}",
        ],
        "5. an input without a default is missing": [
            predict_request("pair", "with_default", b=ONE),
            "INVALID_ARGUMENT",
            "Signature input alias: a(feed name: a:0) not found in request and no default value provided."
            " Inputs expected to be in the request {b}, or default input alias set: {b}",
        ],
        "6. a tensor does not decode": [
            predict_request(x=BROKEN),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ],
        "6. before 8": [
            predict_request(output_filter=["zzz"], x=BROKEN),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ],
        "7. an input is left unused": [
            predict_request("pair", "with_default", a=ONE, zz=ONE),
            "INVALID_ARGUMENT",
            "Inputs contains invalid name. Used request inputs: a, request input: a,zz",
        ],
        "8. an output_filter that is no output": [
            predict_request("pair", output_filter=["b", "zzz"], a=ONE, b=ONE),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: zzz Outputs expected to be in the set {a,b}.",
        ],
        "9. a duplicate in output_filter": [
            predict_request(output_filter=["y", "y"], x=ONE),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: y",
        ],
        "8 and 9, entry by entry": [
            predict_request(output_filter=["y", "y", "zzz"], x=ONE),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: y",
        ],
        "9. before 10": [
            predict_request(output_filter=["y", "y"], x=tensor("DT_INT32", [1], int_val=[1])),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: y",
        ],
    },
)
def test_a_request_that_fails_a_check(client: Client, request_: messages.PredictRequest, code: str, text: str) -> None:
    refusal = client.refusal("Predict", request_)
    assert refusal[0] == code
    assert refusal[1].startswith(text)


@pytest.mark.parametrize("given", [{"a": ONE, "b": ONE}, {"a": ONE}])
def test_a_default_stands_in_for_an_input_that_is_missing(
    client: Client, given: dict[str, messages.TensorProto]
) -> None:
    answer = client.call("Predict", predict_request("pair", "with_default", **given))
    assert list(answer.outputs["sum"].float_val) == [2.0 if "b" in given else 101.0]


@lines(
    "output_filter, aliases",
    {
        "no output_filter: all outputs": [[], {"a", "b"}],
        "only those listed": [["b"], {"b"}],
        "all listed": [["b", "a"], {"a", "b"}],
    },
)
def test_an_answer_has_the_outputs_that_are_asked_for(
    client: Client, output_filter: list[str], aliases: set[str]
) -> None:
    answer = client.call("Predict", predict_request("pair", output_filter=output_filter, a=ONE, b=ONE))
    assert set(answer.outputs) == aliases


@pytest.mark.parametrize("shape", [[], [3], [3, 1], [1, 3], [2, 2, 2], [0]])
@pytest.mark.parametrize("model", ["half", "tf2"])
def test_the_declared_shape_is_not_enforced(client: Client, model: str, shape: list[int]) -> None:
    # The declared ones are [-1,1] and [1].
    answer = client.call("Predict", predict_request(model, x=tensor("DT_FLOAT", shape, float_val=[2.0])))
    assert [dim.size for dim in answer.outputs["y"].tensor_shape.dim] == shape
    assert set(answer.outputs["y"].float_val) == ({3.0} if 0 not in shape else set())


def test_predict_feeds_the_inputs_of_signatures_for_examples_directly(client: Client) -> None:
    answer = client.call("Predict", predict_request(signature="regress_x2_to_y3", inputs=floats(2.0)))
    assert list(answer.outputs["outputs"].float_val) == [3.0]


def test_a_signature_without_inputs_is_called_with_none(client: Client) -> None:
    answer = client.call("Predict", predict_request("odd", "no_inputs"))
    assert list(answer.outputs["y"].float_val) == [1.5, 2.5]


def test_two_outputs_may_be_one_tensor(client: Client) -> None:
    answer = client.call("Predict", predict_request("odd", "same_output", x=ONE))
    assert {alias: list(value.float_val) for alias, value in answer.outputs.items()} == {"a": [2.0], "b": [2.0]}
