from __future__ import annotations

import json

from support.in_process import InProcess, ToyServable, adder


def report(server: InProcess, path: str) -> tuple[int, object]:
    response = server.rest("GET", path)
    return response.status, json.loads(response.body)


def test_the_engines_of_a_version_are_told() -> None:
    servable = adder(1)
    servable.engine_report = {"serving_default": {"engine": "onnxruntime", "reason": "fast"}}  # type: ignore[attr-defined]
    with InProcess({"m": {3: servable}}) as server:
        expected = {
            "model_spec": {"name": "m", "version": "3"},
            "engines": {"serving_default": {"engine": "onnxruntime", "reason": "fast"}},
        }
        assert report(server, "/v1/models/m/engines") == (200, expected)
        assert report(server, "/v1/models/m/versions/3/engines") == (200, expected)
        assert report(server, "/v1/models/m/versions/4/engines")[0] == 404


def test_of_a_servable_that_says_nothing_its_runtime_is_told() -> None:
    servable: ToyServable = adder(1)
    servable.runtime = "toy"  # type: ignore[attr-defined]
    with InProcess({"m": {1: servable}}) as server:
        status, told = report(server, "/v1/models/m/engines")
        assert status == 200
        assert isinstance(told, dict)
        assert told["engines"] == {"serving_default": {"engine": "toy"}}
