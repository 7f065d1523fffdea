from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from hotserve.api import rest
from hotserve.api.exchange import RestRequest
from hotserve.errors import ServingError
from hotserve.observability.prometheus import DEFAULT_PATH
from hotserve.tensors import DEFAULT_SIGNATURE, REGRESS_METHOD, Array, DType, Signature, TensorSpec
from support.in_process import Gate, InProcess, ToyServable, adder, error_text, failing
from support.toy_examples import likes

FLOATS = TensorSpec(DType.FLOAT, (None,), "x:0")
ROW = {"instances": [1.0]}
EXAMPLES = {"examples": [{"x": 0.25}, {"x": 1.0}]}


def pair() -> ToyServable:
    """Two inputs, two outputs; and signatures that one cannot call over REST."""
    count = TensorSpec(DType.INT32, (None,), "n:0")
    image = TensorSpec(DType.HALF, (None, 2), "image:0")
    opaque = TensorSpec(DType.COMPLEX64, (None,), "c:0")
    scalar = TensorSpec(DType.FLOAT, (), "s:0")

    def run(signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if signature == DEFAULT_SIGNATURE:
            return {"sum": inputs["x"] + inputs["n"].astype(np.float32), "twice": inputs["n"] * 2}
        if signature == "opaque":
            return {"y": inputs["x"].astype(np.complex64)}
        return {"y": np.float32(inputs["x"].sum() if "x" in inputs else 1.0).reshape(())}

    return ToyServable(
        {
            DEFAULT_SIGNATURE: Signature({"x": FLOATS, "n": count}, {"sum": FLOATS, "twice": count}),
            "constant": Signature({}, {"y": scalar}),
            "strict": Signature({"x": image}, {"y": scalar}, enforces_shapes=True),
            "opaque": Signature({"x": FLOATS}, {"y": opaque}),
            "takes_complex": Signature({"x": opaque}, {"y": scalar}),
            "total": Signature({"x": FLOATS}, {"y": scalar}),
            "__saved_model_init_op": Signature({}, {}),
        },
        run,
    )


@pytest.fixture(scope="module")
def apis() -> Iterator[InProcess]:
    broken = ServingError("it will not load")
    models: dict[str, Any] = {
        "m": {1: adder(1), 2: adder(2)},
        "pair": {5: pair()},
        "likes": {3: likes()},
        "a/b": {1: adder(10)},
        "a b": {1: adder(20)},
        "broken": {3: broken},
        "refuses": {1: failing(ServingError("no room"))},
        "crashes": {1: failing(KeyError("oops"))},
    }
    with InProcess(models, labels={"m": {"stable": 1, "a/b": 2, "gone": 9}, "pair": {"only": 5}}) as running:
        yield running


# Routes.


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/models/m:predict", [3.0]),
        ("/V1/MODELS/m:predict", [3.0]),
        ("/v1/models/m/versions/1:predict", [2.0]),
        ("/v1/models/m/versions/2:predict", [3.0]),
        ("/v1/models/m/versions/00000001:predict", [2.0]),
        ("/v1/models/m/versions/" + "0" * 5000 + "1:predict", [2.0]),
        ("/v1/models/m/Versions/1:predict", [2.0]),
        ("/v1/models/m/labels/stable:predict", [2.0]),
        ("/v1/models/m/labels/a%2Fb:predict", [3.0]),
        ("/v1/models/m/LABELS/stable:predict", [2.0]),
        ("/v1/models/%6D:predict", [3.0]),
        ("/v1/models/a%2Fb:predict", [11.0]),
        ("/v1/models/a%2fb:predict", [11.0]),
        ("/v1/models/a%20b:predict", [21.0]),
    ],
)
def test_predict_answers_for_the_version_that_the_path_names(apis: InProcess, path: str, answer: list[float]) -> None:
    assert apis.predict(path, ROW) == (200, {"predictions": answer})


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/a+b:predict", 404, "Servable not found for request: Latest(a+b)"),
        ("POST", "/v1/models/%FF:predict", 404, "Servable not found for request: Latest(\ufffd)"),
        ("POST", "/v1/models/m/versions/99:predict", 404, "Servable not found for request: Specific(m, 99)"),
        ("POST", "/v1/models/m/versions/0:predict", 404, "Servable not found for request: Specific(m, 0)"),
        ("POST", "/v1/models/broken:predict", 404, "Servable not found for request: Latest(broken)"),
        ("POST", "/v1/models/m/labels/zzz:predict", 400, "Unrecognized servable version label: zzz"),
        ("POST", "/v1/models/m/labels/a%20b:predict", 400, "Unrecognized servable version label: a b"),
        ("POST", "/v1/models/nope/labels/zzz:predict", 400, "Unrecognized servable version label: zzz"),
        ("POST", "/v1/models/m/labels/gone:predict", 400, "Unrecognized servable version label: gone"),
        ("POST", "/v1/models/m/labels/STABLE:predict", 400, "Unrecognized servable version label: STABLE"),
        (
            "POST",
            "/v1/models/m/versions/9223372036854775808:predict",
            400,
            "Failed to convert version: 9223372036854775808 to numeric.",
        ),
        (
            "POST",
            "/v1/models/m/versions/9223372036854775807:predict",
            404,
            "Servable not found for request: Specific(m, 9223372036854775807)",
        ),
        ("GET", f"/v1/models/m/versions/{'9' * 5000}", 400, f"Failed to convert version: {'9' * 5000} to numeric."),
        ("POST", "/v1/models/m:PREDICT", 400, "Malformed request: POST /v1/models/m:PREDICT"),
        ("POST", "/v1/models/m:Predict", 400, "Malformed request: POST /v1/models/m:Predict"),
        ("POST", "/v1/models/m:explain", 400, "Malformed request: POST /v1/models/m:explain"),
        ("POST", "/v1/models/m", 400, "Malformed request: POST /v1/models/m"),
        ("POST", "/v1/models/m/metadata", 400, "Malformed request: POST /v1/models/m/metadata"),
        ("POST", "/v1/models/m:predict/", 400, "Malformed request: POST /v1/models/m:predict/"),
        ("POST", "/v1/models/m:predict?x=1", 400, "Malformed request: POST /v1/models/m:predict?x=1"),
        ("POST", "/v1/models/:predict", 400, "Malformed request: POST /v1/models/:predict"),
        ("POST", "/v1/models/a/b:predict", 400, "Malformed request: POST /v1/models/a/b:predict"),
        ("POST", "/v1/models/m/versions/1.5:predict", 400, "Malformed request: POST /v1/models/m/versions/1.5:predict"),
        ("POST", "/v1/models/m/versions/-1:predict", 400, "Malformed request: POST /v1/models/m/versions/-1:predict"),
        ("POST", "/v1/models/m/versions/١:predict", 400, "Malformed request: POST /v1/models/m/versions/١:predict"),
        (
            "POST",
            "/v1/models/m/versions/1/labels/stable:predict",
            400,
            "Malformed request: POST /v1/models/m/versions/1/labels/stable:predict",
        ),
        ("POST", "/v1/models/nope:classify", 400, 'JSON Value: {\n    "instances": [1.0]\n} When method is classify'),
        ("POST", "/v1/models/nope:regress", 400, 'JSON Value: {\n    "instances": [1.0]\n} When method is classify'),
        ("PUT", "/v1/models/m:predict", 400, "Malformed request: PUT /v1/models/m:predict"),
        ("DELETE", "/v1/models/m", 400, "Malformed request: DELETE /v1/models/m"),
        ("PATCH", "/v1/models/m:predict", 400, "Malformed request: PATCH /v1/models/m:predict"),
        ("HEAD", "/v1/models/m", 400, "Malformed request: HEAD /v1/models/m"),
        ("TRACE", "/v1/models/m", 400, "Malformed request: TRACE /v1/models/m"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/", 400, "Malformed request: GET /v1/models/"),
        ("GET", "/v1/models/m/", 400, "Malformed request: GET /v1/models/m/"),
        ("GET", "/v1/models/m:predict", 400, "Malformed request: GET /v1/models/m:predict"),
        ("GET", "/v1/models/m/versions/abc", 400, "Malformed request: GET /v1/models/m/versions/abc"),
        ("GET", "/v1/models/m/versions//metadata", 400, "Malformed request: GET /v1/models/m/versions//metadata"),
        ("GET", "/v1/models/m/labels/", 400, "Malformed request: GET /v1/models/m/labels/"),
        ("GET", "/v1/models/m/versions/1?x", 400, "Malformed request: GET /v1/models/m/versions/1?x"),
        ("GET", "/v1/models/m?x=1", 404, "Could not find any versions of model m?x=1"),
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("GET", "/v1/models/m/versions/125", 404, "Could not find version 125 of model m"),
        ("GET", "/v1/models/m/versions/125/metadata", 404, "Servable not found for request: Specific(m, 125)"),
        ("GET", "/v1/models/m/labels/nope/metadata", 400, "Unrecognized servable version label: nope"),
        ("GET", "/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        ("GET", "/v1/foo", 400, "Malformed request: GET /v1/foo"),
        ("GET", "/", 404, "Not found: GET /."),
        ("GET", "/v1", 404, "Not found: GET /v1."),
        ("GET", "/v2/models/m", 404, "Not found: GET /v2/models/m."),
        ("POST", "/", 404, "Not found: POST /."),
        ("GET", "", 404, "Not found: GET ."),
    ],
)
def test_whatever_is_no_request_for_a_model_is_refused_in_the_words_of_the_contract(
    apis: InProcess, method: str, path: str, status: int, text: str
) -> None:
    response = apis.rest(method, path, ROW)
    assert response.status == status
    assert error_text(response).startswith(text)


def test_a_malformed_request_tells_what_is_well_formed(apis: InProcess) -> None:
    assert error_text(apis.rest("POST", "/v1/models/m/predict", ROW)) == (
        "Malformed request: POST /v1/models/m/predict. Expected POST /v1/models/NAME:predict, :classify or :regress, or"
        " GET /v1/models/NAME or /v1/models/NAME/metadata; /versions/NUMBER or /labels/LABEL may follow NAME, and"
        " nothing may follow the whole."
    )


def test_a_path_that_leads_nowhere_tells_where_models_answer(apis: InProcess) -> None:
    text = error_text(apis.rest("GET", "/favicon.ico"))
    assert text == (
        "Not found: GET /favicon.ico. Models answer under /v1/models/<name>; see also /healthz, /readyz and"
        f" {DEFAULT_PATH}."
    )


def test_a_request_without_a_model_tells_which_models_there_are(apis: InProcess) -> None:
    text = error_text(apis.rest("GET", "/v1/models"))
    assert text == "Missing model name in request. Models: a b, a/b, broken, crashes, likes, m, pair, refuses."


def test_an_unknown_version_or_label_tells_which_there_are(apis: InProcess) -> None:
    assert "Versions AVAILABLE: 2, 1." in error_text(apis.rest("POST", "/v1/models/m/versions/99:predict", ROW))
    assert "Labels of model m: a/b, gone, stable." in error_text(
        apis.rest("POST", "/v1/models/m/labels/zzz:predict", ROW)
    )
    assert "version 3 is END: UNKNOWN: it will not load" in error_text(
        apis.rest("POST", "/v1/models/broken:predict", ROW)
    )


# The order in which a predict request is looked at.


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        # A body that is no JSON comes before the model, ...
        ("/v1/models/nope:predict", b"", 400, "JSON Parse error: The document is empty"),
        ("/v1/models/nope:predict", b"instances = [1]", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("/v1/models/nope:predict", b"[1]", 400, "JSON Value: [1] Is not object"),
        (
            "/v1/models/nope:predict",
            b'{"signature_name": 100}',
            400,
            'JSON Value: {\n    "signature_name": 100\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        # ... the model before the signature, ...
        ("/v1/models/nope:predict", b'{"signature_name": "z"}', 404, "Servable not found for request: Latest(nope)"),
        ("/v1/models/nope:predict", b"{}", 404, "Servable not found for request: Latest(nope)"),
        # ... and the signature before the tensors.
        (
            "/v1/models/m:predict",
            b'{"signature_name": "zzz", "instances": "no list"}',
            400,
            'Serving signature name: "zzz" not found in signature def',
        ),
        (
            "/v1/models/pair:predict",
            b'{"signature_name": "constant"}',
            400,
            "Failed to get input map for signature: constant",
        ),
        (
            "/v1/models/pair:predict",
            b'{"signature_name": "__saved_model_init_op", "inputs": {}}',
            400,
            "Failed to get input map for signature: __saved_model_init_op",
        ),
        ("/v1/models/m:predict", b"{}", 400, "Missing 'inputs' or 'instances' key"),
        (
            "/v1/models/m:predict",
            b'{"instances": [1.0], "inputs": [1.0]}',
            400,
            'JSON Value: {\n    "instances": [1.0],\n    "inputs": [1.0]\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        (
            "/v1/models/m:predict",
            b'{"instances": 5}',
            400,
            "JSON Value: {\n    \"instances\": 5\n} Expecting 'instances' to be an list/array",
        ),
        (
            "/v1/models/m:predict",
            b'{"instances": ["x", "y"]}',
            400,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: String"
            " is not of expected type: float",
        ),
        (
            "/v1/models/pair:predict",
            b'{"instances": [1]}',
            400,
            "instances is a plain list, but expecting list of objects as multiple input tensors required",
        ),
        (
            "/v1/models/pair:predict",
            b'{"inputs": {"x": [1]}}',
            400,
            "Missing named input: n in 'inputs' object.",
        ),
        (
            "/v1/models/pair:predict",
            b'{"signature_name": "strict", "instances": [[1, 2, 3]]}',
            400,
            "Input x has the wrong shape: expected half [?,2], and half [1,3] came.",
        ),
        # A dtype that JSON has no form for is UNIMPLEMENTED in columns, and wrapped into the row's error in rows.
        (
            "/v1/models/pair:predict",
            b'{"signature_name": "takes_complex", "inputs": [1]}',
            501,
            "Conversion of JSON Value: 1 to type: complex64",
        ),
        (
            "/v1/models/pair:predict",
            b'{"signature_name": "takes_complex", "instances": [1]}',
            400,
            "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of JSON Value: 1 to"
            " type: complex64",
        ),
        # The answer may have no form, either.
        (
            "/v1/models/pair:predict",
            b'{"signature_name": "total", "instances": [1]}',
            400,
            "Tensor name: y has no shape information",
        ),
        (
            "/v1/models/pair:predict",
            b'{"signature_name": "opaque", "instances": [1]}',
            400,
            "Failed to write JSON value for tensor type: complex64",
        ),
        ("/v1/models/refuses:predict", b'{"instances": [1]}', 500, "no room"),
    ],
)
def test_a_predict_request_fails_at_the_first_thing_that_is_wrong(
    apis: InProcess, path: str, body: bytes, status: int, text: str
) -> None:
    response = apis.rest("POST", path, body)
    assert error_text(response).startswith(text)
    assert response.status == status


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (
            {"instances": [{"x": 1, "n": 2}, {"n": 4, "x": 3}]},
            {"predictions": [{"sum": 3.0, "twice": 4}, {"sum": 7.0, "twice": 8}]},
        ),
        ({"inputs": {"x": [1, 3], "n": [2, 4], "ignored": 0}}, {"outputs": {"sum": [3.0, 7.0], "twice": [4, 8]}}),
        ({"signature_name": "total", "inputs": [1, 2]}, {"outputs": 3.0}),
        ({"signature_name": "", "inputs": {"x": [1], "n": [2]}}, {"outputs": {"sum": [3.0], "twice": [4]}}),
        ({"signature_name": "strict", "inputs": {"x": [[1, 2]]}}, {"outputs": 3.0}),
    ],
)
def test_rows_are_answered_with_predictions_and_columns_with_outputs(
    apis: InProcess, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    assert apis.predict("/v1/models/pair:predict", body) == (200, answer)


# Classify and regress.


@pytest.mark.parametrize(
    ("verb", "body", "answer"),
    [
        ("classify", EXAMPLES, [[["yes", 0.25], ["no", 0.75]], [["yes", 1.0], ["no", 0.0]]]),
        ("classify", {"signature_name": "labels", **EXAMPLES}, [[["yes", 0.0], ["no", 0.0]]] * 2),
        ("classify", {"signature_name": "scores", **EXAMPLES}, [[["", 0.25], ["", 0.75]], [["", 1.0], ["", 0.0]]]),
        ("regress", {"signature_name": "half", **EXAMPLES}, [0.125, 0.5]),
        ("regress", {"signature_name": "column", **EXAMPLES}, [0.125, 0.5]),
        ("regress", {"signature_name": "half", "context": {"x": 3.0}, "examples": [{}, {"x": 1.0}]}, [1.5, 0.5]),
    ],
)
def test_examples_are_answered_with_results(apis: InProcess, verb: str, body: dict[str, Any], answer: Any) -> None:
    assert apis.predict(f"/v1/models/likes:{verb}", body) == (200, {"results": answer})
    assert apis.predict(f"/v1/models/likes/versions/3:{verb}", body) == (200, {"results": answer})


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        # The body comes before the model, also its examples, ...
        ("nope:classify", b"", 400, "JSON Parse error: The document is empty"),
        (
            "nope:regress",
            b'{"signature_name": 1}',
            400,
            "JSON Value: {\n    \"signature_name\": 1\n} not formatted correctly. 'signature_name' key must be a",
        ),
        ("nope:regress", b'{"context": 1}', 400, "Example must be JSON object but got JSON Number"),
        ("nope:regress", b'{"examples": [1]}', 400, "Example must be JSON object but got JSON Number"),
        ("nope:classify", b'{"examples": [{}]}', 404, "Servable not found for request: Latest(nope)"),
        ("likes/labels/zzz:regress", b'{"examples": [{}]}', 400, "Unrecognized servable version label: zzz"),
        # ... the model before the signature, and the signature before the run.
        (
            "likes:classify",
            b'{"signature_name": "nope", "examples": [{}]}',
            400,
            "No signature was found with the name: nope",
        ),
        ("likes:regress", b'{"examples": [{}]}', 400, "Expected one output Tensor."),
        ("m:classify", b'{"examples": [{}]}', 400, "No classification inputs found in SignatureDef: "),
        (
            "likes:regress",
            b'{"signature_name": "half_alone", "examples": [{"x": 1.0}]}',
            400,
            "Expects arg[0] to be float but string is provided",
        ),
        ("likes:classify", b'{"examples": [{"x": 1}]}', 400, "Feature: x (data type: float) is required"),
    ],
)
def test_a_request_with_examples_fails_at_the_first_thing_that_is_wrong(
    apis: InProcess, path: str, body: bytes, status: int, text: str
) -> None:
    response = apis.rest("POST", f"/v1/models/{path}", body)
    assert error_text(response).startswith(text)
    assert response.status == status


def test_examples_that_the_model_refuses_are_told_how_json_says_what_they_are(apis: InProcess) -> None:
    text = error_text(apis.rest("POST", "/v1/models/likes:classify", {"examples": [{"x": 1}]}))
    assert text.endswith(
        "Of the examples, examples[0] has x: int64. In JSON, 1 is an int64, 1.0 is a float, and a string or a base64"
        " object is bytes."
    )


def test_a_model_that_takes_no_examples_says_what_to_do_instead(apis: InProcess) -> None:
    text = error_text(apis.rest("POST", "/v1/models/m:regress", EXAMPLES))
    assert "Regress signatures available in m version 2: none." in text
    assert text.endswith("Predict takes tensors and works with every model.")


def test_the_layout_of_an_answer_is_that_of_the_original(apis: InProcess) -> None:
    response = apis.rest("POST", "/v1/models/m:predict", {"instances": [0.5, 1, 2.5]})
    assert response.body == b'{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
    assert response.content_type == "application/json"


def test_an_error_tells_what_the_signature_takes(apis: InProcess) -> None:
    text = error_text(apis.rest("POST", "/v1/models/pair:predict", {"instances": [{"x": "one", "n": 1}]}))
    assert text.endswith("Inputs of signature serving_default: n: int32 [?], x: float [?].")


def test_an_unknown_signature_tells_which_there_are_but_not_the_one_that_nobody_may_call(apis: InProcess) -> None:
    text = error_text(apis.rest("POST", "/v1/models/pair:predict", {"signature_name": "zzz", "instances": [1]}))
    assert text.endswith(
        "Signatures of pair version 5: constant, opaque, serving_default, strict, takes_complex, total."
    )


def test_a_fault_of_a_servable_is_an_answer_and_a_line_in_the_log(
    apis: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "hotserve"):
        response = apis.rest("POST", "/v1/models/crashes:predict", ROW)
    assert response.status == 500
    assert error_text(response) == "KeyError: 'oops'. This is a fault of the server; see its log."
    assert [record.getMessage() for record in caplog.records] == ["POST /v1/models/crashes:predict failed"]
    assert caplog.records[0].exc_info is not None


def test_an_inference_that_takes_too_long_is_given_up() -> None:
    gate = Gate()
    with InProcess({"slow": {1: gate.servable}}, timeout_seconds=0.05) as apis:
        response = apis.rest("POST", "/v1/models/slow:predict", ROW)
        gate.open()
    assert response.status == 504
    assert error_text(response).startswith("Timed out waiting for notification")
    assert "--rest_api_timeout_in_ms" in error_text(response)


# Packed bodies.


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity, gzip"])
def test_a_packed_body_is_unpacked(apis: InProcess, encoding: str) -> None:
    packed = gzip.compress(json.dumps(ROW).encode())
    response = apis.rest("POST", "/v1/models/m:predict", packed, content_encoding=encoding)
    assert json.loads(response.body) == {"predictions": [3.0]}


def test_an_encoding_that_is_not_known_is_not_looked_at(apis: InProcess) -> None:
    response = apis.rest("POST", "/v1/models/m:predict", ROW, content_encoding="identity")
    assert response.status == 200


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"instances": [1.0]}', id="not packed at all"),
        pytest.param(gzip.compress(b'{"instances": [1.0]}')[:-9], id="cut off"),
        pytest.param(b"", id="nothing"),
        pytest.param(gzip.compress(b""), id="nothing, packed"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_an_empty_document(apis: InProcess, body: bytes) -> None:
    response = apis.rest("POST", "/v1/models/m:predict", body, content_encoding="gzip")
    assert response.status == 400
    assert error_text(response).startswith("JSON Parse error: The document is empty")


def test_a_body_that_was_not_packed_says_so(apis: InProcess) -> None:
    text = error_text(apis.rest("POST", "/v1/models/m:predict", ROW, content_encoding="gzip"))
    assert "content encoding gzip" in text
    assert "incorrect header check" in text


def test_a_small_body_that_unpacks_to_more_than_the_limit_is_too_large(apis: InProcess) -> None:
    bomb = gzip.compress(b'{"instances": [' + b"1, " * 1_000_000 + b"1]}")
    assert len(bomb) < 10_000
    response = apis.rest("POST", "/v1/models/m:predict", bomb, content_encoding="gzip")
    assert response.status == 413
    assert error_text(response) == (
        "The compressed message unpacks to more than 1048576 bytes, the limit set by --max_message_bytes."
    )


def test_neither_the_type_of_a_body_nor_what_the_client_accepts_makes_a_difference(apis: InProcess) -> None:
    response = apis.rest("POST", "/v1/models/m:predict", ROW, accept_encoding="gzip", content_type="text/plain")
    assert json.loads(response.body) == {"predictions": [3.0]}


# Preflights.


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://example.org", 200),
        ("https://example.org", 200),
        ("file://x", 400),
        ("", 400),
    ],
)
@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/v1/whatever"])
def test_a_preflight_is_judged_by_its_origin(apis: InProcess, path: str, origin: str, status: int) -> None:
    response = apis.rest("OPTIONS", path, **({"origin": origin} if origin else {}))
    assert (response.status, response.body) == (status, b"")
    assert response.content_type == "text/html; charset=ISO-8859-1"


# Status and metadata.

STATUS_OF_M = """{
 "model_version_status": [
  {
   "version": "2",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  },
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""

METADATA_OF_M = """{
"model_spec":{
 "name": "m",
 "version": "%d",
 "signature_name": ""
}
,
"metadata": {"signature_def": {
 "signature_def": {
  "serving_default": {
   "inputs": {
    "x": {
     "name": "x:0",
     "dtype": "DT_FLOAT",
     "tensor_shape": {
      "dim": [
       {
        "size": "-1",
        "name": ""
       }
      ],
      "unknown_rank": false
     }
    }
   },
   "outputs": {
    "y": {
     "name": "y:0",
     "dtype": "DT_FLOAT",
     "tensor_shape": {
      "dim": [
       {
        "size": "-1",
        "name": ""
       }
      ],
      "unknown_rank": false
     }
    }
   },
   "method_name": "tensorflow/serving/predict",
   "defaults": {}
  }
 }
}
}
}
"""


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/m",
        "/V1/Models/m",
        "/v1/models/%6d",
        # As in the original, a label is not looked at, whatever it is; and METADATA is no verb.
        "/v1/models/m/labels/stable",
        "/v1/models/m/labels/nope",
        "/v1/models/m/METADATA",
    ],
)
def test_the_status_of_a_model_lists_all_its_versions(apis: InProcess, path: str) -> None:
    response = apis.rest("GET", path)
    assert (response.status, response.content_type) == (200, "application/json")
    assert response.body.decode() == STATUS_OF_M


@pytest.mark.parametrize("path", ["/v1/models/m/versions/1", "/v1/models/m/versions/0001"])
def test_the_status_of_a_version_is_that_version_only(apis: InProcess, path: str) -> None:
    entries = json.loads(apis.rest("GET", path).body)["model_version_status"]
    assert [entry["version"] for entry in entries] == ["1"]


def test_the_status_of_a_failed_version_is_200_and_carries_the_error(apis: InProcess) -> None:
    response = apis.rest("GET", "/v1/models/broken")
    assert response.status == 200
    (entry,) = json.loads(response.body)["model_version_status"]
    assert entry == {
        "version": "3",
        "state": "END",
        "status": {"error_code": "UNKNOWN", "error_message": "it will not load"},
    }


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v1/models/m/metadata", 2),
        ("/v1/models/m/versions/1/metadata", 1),
        ("/v1/models/m/labels/stable/metadata", 1),
        ("/v1/models/%6D/labels/a%2Fb/metadata", 2),
    ],
)
def test_the_metadata_are_those_of_the_version_that_the_path_names(apis: InProcess, path: str, version: int) -> None:
    response = apis.rest("GET", path)
    assert (response.status, response.content_type) == (200, "application/json")
    assert response.body.decode() == METADATA_OF_M % version


def test_the_metadata_show_every_signature_sorted_with_its_method() -> None:
    signatures = {
        "b": Signature({"x": TensorSpec(DType.STRING, None, "s:0")}, {"y": FLOATS}, REGRESS_METHOD),
        "a": Signature({}, {}, "", defaults={}),
    }
    with InProcess({"m": {1: ToyServable(signatures, lambda _, inputs: inputs)}}) as apis:
        document = json.loads(apis.rest("GET", "/v1/models/m/metadata").body)
    shown = document["metadata"]["signature_def"]["signature_def"]
    assert list(shown) == ["a", "b"]
    assert shown["b"]["method_name"] == REGRESS_METHOD
    assert shown["b"]["inputs"]["x"] == {
        "name": "s:0",
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [], "unknown_rank": True},
    }


# Pages.


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/healthz", "/healthz?verbose"])
def test_a_process_that_answers_is_alive(apis: InProcess, method: str, path: str) -> None:
    response = apis.rest(method, path)
    assert (response.status, json.loads(response.body)) == (200, {"status": "alive"})


def test_readiness_names_every_model_and_what_is_the_matter() -> None:
    models: dict[str, Any] = {"good": {1: adder(1)}, "bad": {1: ServingError("no good")}, "absent": {}}
    with InProcess(models) as apis:
        apis.problems["absent"] = "its folder is not there"
        response = apis.rest("GET", "/readyz")
        assert response.status == 503
        assert json.loads(response.body) == {
            "status": "not ready",
            "models": {
                "good": "AVAILABLE",
                "bad": "version 1 is END: UNKNOWN: no good",
                "absent": "its folder is not there",
            },
        }


def test_a_server_whose_models_answer_is_ready_until_it_stops() -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:
        ready = apis.rest("GET", "/readyz")
        assert (ready.status, json.loads(ready.body)) == (200, {"status": "ready", "models": {"m": "AVAILABLE"}})
        apis.health.stopping = True
        stopping = apis.rest("GET", "/readyz")
        assert stopping.status == 503
        assert json.loads(stopping.body)["status"] == "stopping"
        # What is under way is still answered.
        assert apis.predict("/v1/models/m:predict", ROW)[0] == 200


def test_the_metrics_page_is_plain_text_and_knows_what_was_asked() -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:
        apis.predict("/v1/models/m:predict", ROW)
        page = apis.rest("GET", DEFAULT_PATH)
    assert (page.status, page.content_type) == (200, "text/plain")
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1\n' in page.body.decode()


def test_the_metrics_page_takes_no_query(apis: InProcess) -> None:
    response = apis.rest("GET", f"{DEFAULT_PATH}?name=x")
    assert (response.status, response.content_type) == (400, "text/plain")
    assert response.body.decode() == f"Unexpected path: {DEFAULT_PATH}?name=x. Should be {DEFAULT_PATH}"


def test_requests_are_answered_while_a_long_page_with_the_metrics_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_PAGE_SLICE_SECONDS", -1.0)
    with InProcess({"m": {1: adder(1)}}) as apis:
        order: list[str] = []

        async def ask(path: str) -> None:
            response = await apis.rest_api.handle(RestRequest("GET", path, {}))
            assert response.status == 200
            order.append(path)

        async def both() -> None:
            await asyncio.gather(ask(DEFAULT_PATH), ask("/healthz"), ask("/v1/models/m"))

        asyncio.run(both())
        assert order[-1] == DEFAULT_PATH


# What is counted.


@pytest.mark.parametrize(
    ("method", "path", "body", "cell"),
    [
        ("POST", "/v1/models/m:predict", ROW, ("m", "1", DEFAULT_SIGNATURE, "predict", "REST", "OK")),
        ("POST", "/v1/models/m/versions/1:predict", b"", ("m", "", "", "predict", "REST", "INVALID_ARGUMENT")),
        (
            "POST",
            "/v1/models/m:predict",
            {"instances": ["x"]},
            ("m", "1", DEFAULT_SIGNATURE, "predict", "REST", "INVALID_ARGUMENT"),
        ),
        ("POST", "/v1/models/nope:predict", ROW, ("nope", "", "", "predict", "REST", "NOT_FOUND")),
        ("POST", "/v1/models/m:PREDICT", ROW, ("m", "", "", "", "REST", "INVALID_ARGUMENT")),
        ("POST", "/v1/models/m:regress", ROW, ("m", "", "", "regress", "REST", "INVALID_ARGUMENT")),
        (
            "POST",
            "/v1/models/m:classify",
            EXAMPLES,
            ("m", "1", DEFAULT_SIGNATURE, "classify", "REST", "INVALID_ARGUMENT"),
        ),
        ("POST", "/v1/models/likes:classify", EXAMPLES, ("likes", "1", DEFAULT_SIGNATURE, "classify", "REST", "OK")),
        (
            "POST",
            "/v1/models/likes:regress",
            {"signature_name": "half", **EXAMPLES},
            ("likes", "1", "half", "regress", "REST", "OK"),
        ),
        (
            "POST",
            "/v1/models/likes:classify",
            {"examples": []},
            ("likes", "", "", "classify", "REST", "INVALID_ARGUMENT"),
        ),
        ("GET", "/v1/models/m", b"", ("m", "", "", "", "REST", "OK")),
        ("GET", "/v1/models/m/metadata", b"", ("m", "1", "", "", "REST", "OK")),
        ("GET", "/v1/foo", b"", ("", "", "", "", "REST", "INVALID_ARGUMENT")),
        (
            "POST",
            "/v1/models/likes:classify",
            {"signature_name": "made up", **EXAMPLES},
            ("likes", "1", "", "classify", "REST", "INVALID_ARGUMENT"),
        ),
        ("OPTIONS", "/v1/models/m", b"", ("", "", "", "", "REST", "INVALID_ARGUMENT")),
        ("POST", "/v1/models/crashes:predict", ROW, ("crashes", "1", DEFAULT_SIGNATURE, "predict", "REST", "INTERNAL")),
    ],
)
def test_every_request_under_v1_is_counted_once(
    method: str, path: str, body: Any, cell: tuple[str, str, str, str, str, str]
) -> None:
    models = {"m": {1: adder(1)}, "likes": {1: likes()}, "crashes": {1: failing(KeyError("oops"))}}
    with InProcess(models) as apis:
        apis.rest(method, path, body)
        assert list(apis.metrics.requests.cells()) == [(cell, 1)]
        assert list(apis.metrics.request_count.cells()) == [((cell[0], cell[5]), 1)]
        latencies = list(apis.metrics.request_latency.cells())
    assert [labels for labels, _ in latencies] == ([(cell[0], cell[3], "REST")] if cell[5] == "OK" else [])


def test_a_body_that_was_cut_off_is_counted_where_it_would_have_been() -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:
        for path in ("/v1/models/m:predict", "/v1/models/m", "/v2/models/m/infer"):
            assert apis.rest_api.refuse_body(RestRequest("POST", path, {})).status == 413
        assert apis.metrics.request_count.cells() == [
            (("", "RESOURCE_EXHAUSTED"), 1),
            (("m", "RESOURCE_EXHAUSTED"), 1),
        ]
        assert apis.metrics.request_latency.cells() == []
        assert dict(apis.metrics.requests_in_flight.cells())[("REST",)] == 0


def test_a_request_whose_client_leaves_is_counted_as_cancelled_and_is_no_longer_in_flight() -> None:
    gate = Gate()
    with InProcess({"m": {1: gate.servable}}) as apis:
        in_flight = []

        async def leave() -> None:
            body = json.dumps(ROW).encode()
            call = asyncio.ensure_future(apis.rest_api.handle(RestRequest("POST", "/v1/models/m:predict", {}, body)))
            await asyncio.to_thread(gate.wait_entered)
            in_flight.append(dict(apis.metrics.requests_in_flight.cells())[("REST",)])
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        asyncio.run(leave())
        in_flight.append(dict(apis.metrics.requests_in_flight.cells())[("REST",)])
        assert in_flight == [1, 0]
        assert apis.metrics.request_count.cells() == [(("m", "CANCELLED"), 1)]
        gate.open()


def test_what_a_request_took_is_split_and_its_bytes_are_counted() -> None:
    with InProcess({"m": {1: adder(1)}}) as apis:
        body = json.dumps(ROW).encode()
        answer = apis.rest("POST", "/v1/models/m:predict", ROW)
        stages = {labels[-1]: cell for labels, cell in apis.metrics.codec_duration.cells()}
        ((_, whole),) = apis.metrics.request_duration.cells()
        assert apis.metrics.received_bytes.cells() == [(("m", "REST"), len(body))]
        assert apis.metrics.sent_bytes.cells() == [(("m", "REST"), len(answer.body))]
    assert {stage: sum(cell.counts) for stage, cell in stages.items()} == {"decode": 1, "encode": 1}
    assert 0 < stages["decode"].total + stages["encode"].total < whole.total


@pytest.mark.parametrize("path", ["/healthz", "/readyz", DEFAULT_PATH, "/favicon.ico"])
def test_pages_are_not_counted(path: str) -> None:
    with InProcess({}) as apis:
        apis.rest("GET", path)
        assert list(apis.metrics.requests.cells()) == []
