"""Contract 2.2: the routes."""

from __future__ import annotations

import json

from support.contract import ask, lines
from support.server_process import ServerProcess

BODY = '{"instances": [10.0]}'


@lines(
    "path, y",
    {
        "the latest version": ["/v1/models/plus:predict", 12.0],
        "a version": ["/v1/models/plus/versions/1:predict", 11.0],
        "a version with leading zeros": ["/v1/models/plus/versions/00000001:predict", 11.0],
        "a label": ["/v1/models/plus/labels/stable:predict", 11.0],
        "a label, percent-encoded": ["/v1/models/plus/labels/%73table:predict", 11.0],
        "a label with a space, a slash and a colon": ["/v1/models/plus/labels/a%20b%2Fc%3Ad:predict", 11.0],
        "a model name, percent-encoded": ["/v1/models/%70lus:predict", 12.0],
        "the route in any case": ["/V1/Models/plus/VERSIONS/1:predict", 11.0],
        "the route in any case, a label": ["/v1/MODELS/plus/Labels/canary:predict", 12.0],
    },
)
def test_predict_is_reached(server: ServerProcess, path: str, y: float) -> None:
    answer = ask(server, "POST", path, BODY)
    assert (answer.status, json.loads(answer.body)) == (200, {"predictions": [y]})


@lines(
    "method, path",
    {
        "GET on :predict": ["GET", "/v1/models/half:predict"],
        "GET on :classify": ["GET", "/v1/models/half:classify"],
        "POST without verb": ["POST", "/v1/models/half"],
        "POST on metadata": ["POST", "/v1/models/half/metadata"],
        "/v1/foo": ["GET", "/v1/foo"],
        "/v1/": ["GET", "/v1/"],
        "trailing / after models": ["GET", "/v1/models/"],
        "trailing / after the name": ["GET", "/v1/models/half/"],
        "trailing / after metadata": ["GET", "/v1/models/half/metadata/"],
        "trailing / after the verb": ["POST", "/v1/models/half:predict/"],
        "an unknown verb": ["POST", "/v1/models/half:multi_inference"],
        "the verb keeps its case": ["POST", "/v1/models/half:PREDICT"],
        "the verb keeps its case, classify": ["POST", "/v1/models/half:Classify"],
        "a version that is no number": ["GET", "/v1/models/half/versions/latest"],
        "a negative version": ["GET", "/v1/models/half/versions/-1"],
        "a version of other digits": ["GET", "/v1/models/half/versions/%D9%A1"],
        "version and label": ["GET", "/v1/models/plus/versions/1/labels/stable"],
        "an empty version": ["GET", "/v1/models/half/versions/"],
        "an empty label": ["POST", "/v1/models/half/labels/:predict"],
        "a label with a slash": ["GET", "/v1/models/half/labels/a/b"],
        "a query on POST": ["POST", "/v1/models/half:predict?x=1"],
        "a query after a version": ["GET", "/v1/models/half/versions/123?x"],
        "a query after metadata": ["GET", "/v1/models/half/metadata?x"],
        "a double slash": ["GET", "/v1//models/half"],
        "a colon that is percent-encoded": ["POST", "/v1/models/half%3Apredict"],
        "PUT": ["PUT", "/v1/models/half:predict"],
        "DELETE": ["DELETE", "/v1/models/half"],
    },
)
def test_anything_else_is_malformed_and_named_as_it_came(server: ServerProcess, method: str, path: str) -> None:
    answer = ask(server, method, path, BODY if method == "POST" else None)
    assert answer.status == 400
    assert answer.error.startswith(f"Malformed request: {method} {path}. Expected POST /v1/models/NAME:predict")


@lines(
    "path, status, text",
    {
        "/v1/models": ["/v1/models", 400, "Missing model name in request."],
        "/V1/MODELS": ["/V1/MODELS", 400, "Missing model name in request."],
        "/v1/models/metadata is a model": [
            "/v1/models/metadata",
            404,
            "Could not find any versions of model metadata",
        ],
        "a version without a model": ["/v1/models/versions/1", 400, "Missing model name in request."],
        "a query becomes part of the name": [
            "/v1/models/half?x=1",
            404,
            "Could not find any versions of model half?x=1",
        ],
        "+ is not a space": ["/v1/models/a+b", 404, "Could not find any versions of model a+b"],
        "%20 is": ["/v1/models/a%20b", 404, "Could not find any versions of model a b"],
        "names keep their case": ["/v1/models/HALF", 404, "Could not find any versions of model HALF"],
        "%2F and %3A are part of a name": [
            "/v1/models/a%2Fb%3Ac",
            404,
            "Could not find any versions of model a/b:c",
        ],
        "version unknown": ["/v1/models/half/versions/7", 404, "Could not find version 7 of model half"],
        "the largest version": [
            "/v1/models/half/versions/9223372036854775807",
            404,
            "Could not find version 9223372036854775807 of model half",
        ],
    },
)
def test_get(server: ServerProcess, path: str, status: int, text: str) -> None:
    answer = ask(server, "GET", path)
    assert answer.status == status
    assert answer.error.startswith(text)


def test_an_empty_query_on_post_is_malformed(server: ServerProcess) -> None:
    answer = ask(server, "POST", "/v1/models/half:predict?", BODY)
    assert answer.status == 400
    assert answer.error.startswith("Malformed request: POST /v1/models/half:predict?. ")


def test_a_fragment_becomes_part_of_the_name(server: ServerProcess) -> None:
    answer = ask(server, "GET", "/v1/models/half#x")
    assert (answer.status, answer.error) == (404, "Could not find any versions of model half#x")


def test_a_percent_that_encodes_nothing_stays(server: ServerProcess) -> None:
    answer = ask(server, "GET", "/v1/models/a%zz")
    assert (answer.status, answer.error) == (404, "Could not find any versions of model a%zz")


@lines(
    "method, path",
    {
        "status": ["GET", "/v1/models/half/versions/9223372036854775808"],
        "metadata": ["GET", "/v1/models/half/versions/99999999999999999999/metadata"],
        "predict": ["POST", "/v1/models/half/versions/99999999999999999999:predict"],
    },
)
def test_a_version_beyond_int64_is_named_which_is_better_than_the_empty_body_of_the_original(
    server: ServerProcess, method: str, path: str
) -> None:
    answer = ask(server, method, path, BODY if method == "POST" else None)
    version = path.split("/")[5].partition(":")[0]
    assert answer.status == 400
    assert answer.error.startswith(f"Failed to convert version: {version} to numeric.")


def test_METADATA_in_capitals_is_the_status(server: ServerProcess) -> None:
    assert ask(server, "GET", "/v1/models/half/METADATA").body == ask(server, "GET", "/v1/models/half").body


def test_status_ignores_a_label_and_metadata_does_not(server: ServerProcess) -> None:
    whole = ask(server, "GET", "/v1/models/plus").body
    assert ask(server, "GET", "/v1/models/plus/labels/stable").body == whole
    assert ask(server, "GET", "/v1/models/plus/labels/no-such-label").body == whole
    metadata = json.loads(ask(server, "GET", "/v1/models/plus/labels/stable/metadata").body)
    assert metadata["model_spec"]["version"] == "1"
