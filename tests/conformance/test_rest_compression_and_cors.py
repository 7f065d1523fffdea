"""Contract 2.5: compression and CORS."""

from __future__ import annotations

import gzip

import pytest

from support.contract import ask, lines
from support.server_process import ServerProcess

PREDICT = "/v1/models/half:predict"
BODY = b'{"instances": [1.0]}'
PACKED = gzip.compress(BODY)
ANSWER = b'{\n    "predictions": [2.5\n    ]\n}'


@lines(
    "encoding",
    {"gzip": ["gzip"], "a text that contains gzip": ["x-gzip"], "gzip among others": ["deflate, gzip"]},
)
def test_a_request_may_be_compressed(server: ServerProcess, encoding: str) -> None:
    assert ask(server, "POST", PREDICT, PACKED, {"Content-Encoding": encoding}).body == ANSWER


@lines("encoding", {"deflate": ["deflate"], "identity": ["identity"], "another case": ["GZIP"]})
def test_any_other_encoding_is_ignored(server: ServerProcess, encoding: str) -> None:
    assert ask(server, "POST", PREDICT, BODY, {"Content-Encoding": encoding}).body == ANSWER


@lines(
    "body",
    {
        "not gzip": [BODY],
        "cut off": [PACKED[:-9]],
        "a wrong checksum": [PACKED[:-8] + bytes(8)],
        "nothing": [b""],
    },
)
def test_what_cannot_be_decompressed_counts_as_empty(server: ServerProcess, body: bytes) -> None:
    answer = ask(server, "POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert answer.error.startswith("JSON Parse error: The document is empty")


def test_the_limit_on_decompressed_bodies_is_the_one_on_bodies_which_is_better_than_100_mib_taken_for_empty(
    server: ServerProcess,
) -> None:
    # 110 MiB of spaces before the object.
    packed = gzip.compress(b" " * (110 << 20) + BODY, compresslevel=1)
    assert ask(server, "POST", PREDICT, packed, {"Content-Encoding": "gzip"}).body == ANSWER


def test_answers_are_never_compressed(server: ServerProcess) -> None:
    answer = ask(server, "POST", PREDICT, BODY, {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.body == ANSWER


CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


@lines(
    "method, path, body, status",
    {
        "an answer": ["POST", "/v1/models/echo:predict", '{"signature_name": "float", "instances": [1.5]}', 200],
        "an error": ["POST", "/v1/models/echo:predict", "hello", 400],
        "a malformed request": ["GET", "/v1/foo", None, 400],
        "a preflight": ["OPTIONS", "/v1/models/echo:predict", None, 200],
    },
)
def test_with_the_flag_every_answer_of_the_rest_api_allows_all_origins(
    server_with_flags: ServerProcess, method: str, path: str, body: str | None, status: int
) -> None:
    answer = ask(server_with_flags, method, path, body, {"Origin": "https://page.example"})
    assert answer.status == status
    assert {name: answer.headers.get(name) for name in CORS} == CORS


def test_without_the_flag_no_answer_says_anything_of_origins(server: ServerProcess) -> None:
    for method, body in (("POST", BODY), ("OPTIONS", None)):
        answer = ask(server, method, PREDICT, body, {"Origin": "https://page.example"})
        assert not {name for name in answer.headers if name.startswith("access-control")}


@lines(
    "origin, status",
    {
        "http://": ["http://page.example", 200],
        "https://": ["https://page.example", 200],
        "contained anywhere": ["x http://", 200],
        "another scheme": ["ftp://page.example", 400],
        "null": ["null", 400],
        "none": [None, 400],
    },
)
@pytest.mark.parametrize("path", ["/v1/models/half:predict", "/v1/models/half", "/v1/anything"])
@pytest.mark.parametrize("which", ["server", "server_with_flags"])
def test_options_depends_on_the_origin_alone(
    request: pytest.FixtureRequest, which: str, path: str, origin: str | None, status: int
) -> None:
    running = request.getfixturevalue(which)
    answer = ask(running, "OPTIONS", path, headers={} if origin is None else {"Origin": origin})
    assert (answer.status, answer.body) == (status, b"")
    assert answer.headers["content-type"] == "text/html; charset=ISO-8859-1"
