from __future__ import annotations

import json

import pytest

from hotserve.api.status_codes import HTTP_STATUS
from hotserve.errors import Code, ServingError
from support.asgi_client import exchange_grpc, exchange_rest, predict_call
from support.in_process import InProcess, failing

# Word for word the table of the contract, written down once more.
CONTRACT = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


def test_every_code_has_the_http_status_of_the_contract() -> None:
    assert {code.name: status for code, status in HTTP_STATUS.items()} == CONTRACT
    assert HTTP_STATUS.keys() == set(Code)


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_an_error_of_a_model_reaches_both_wires_under_its_code_and_with_its_words(code: Code) -> None:
    with InProcess({"m": {1: failing(ServingError("what went wrong", code))}}) as apis:
        status, _, body = exchange_rest(apis.app, "POST", "/v1/models/m:predict", b'{"instances": [1]}')
        answer = exchange_grpc(apis.app, predict_call("m", x=[1.0]))
    assert status == CONTRACT[code.name]
    assert answer.status == int(code)
    assert json.loads(body)["error"] == answer.text
    assert answer.text.startswith("what went wrong")
    assert answer.messages == []
