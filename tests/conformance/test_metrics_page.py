"""Contract 7.3: the form of the metrics page. Which metrics there are is said in tests/observability."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from support.contract import ask, lines, post
from support.server_process import ServerProcess

PATH = "/monitoring/prometheus/metrics"

TYPE = re.compile(r"# TYPE (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?P<kind>counter|gauge|histogram)")
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*"'
SAMPLE = re.compile(rf"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{{(?:{_LABEL}(?:,{_LABEL})*)?\}} \S+")

# In TensorFlow Serving's words: 10 * 1.8^i.
LATENCY_LIMITS = (
    *("10", "18", "32.4", "58.32", "104.976", "188.957", "340.122", "612.22", "1102", "1983.59", "3570.47"),
    *("6426.84", "11568.3", "20823", "37481.3", "67466.4", "121440", "218591", "393464", "708235", "1.27482e+06"),
    *("2.29468e+06", "4.13043e+06", "7.43477e+06", "1.33826e+07", "2.40887e+07", "4.33596e+07", "7.80473e+07"),
    *("1.40485e+08", "2.52873e+08", "4.55172e+08", "8.19309e+08", "1.47476e+09", "+Inf"),
)


@pytest.fixture(scope="module")
def page(server: ServerProcess) -> list[str]:
    """The lines of the page, after some requests."""
    post(server, "half:predict", '{"instances": [1.0]}')
    post(server, "half:predict", "hello")
    ask(server, "POST", "/v1/models/a%22b%5Cc%0Ad:predict", '{"instances": [1.0]}')
    answer = ask(server, "GET", PATH)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain"
    text = answer.body.decode()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def test_each_line_is_a_type_or_a_sample_with_braces(page: Sequence[str]) -> None:
    assert [line for line in page if not TYPE.fullmatch(line) and not SAMPLE.fullmatch(line)] == []


def test_there_is_one_type_line_for_each_metric_and_no_help(page: Sequence[str]) -> None:
    names = [match["name"] for match in map(TYPE.fullmatch, page) if match]
    assert len(names) == len(set(names))
    assert not any(line.startswith("# HELP") for line in page)


def test_samples_stand_below_the_type_line_of_their_metric(page: Sequence[str]) -> None:
    current = ""
    for line in page:
        match = TYPE.fullmatch(line)
        if match:
            current = match["name"]
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None
            assert re.sub("_(bucket|sum|count)$", "", sample["name"]) in (current, re.sub("_count$", "", current)), line


def test_metrics_of_serving_have_their_exported_names(page: Sequence[str]) -> None:
    assert "# TYPE :tensorflow:serving:request_count counter" in page
    assert "# TYPE :tensorflow:serving:request_latency histogram" in page


def test_a_counter_has_its_labels_and_a_whole_number(page: Sequence[str]) -> None:
    sample = re.compile(r':tensorflow:serving:request_count\{model_name="half",status="(OK|INVALID_ARGUMENT)"\} \d+')
    assert len([line for line in page if sample.fullmatch(line)]) == 2


def test_quotes_and_backslashes_are_escaped_and_better_newlines_too(page: Sequence[str]) -> None:
    assert ':tensorflow:serving:request_count{model_name="a\\"b\\\\c\\nd",status="NOT_FOUND"} 1' in page


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count(page: Sequence[str]) -> None:
    labels = 'model_name="half",API="predict",entrypoint="REST"'
    name = ":tensorflow:serving:request_latency"
    buckets = [line for line in page if line.startswith(f"{name}_bucket{{{labels},le=")]
    assert [line.split('le="')[1].split('"')[0] for line in buckets] == list(LATENCY_LIMITS)
    counts = [int(line.rsplit(" ", 1)[1]) for line in buckets]
    assert counts == sorted(counts)
    assert f"{name}_count{{{labels}}} {counts[-1]}" in page
    (total,) = [line for line in page if line.startswith(f"{name}_sum{{{labels}}} ")]
    number = total.rsplit(" ", 1)[1]
    assert f"{float(number):g}" == number


def test_a_path_with_a_query_is_400(server: ServerProcess) -> None:
    answer = ask(server, "GET", f"{PATH}?x=1")
    assert answer.status == 400
    assert answer.body.decode() == f"Unexpected path: {PATH}?x=1. Should be {PATH}"


@lines("method", {"POST": ["POST"], "PUT": ["PUT"], "DELETE": ["DELETE"], "OPTIONS": ["OPTIONS"]})
def test_any_method_works(server: ServerProcess, method: str) -> None:
    assert ask(server, method, PATH).status == 200
