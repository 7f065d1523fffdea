from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest

from hotserve.api.exchange import RestResponse
from hotserve.api.status_codes import HTTP_STATUS
from hotserve.wires.http1_answers import ENDS, KEPT, STAYS, Answers, page, refusal
from hotserve.wires.http1_head import Refused


def lines(response: RestResponse, connection: bytes = STAYS) -> list[str]:
    head = Answers().head(response, connection).decode("latin-1")
    assert head.endswith("\r\n\r\n")
    return head[:-4].split("\r\n")


def test_a_head_is_status_type_date_and_length() -> None:
    status, kind, date, length = lines(RestResponse(200, b"hello"))
    assert (status, kind, length) == ("HTTP/1.1 200 OK", "Content-Type: application/json", "Content-Length: 5")
    assert date.startswith("Date: ")
    assert abs(parsedate_to_datetime(date[6:]).timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    ("connection", "line"), [(STAYS, None), (KEPT, "Connection: keep-alive"), (ENDS, "Connection: close")]
)
def test_a_head_says_what_becomes_of_the_connection(connection: bytes, line: str | None) -> None:
    assert [each for each in lines(RestResponse(200, b""), connection) if each.startswith("Connection")] == (
        [line] if line else []
    )


@pytest.mark.parametrize("status", [*sorted(set(HTTP_STATUS.values())), 408, 413, 414, 417, 421, 431, 505])
def test_every_status_has_words(status: int) -> None:
    assert not lines(RestResponse(status, b""))[0].endswith("Unknown")


@pytest.mark.parametrize(("status", "words"), [(429, "Client Error"), (499, "Client Error"), (504, "Gateway Time-out")])
def test_the_words_are_those_of_libevent(status: int, words: str) -> None:
    assert lines(RestResponse(status, b""))[0] == f"HTTP/1.1 {status} {words}"


def test_further_headers_follow() -> None:
    *_, length, origin = lines(RestResponse(200, b"", "text/html", {"access-control-allow-origin": "caf\xe9"}))
    assert (length, origin) == ("Content-Length: 0", "Access-Control-Allow-Origin: caf\xe9")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "\u20ac"])
def test_what_is_no_header_is_not_written(value: str) -> None:
    with pytest.raises(ValueError):
        Answers().head(RestResponse(200, b"", headers={"x": value}), STAYS)
    with pytest.raises(ValueError):
        Answers().head(RestResponse(200, b"", value), STAYS)


def test_the_date_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "time", lambda: now)
    answers = Answers()
    first = answers.head(RestResponse(200, b""), STAYS)
    assert b"Date: Thu, 01 Jan 1970 00:00:00 GMT" in first
    now = 61.0
    assert answers.head(RestResponse(200, b""), STAYS) == first
    answers.turn_second()
    assert b"Date: Thu, 01 Jan 1970 00:01:01 GMT" in answers.head(RestResponse(200, b""), STAYS)


def test_types_that_never_end_are_not_remembered_forever() -> None:
    answers = Answers()
    for number in range(2000):
        answers.head(RestResponse(200, b"", f"text/{number}"), STAYS)
    assert len(answers._prepared) <= 256


def test_a_refusal_explains_itself_or_is_libevents_page() -> None:
    explained = refusal(Refused(431, "Too many."))
    assert (explained.status, explained.body) == (431, b'{\n    "error": "Too many."\n}')
    assert refusal(Refused(501, None)) == page(501)
    assert page(501).content_type == "text/html"


@pytest.mark.parametrize("headers", [{}, {"vary": "Origin"}])
def test_a_whole_answer_is_the_head_and_the_body(headers: dict[str, str]) -> None:
    answers, response = Answers(), RestResponse(200, b"hello", headers=headers)
    for _ in range(2):  # the first time, nothing is prepared
        assert answers.whole(response, STAYS) == answers.head(response, STAYS) + b"hello"
