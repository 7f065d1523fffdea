"""Contract 2.1, 2.3 and 2.4: the HTTP layer."""

from __future__ import annotations

import http.client
import json
import re
import socket

import pytest

from support.contract import Answer, ask, lines, post, raw
from support.server_process import ServerProcess

PREDICT = "/v1/models/half:predict"
BODY = b'{"instances": [1.0]}'
ANSWER = b'{\n    "predictions": [2.5\n    ]\n}'


def request(
    version: str = "1.1", path: str = PREDICT, *headers: str, body: bytes = BODY, method: str = "POST"
) -> bytes:
    head = [f"{method} {path} HTTP/{version}", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def split(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers in lower case, and body of one answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return status, {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, body


# 2.1.


def test_http_1_1_keeps_the_connection(server: ServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    for _ in range(3):
        connection.request("POST", PREDICT, BODY)
        assert connection.getresponse().read() == ANSWER
        opened = connection.sock
        assert opened is not None
    connection.close()


def test_http_1_1_ends_the_connection_when_asked_to(server: ServerProcess) -> None:
    status, headers, body = split(raw(server, request("1.1", PREDICT, "Connection: close")))
    assert (status, body) == ("HTTP/1.1 200 OK", ANSWER)
    assert headers["connection"] == "close"


def test_http_1_0_is_answered_and_the_connection_ends(server: ServerProcess) -> None:
    status, _, body = split(raw(server, request("1.0")))
    assert status.split()[1] == "200"
    assert body == ANSWER


def test_http_1_0_keeps_the_connection_when_asked_to(server: ServerProcess) -> None:
    asked = request("1.0", PREDICT, "Connection: keep-alive")
    first, second = raw(server, asked + request("1.0")).split(ANSWER)[:2]
    assert split(first)[1]["connection"] == "keep-alive"
    assert split(second)[0].split()[1] == "200"


def test_a_body_may_come_in_chunks(server: ServerProcess) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    chunks = b"5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])
    assert split(raw(server, head + chunks))[2] == ANSWER


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(server: ServerProcess) -> None:
    head, body = request("1.1", PREDICT, "Expect: 100-continue", "Connection: close").split(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=60) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(body)
        assert split(b"".join(iter(lambda: connection.recv(1 << 16), b"")))[2] == ANSWER


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_reach_the_handler_and_are_malformed(server: ServerProcess, method: str) -> None:
    answer = ask(server, method, "/v1/models/half")
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    if method != "HEAD":
        assert answer.error.startswith(f"Malformed request: {method} /v1/models/half. ")


def html(code: int, reason: str) -> bytes:
    return f"<HTML><HEAD>\n<TITLE>{code} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n".encode()


@pytest.mark.parametrize("method", ["TRACE", "BREW"])
def test_unknown_methods_get_501_and_a_page(server: ServerProcess, method: str) -> None:
    status, headers, body = split(raw(server, request("1.1", "/v1/models/half", "Connection: close", method=method)))
    assert status == "HTTP/1.1 501 Not Implemented"
    assert (headers["content-type"], body) == ("text/html", html(501, "Not Implemented"))


@pytest.mark.parametrize("path", ["/", "/v2/models/half", "/v1", "/foo", "/v1x/models/half", "/%76%31/models/half"])
def test_what_does_not_begin_with_v1_is_not_found(server: ServerProcess, path: str) -> None:
    assert ask(server, "GET", path).status == 404


def test_better_what_is_not_found_is_told_in_json_with_the_place_to_go_instead_of_a_page(server: ServerProcess) -> None:
    answer = ask(server, "GET", "/foo")
    assert (answer.status, answer.reason) == (404, "Not Found")
    assert answer.headers["content-type"] == "application/json"
    assert b"Models answer under /v1/models/<name>" in answer.body


@lines(
    "header",
    {
        "none": [{}],
        "a form": [{"Content-Type": "application/x-www-form-urlencoded"}],
        "text": [{"Content-Type": "text/plain; charset=latin-1"}],
        "nonsense": [{"Content-Type": "!"}],
    },
)
def test_the_content_type_of_a_request_is_ignored(server: ServerProcess, header: dict[str, str]) -> None:
    assert ask(server, "POST", PREDICT, BODY, header).body == ANSWER


# 2.3. Each status by a request that gets it.


@lines(
    "method, path, body, status",
    {
        "OK": ["GET", "/v1/models/half", None, 200],
        "INVALID_ARGUMENT": ["POST", PREDICT, "hello", 400],
        "NOT_FOUND": ["POST", "/v1/models/nope:predict", '{"instances": [1.0]}', 404],
        "UNIMPLEMENTED": ["POST", "/v1/models/echo:predict", '{"signature_name": "complex64", "inputs": [1.5]}', 501],
    },
)
def test_the_status(server: ServerProcess, method: str, path: str, body: str | None, status: int) -> None:
    assert ask(server, method, path, body).status == status


def test_the_words_for_504_are_those_of_libevent(late: Answer) -> None:
    assert (late.status, late.reason) == (504, "Gateway Time-out")


@lines(
    "method, path, body, reason",
    {
        "200": ["GET", "/v1/models/half", None, "OK"],
        "400": ["GET", "/v1/models", None, "Bad Request"],
        "404": ["GET", "/v1/models/nope", None, "Not Found"],
        "501": [
            "POST",
            "/v1/models/echo:predict",
            '{"signature_name": "complex64", "inputs": [1.5]}',
            "Not Implemented",
        ],
    },
)
def test_the_words_for_a_status(server: ServerProcess, method: str, path: str, body: str | None, reason: str) -> None:
    assert ask(server, method, path, body).reason == reason


# 2.4.


@lines(
    "method, path, body",
    {
        "success": ["POST", PREDICT, BODY],
        "error": ["POST", PREDICT, b"hello"],
        "status": ["GET", "/v1/models/half", None],
        "metadata": ["GET", "/v1/models/half/metadata", None],
        "not found": ["GET", "/v1/models/nope", None],
    },
)
def test_answers_are_application_json_with_their_length_and_date(
    server: ServerProcess, method: str, path: str, body: bytes | None
) -> None:
    answer = ask(server, method, path, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["date"])


def test_the_body_of_an_error_byte_by_byte(server: ServerProcess) -> None:
    body = ask(server, "GET", "/v1/models/nope").body
    assert body == b'{\n    "error": "Could not find any versions of model nope"\n}'


@lines(
    "name, escaped",
    {
        "a quote": ["%22", rb"\""],
        "a backslash": ["%5C", rb"\\"],
        "the short escapes": ["%08%0C%0A%0D%09", rb"\b\f\n\r\t"],
        "other control characters, in upper case": ["%01%1F%0b", rb"\u0001\u001F\u000B"],
        "a slash, raw": ["%2F", b"/"],
        "0x7f, raw": ["%7F", b"\x7f"],
        "other than ASCII, raw": ["%C3%A9", "é".encode()],
    },
)
def test_the_text_of_an_error_is_escaped(server: ServerProcess, name: str, escaped: bytes) -> None:
    answer = ask(server, "GET", f"/v1/models/{name}")
    text = b"Could not find any versions of model " + escaped
    assert answer.body == b'{\n    "error": "' + text + b'"\n}'
    json.loads(answer.body)


def test_a_string_of_an_answer_that_is_no_utf8_is_base64_which_is_better_than_json_that_parsers_refuse(
    server: ServerProcess,
) -> None:
    body = b'{"signature_name": "string", "inputs": "\xff\xc3\xa9\xfe"}'
    assert json.loads(post(server, "echo:predict", body).body) == {"outputs": {"b64": "/8Op/g=="}}
