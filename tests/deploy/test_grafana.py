"""The dashboard, the alerts and the scrape configuration fit the page of a real server, and a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest

from hotserve.codecs.tensor_proto import encode_tensor
from hotserve.observability.prometheus import DEFAULT_PATH
from hotserve.protos import messages
from hotserve.tensors import DType
from support.in_process import PREDICT
from support.prometheus_process import PrometheusProcess, find_program
from support.server_process import ServerProcess, wait_until
from support.versioned_models import WIDTH, onnx_version

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
ALERTS = FOLDER / "alerts.yml"
MAX_MESSAGE_BYTES = 100_000

METRIC = re.compile(r"(?<![\w:$])(?:hotserve_|:tensorflow:)[a-zA-Z0-9_:]+")
SUFFIX = re.compile(r"_(bucket|sum|count)$")
THRESHOLD = re.compile(r" (==|>|<) [0-9.e+]+$")
VALUE_OF = {"$instance": ".*", "$model": ".*", "$version": ".*", "$__rate_interval": "5s", "$__range": "1m"}

needs_promtool = pytest.mark.skipif(
    find_program("promtool") is None,
    reason="needs promtool (apt-get install prometheus), or HOTSERVE_PROMETHEUS_FOLDER to name its folder",
)


def dashboard() -> Any:
    return json.loads((FOLDER / "hotserve.json").read_text(encoding="utf-8"))


def filled(expression: str) -> str:
    """An expression with values in place of Grafana's variables."""
    for variable, value in VALUE_OF.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def panel_expressions() -> Mapping[str, str]:
    """Panel and query -> expression."""
    return {
        f"{panel['title']} {target['refId']}": filled(target["expr"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    }


def dashboard_expressions() -> Mapping[str, str]:
    """The same, with those of the annotations and the variables."""
    shown = dashboard()
    annotations = {a["name"]: filled(a["expr"]) for a in shown["annotations"]["list"] if "expr" in a}
    variables = {
        variable["name"]: filled(variable["query"]["query"]).removeprefix("label_values(").rpartition(",")[0]
        for variable in shown["templating"]["list"]
        if variable["type"] == "query"
    }
    return {**panel_expressions(), **annotations, **variables}


def test_the_dashboard_asks_the_chosen_data_source_only() -> None:
    shown = dashboard()
    sources = [target["datasource"] for panel in shown["panels"] for target in panel.get("targets", ())]
    assert len(sources) > 40
    assert {json.dumps(source) for source in sources} == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert [variable["name"] for variable in shown["templating"]["list"]] == [
        "datasource",
        "instance",
        "model",
        "version",
    ]


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits` answers, `broken` cannot be loaded, `missing` is not there."""
    folder = tmp_path_factory.mktemp("models")
    onnx_version(folder / "digits" / "1", 1)
    onnx_version(folder / "broken" / "1", 1)
    broken = onnx.load(folder / "broken" / "1" / "model.onnx")
    broken.graph.node[0].op_type = "NoSuchOperation"
    onnx.save(broken, folder / "broken" / "1" / "model.onnx")
    names = ("digits", "broken", "missing")
    listed = "\n".join(f'config {{ name: "{name}" base_path: "{folder / name}" }}' for name in names)
    (folder / "models.config").write_text(f"model_config_list {{ {listed} }}")
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[ServerProcess]:
    flags = (
        f"--model_config_file={models / 'models.config'}",
        f"--max_message_bytes={MAX_MESSAGE_BYTES}",
        "--file_system_poll_wait_seconds=0.2",
    )
    with ServerProcess(*flags, wait_ready=False) as running:
        running.wait_listening()
        running.wait_state("digits", 1, "AVAILABLE")
        yield running


def send_traffic(server: ServerProcess) -> None:
    """A few requests over both APIs: good ones, a wrong one, and one that is too large."""
    row = [1.0] * WIDTH
    assert server.post("/v1/models/digits:predict", {"instances": [row, row]})[0] == 200
    assert server.post("/v1/models/digits:predict", {"instances": ["x"]})[0] == 400
    assert server.request("POST", "/v1/models/digits:predict", b" " * (MAX_MESSAGE_BYTES + 1))[0] == 413
    request = messages.PredictRequest(model_spec=messages.ModelSpec(name="digits"))
    request.inputs["x"].CopyFrom(encode_tensor(np.float32([row]), DType.FLOAT))
    with grpc.insecure_channel(server.grpc_target) as channel:
        answer = channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=60)
    assert "y" in messages.PredictResponse.FromString(answer).outputs


def test_every_metric_that_is_named_is_on_the_page(server: ServerProcess) -> None:
    send_traffic(server)
    _, page = server.get(DEFAULT_PATH)
    known = set(re.findall(r"^# TYPE (\S+)", page.decode(), re.MULTILINE))
    histograms = set(re.findall(r"^# TYPE (\S+) histogram$", page.decode(), re.MULTILINE))
    named = set(METRIC.findall(" ".join(dashboard_expressions().values()) + ALERTS.read_text()))
    assert len(named) > 30
    of_histograms = {name for name in named if SUFFIX.sub("", name) in histograms}
    assert {name for name in of_histograms if not SUFFIX.search(name)} == set()
    assert (named - of_histograms) - known == set()


def test_every_label_that_is_named_is_one_of_its_metric(server: ServerProcess) -> None:
    send_traffic(server)
    _, page = server.get(DEFAULT_PATH)
    labels = {
        SUFFIX.sub("", name): set(re.findall(r'(\w+)="', cell)) | {"instance"}
        for name, cell in re.findall(r"^([^#{]+)\{(.*)\} \S+$", page.decode(), re.MULTILINE)
    }
    for name, expression in dashboard_expressions().items():
        for metric, selector in re.findall(rf"({METRIC.pattern})\{{([^}}]*)\}}", expression):
            wanted = set(re.findall(r"(\w+)[=!]", selector))
            have = labels.get(SUFFIX.sub("", metric), wanted)  # that of one without cells is not known
            assert wanted <= have, f"{name}: {metric} has {have}"


def test_the_scrape_configuration_names_the_usual_path() -> None:
    assert f"metrics_path: {DEFAULT_PATH}\n" in (FOLDER / "prometheus.yml").read_text()


@needs_promtool
@pytest.mark.parametrize(("kind", "file"), [("rules", "alerts.yml"), ("config", "prometheus.yml")])
def test_promtool_accepts_the_files(kind: str, file: str) -> None:
    program = find_program("promtool")
    assert program is not None
    done = subprocess.run(
        [program, "check", kind, str(FOLDER / file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_gives_data_from_a_real_server(server: ServerProcess, models: Path, tmp_path: Path) -> None:
    program = find_program("prometheus")
    if program is None:
        pytest.skip("needs prometheus (apt-get install prometheus), or HOTSERVE_PROMETHEUS_FOLDER to name its folder")
    target = server.url.removeprefix("http://")
    with PrometheusProcess(program, tmp_path, target, DEFAULT_PATH, ALERTS) as prometheus:
        wait_until(lambda: prometheus.values('up{job="hotserve"} == 1'), what="the server is scraped")
        onnx_version(models / "digits" / "2", 2)
        server.wait_state("digits", 1, "END")
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        alerts = {rule["name"]: rule["query"] for rule in rules if rule["type"] == "alerting"}
        assert all(THRESHOLD.search(expression) for expression in alerts.values())
        pending = {
            **dashboard_expressions(),
            **{name: THRESHOLD.sub("", expression) for name, expression in alerts.items()},
            **{rule["name"]: rule["query"] for rule in rules if rule["type"] == "recording"},
        }
        assert len(pending) > 50

        def all_have_data() -> bool:
            send_traffic(server)
            for name in [name for name, expression in pending.items() if prometheus.values(expression)]:
                del pending[name]
            return not pending

        try:
            wait_until(all_have_data, 30)
        except AssertionError:
            raise AssertionError(f"no data: {pending}") from None
        # What is the matter with this server is told.
        firing = ("HotserveModelUnavailable", "HotserveVersionFailed", "HotserveStorageAway", "HotserveErrors")
        wait_until(lambda: all(prometheus.values(alerts[name]) for name in firing), what="the alerts see what is wrong")
