from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from hotserve.errors import ConfigError
from hotserve.observability.prometheus import DEFAULT_PATH
from support.embedded import request, toy_server
from support.in_process import PATIENCE, adder

MODELS = {"m": {1: adder(1)}}


def allowed_origin(port: int, origin: str) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/v1/models/m", headers={"Origin": origin})
        return connection.getresponse().getheader("Access-Control-Allow-Origin")
    finally:
        connection.close()


# Pages of other origins.


def test_every_origin_may_call_with_the_flag_of_the_original() -> None:
    with toy_server(MODELS, rest_api_enable_cors_support=True) as server:
        assert allowed_origin(server.options.rest_api_port, "https://a.example") == "*"


@pytest.mark.parametrize("every", [False, True])
def test_listed_origins_alone_may_call_whatever_the_flag_of_the_original_says(every: bool) -> None:
    origins = "https://a.example,https://b.example"
    with toy_server(MODELS, rest_api_enable_cors_support=every, rest_api_cors_origins=origins) as server:
        port = server.options.rest_api_port
        found = [allowed_origin(port, f"https://{name}.example") for name in "abc"]
        assert found == ["https://a.example", "https://b.example", None]


def test_no_origin_may_call_without_a_flag() -> None:
    with toy_server(MODELS) as server:
        assert allowed_origin(server.options.rest_api_port, "https://a.example") is None


def test_what_is_no_origin_is_found_before_anything_is_served() -> None:
    with pytest.raises(ConfigError, match="is no origin"):
        toy_server(MODELS, rest_api_cors_origins="https://a.example/")


# The page with the metrics.


def test_the_metrics_are_where_the_monitoring_file_says(tmp_path: Path) -> None:
    (tmp_path / "monitoring.config").write_text('prometheus_config { enable: true path: "/metrics" }')
    with toy_server(MODELS, monitoring_config_file=str(tmp_path / "monitoring.config")) as server:
        port = server.options.rest_api_port
        for method in ("GET", "POST", "DELETE"):
            status, headers, body = request(port, method, "/metrics")
            assert (status, headers["content-type"]) == (200, "text/plain")
            assert b"# TYPE :tensorflow:serving:request_count counter" in body
        status, _, body = request(port, "GET", "/metrics?name=x")
        assert (status, body) == (400, b"Unexpected path: /metrics?name=x. Should be /metrics")
        assert request(port, "GET", DEFAULT_PATH)[0] == 404


def test_there_are_no_metrics_where_the_monitoring_file_does_not_ask_for_them(tmp_path: Path) -> None:
    (tmp_path / "monitoring.config").write_text("prometheus_config { enable: false }")
    with toy_server(MODELS, monitoring_config_file=str(tmp_path / "monitoring.config")) as server:
        status, _, document = request(server.options.rest_api_port, "GET", DEFAULT_PATH)
        assert status == 404
        assert document["error"].endswith("see also /healthz and /readyz.")
