"""Contract 1.15: errors of the engine while it runs."""

from __future__ import annotations

from hotserve.protos import messages
from support.contract import Client, floats, lines, model_spec, post, predict_request, tensor
from support.server_process import ServerProcess


@lines(
    "request_, text",
    {
        "dtype differs: int32 for float": [
            predict_request(x=tensor("DT_INT32", [1], int_val=[1])),
            "Expects arg[0] to be float but int32 is provided",
        ],
        "dtype differs: string for float": [
            predict_request(x=tensor("DT_STRING", [1], string_val=[b"a"])),
            "Expects arg[0] to be float but string is provided",
        ],
        "dtype differs: double for float": [
            predict_request(x=tensor("DT_DOUBLE", [1], double_val=[1])),
            "Expects arg[0] to be float but double is provided",
        ],
        "dtype differs: float for int64": [
            predict_request("echo", "int64", x=floats(1.0)),
            "Expects arg[0] to be int64 but float is provided",
        ],
        "shape incompatible": [
            predict_request("odd", "matrix", x=tensor("DT_FLOAT", [2, 2], float_val=[1.0])),
            "Matrix size-incompatible: In[0]: [2,2], In[1]: [3,2]",
        ],
    },
)
def test_tensors_that_the_graph_does_not_take(client: Client, request_: messages.PredictRequest, text: str) -> None:
    code, found = client.refusal("Predict", request_)
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(text)


def test_two_input_aliases_on_one_tensor(client: Client) -> None:
    code, text = client.refusal("Predict", predict_request("odd", "same_input", a=floats(1.0), b=floats(2.0)))
    assert code == "INVALID_ARGUMENT"
    assert "fed more than once." in text


def regression(**lists: list[float] | list[int]) -> messages.RegressionRequest:
    request = messages.RegressionRequest(model_spec=model_spec("half", signature="regress_x_to_y"))
    features = request.input.example_list.examples.add().features
    for kind, values in lists.items():
        getattr(features.feature["x"], kind).value.extend(values)
    return request


@lines(
    "request_, text",
    {
        "wrong feature kind in an Example": [
            regression(int64_list=[1]),
            "Name: <unknown>, Key: x, Index: 0.  Data types don't match. Data type: int64 but expected type: float",
        ],
        "required Example feature missing": [
            regression(),
            "Name: <unknown>, Feature: x (data type: float) is required but could not be found.",
        ],
    },
)
def test_examples_that_the_graph_does_not_take(client: Client, request_: messages.RegressionRequest, text: str) -> None:
    code, found = client.refusal("Regress", request_)
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(text)


@lines(
    "path, body, text",
    {
        "shape incompatible": [
            "odd:predict",
            '{"signature_name": "matrix", "instances": [[1, 2], [3, 4]]}',
            "Matrix size-incompatible: In[0]: [2,2], In[1]: [3,2]",
        ],
        "an integer for a float feature": [
            "half:regress",
            '{"signature_name": "regress_x_to_y", "examples": [{"x": 80}]}',
            "Name: <unknown>, Key: x, Index: 0.  Data types don't match.",
        ],
        "an empty example": [
            "half:classify",
            '{"signature_name": "classify_x_to_y", "examples": [{}]}',
            "Name: <unknown>, Feature: x (data type: float) is required but could not be found.",
        ],
    },
)
def test_over_rest_the_text_is_the_same(server: ServerProcess, path: str, body: str, text: str) -> None:
    answer = post(server, path, body)
    assert answer.status == 400
    assert answer.error.startswith(text)
