from __future__ import annotations

import asyncio

import pytest

from hotserve.api.asgi import AsgiApp
from hotserve.api.cors import CorsPolicy, any_origin, listed_origins, no_cors
from hotserve.api.exchange import RestRequest, RestResponse
from hotserve.api.rest import RestApi
from hotserve.handlers.predict import Predict
from support.asgi_client import exchange_rest
from support.in_process import InProcess, adder

HERE = "https://here.example"
ELSEWHERE = "https://elsewhere.example"
LIMIT = 1000
ALLOWED = {"access-control-allow-methods": "POST, GET", "access-control-allow-headers": "Content-Type"}


def api(running: InProcess, policy: CorsPolicy) -> RestApi:
    return RestApi(
        running.manager,
        Predict(running.engine),
        running.health,
        running.metrics,
        timeout_seconds=None,
        max_message_bytes=LIMIT,
        cors=policy,
    )


def answer(policy: CorsPolicy, method: str, path: str, origin: str = HERE, body: bytes = b"") -> RestResponse:
    with InProcess({"m": {1: adder(1)}}) as running:
        return asyncio.run(api(running, policy).handle(RestRequest(method, path, {"origin": origin}, body)))


REQUESTS = [
    ("POST", "/v1/models/m:predict", b'{"instances": [1.0]}', 200),
    ("POST", "/v1/models/m:predict", b"no JSON", 400),
    ("GET", "/v1/models/none", b"", 404),
    ("DELETE", "/v1/models/m", b"", 400),
    ("OPTIONS", "/v1/models/m:predict", b"", 200),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REQUESTS)
def test_every_answer_says_that_every_origin_may_read_it(method: str, path: str, body: bytes, status: int) -> None:
    response = answer(any_origin, method, path, body=body)
    assert (response.status, response.headers) == (status, {"access-control-allow-origin": "*", **ALLOWED})


@pytest.mark.parametrize(("method", "path", "body", "status"), REQUESTS)
def test_every_answer_says_that_a_listed_origin_may_read_it(method: str, path: str, body: bytes, status: int) -> None:
    response = answer(listed_origins([ELSEWHERE, HERE]), method, path, body=body)
    expected = {"access-control-allow-origin": HERE, **ALLOWED, "vary": "Origin"}
    assert (response.status, response.headers) == (status, expected)


@pytest.mark.parametrize("origin", ["", ELSEWHERE, "http://here.example", f"{HERE}:8443", f"{HERE}.evil.example", "*"])
def test_an_origin_that_is_not_listed_is_told_nothing(origin: str) -> None:
    response = answer(listed_origins([HERE]), "GET", "/v1/models/m", origin)
    assert (response.status, response.headers) == (200, {"vary": "Origin"})


def test_nothing_is_said_where_nothing_was_asked_for() -> None:
    assert answer(no_cors, "GET", "/v1/models/m").headers == {}


def test_pages_beside_the_models_are_not_for_other_origins() -> None:
    assert answer(any_origin, "GET", "/readyz").headers == {}


def test_the_headers_go_over_the_wire_also_with_a_body_that_is_too_large() -> None:
    with InProcess({"m": {1: adder(1)}}) as running:
        app = AsgiApp(api(running, any_origin), running.grpc_services, LIMIT, lambda: False)
        origin = {"origin": HERE}
        for body, expected in [(b'{"instances": [1.0]}', 200), (b" " * (LIMIT + 1), 413)]:
            status, headers, _ = exchange_rest(app, "POST", "/v1/models/m:predict", body, origin)
            assert status == expected
            assert headers["access-control-allow-origin"] == "*"
            assert ALLOWED.items() <= headers.items()
