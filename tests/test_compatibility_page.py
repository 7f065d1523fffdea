"""docs/compatibility.md, compared with the program."""

from __future__ import annotations

import re
import runpy
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hotserve.api.reflection_service import REFLECTION_SERVICES
from hotserve.config.compatibility import FlagState, flag_compatibility
from hotserve.config.platform_config import BUNDLE_FIELDS_WITHOUT_EFFECT, WARMUP_FIELDS_WITHOUT_EFFECT
from hotserve.protos.pool import POOL
from support.embedded import write_table
from support.in_process import InProcess
from support.server_process import ServerProcess

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")

STATES = {"works", "works better", "differs", "no effect", "refused", "absent"}
SERVED = {"works", "works better", "differs"}

MESSAGES = (
    "ModelServerConfig",
    "ModelConfigList",
    "ModelConfig",
    "FileSystemStoragePathSourceConfig",
    "FileSystemStoragePathSourceConfig.ServableVersionPolicy",
    "FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest",
    "FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific",
    "FileSystemStoragePathSourceConfig.ServableToMonitor",
    "LoggingConfig",
    "LogCollectorConfig",
    "SamplingConfig",
    "PerTaskSamplingConfig",
    "MonitoringConfig",
    "PrometheusConfig",
    "SSLConfig",
    "BatchingParameters",
    "PlatformConfigMap",
    "PlatformConfig",
    "SavedModelBundleSourceAdapterConfig",
    "SessionBundleConfig",
    "ModelWarmupOptions",
    "SavedModelConfig",
    "SessionOverrides",
    "ThreadPoolFactoryConfig",
    "BatchingOptions",
)
"""The messages that config files are made of."""

FLAG_OF = {
    "BatchingParameters": "batching_parameters_file",
    "PlatformConfigMap": "platform_config_file",
    "PlatformConfig": "platform_config_file",
    "SavedModelBundleSourceAdapterConfig": "platform_config_file",
    "ThreadPoolFactoryConfig": "thread_pool_factory_config_file",
    "SSLConfig": "ssl_config_file",
    "MonitoringConfig": "monitoring_config_file",
}
"""Messages all of whose fields are without an effect, if and only if the flag is that leads to them."""


@dataclass(frozen=True)
class Row:
    """A row of a table, by the titles of its columns; the last column has none, and what it says is under ``why``."""

    cells: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """What stands in backticks in the first column."""
        return re.findall(r"`([^`]+)`", next(iter(self.cells.values())))


@cache
def tables() -> Mapping[str, Sequence[Row]]:
    """Heading -> the rows of the table under it; headings without a table are left out."""
    found: dict[str, list[Row]] = {}
    heading, columns = "", None
    for line in PAGE.splitlines():
        if line.startswith("#"):
            heading, columns = line.lstrip("#").strip().strip("`"), None
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if columns is None:
                columns = [cell or "why" for cell in cells]
            elif not set(line) <= set("|-"):
                found.setdefault(heading, []).append(Row(dict(zip(columns, cells, strict=True))))
        elif line:
            columns = None
    return found


def rows_with_a_state() -> Iterator[tuple[str, Row]]:
    for heading, rows in tables().items():
        yield from ((heading, row) for row in rows if "state" in row.cells and len(row.cells) > 2)


def test_every_state_is_one_of_those_that_the_page_explains() -> None:
    explained = {row.cells["state"] for row in tables()["Compatibility with TensorFlow Serving"]}
    assert explained == STATES
    assert {row.cells["state"] for _, row in rows_with_a_state()} <= STATES


def test_the_table_of_flags_is_what_the_program_says() -> None:
    # To write it anew: python scripts/render_compatibility.py
    script = runpy.run_path(str(ROOT / "scripts" / "render_compatibility.py"))
    assert script["rendered"](PAGE) == PAGE
    assert len(tables()["Flags"]) == 48


def test_the_calls_that_are_served_are_those_of_the_program() -> None:
    with InProcess({}) as server:
        services = server.grpc_services
        paths = {*services.unary, *services.streaming, *services.bidirectional}
    listed = {f"/{name}" for row in tables()["Calls"] for name in row.names if row.cells["state"] in SERVED}
    assert listed == paths
    assert {f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES} <= listed


def test_requests_are_said_not_to_be_batched_as_long_as_that_is_so() -> None:
    state = flag_compatibility("enable_batching").state
    assert ("not batched yet" in PAGE) == (state is FlagState.WITHOUT_EFFECT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of the model `m` with version 1, which is labelled `stable`."""
    folder = tmp_path_factory.mktemp("models")
    write_table(folder / "m" / "1", a="b")
    config = folder / "models.config"
    config.write_text(
        'model_config_list { config { name: "m" base_path: "m" version_labels { key: "stable" value: 1 } } }'
    )
    with ServerProcess(f"--model_config_file={config}") as running:
        yield running


@pytest.mark.parametrize("row", tables()["Routes"], ids=lambda row: row.names[0])
def test_every_route_is_answered_with_the_status_that_the_page_says(server: ServerProcess, row: Row) -> None:
    method, path = row.names[0].split(" ")
    status, _ = server.request(method, path, b'{"instances": ["a"]}' if method == "POST" else None)
    assert status == int(row.cells["here"])
    if row.cells["state"] == "works" and "monitoring" not in path:
        assert row.cells["here"] == row.cells["there"]


@pytest.mark.parametrize(
    ("what", "request_", "answer"),
    [
        ("HTTP/1.0", b"GET /v1/models/m HTTP/1.0\r\n\r\n", rb"HTTP/1\.[01] 200 "),
        ("methods that there are not", b"BREW /v1/models/m HTTP/1.1\r\nHost: m\r\n\r\n", rb"HTTP/1\.1 501 "),
        ("pages that are not there", b"GET / HTTP/1.1\r\nHost: m\r\n\r\n", rb"(?is).*content-type: text/html"),
        (
            "the path as it came",
            b"POST /v1/models/m:predict? HTTP/1.1\r\nHost: m\r\nContent-Length: 20\r\n\r\n" + b'{"instances": ["a"]}',
            rb"HTTP/1\.1 400 ",
        ),
    ],
)
def test_the_page_says_where_http_itself_is_otherwise(
    server: ServerProcess, what: str, request_: bytes, answer: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=30) as connection:
        connection.sendall(request_)
        head = b"".join(iter(connection.makefile("rb").readline, b"\r\n"))
    (row,) = [row for row in tables()["REST"] if row.cells["what"] == what]
    assert (row.cells["state"] in {"works", "works better"}) == bool(re.match(answer, head))


@pytest.mark.parametrize("message", MESSAGES)
def test_every_field_of_a_config_message_has_its_row(message: str) -> None:
    package = "tensorflow" if message == "BatchingOptions" else "tensorflow.serving"
    fields = POOL.FindMessageTypeByName(f"{package}.{message}").fields
    assert sorted(name for row in tables()[message] for name in row.names) == sorted(field.name for field in fields)


def test_every_config_message_that_the_program_knows_is_on_the_page() -> None:
    files = ("hotserve/protos/model_config.proto", "hotserve/protos/server_config.proto")

    def all_of(messages: Any) -> Iterator[Any]:
        for message in messages:
            yield message
            yield from all_of(message.nested_types)

    known = {
        message.full_name.removeprefix("tensorflow.serving.")
        for file in files
        for message in all_of(POOL.FindFileByName(file).message_types_by_name.values())
        if message.fields and not message.GetOptions().map_entry
    }
    assert known <= set(MESSAGES)


@pytest.mark.parametrize(("message", "flag"), FLAG_OF.items())
def test_the_fields_of_a_file_have_an_effect_if_its_flag_has(message: str, flag: str) -> None:
    states = {row.cells["state"] for row in tables()[message]}
    if flag_compatibility(flag).state is FlagState.WITHOUT_EFFECT:
        assert states == {"no effect"}
    else:
        assert states != {"no effect"}


@pytest.mark.parametrize(
    ("message", "reasons"),
    [("SessionBundleConfig", BUNDLE_FIELDS_WITHOUT_EFFECT), ("ModelWarmupOptions", WARMUP_FIELDS_WITHOUT_EFFECT)],
)
def test_a_field_without_an_effect_has_the_reason_that_the_log_gives(message: str, reasons: Mapping[str, str]) -> None:
    page = {
        name: row.cells["why"] for row in tables()[message] for name in row.names if row.cells["state"] == "no effect"
    }
    assert page == reasons


def test_the_metrics_of_the_original_are_those_of_the_program(server: ServerProcess) -> None:
    page = server.get("/monitoring/prometheus/metrics")[1].decode()
    program = set(re.findall(r"^# TYPE (:tensorflow:\S+) ", page, re.MULTILINE))
    listed = {row.names[0] for row in tables()["Metrics"] if row.cells["state"] in SERVED}
    assert listed == program


def test_metrics_have_the_labels_that_the_page_says(server: ServerProcess) -> None:
    assert server.post("/v1/models/m:predict", {"instances": ["a"]})[0] == 200
    page = server.get("/monitoring/prometheus/metrics")[1].decode()
    labels = {row.names[0]: set(re.findall(r"`([^`]+)`", row.cells["labels"])) for row in tables()["Metrics"]}
    seen = 0
    for name, cell in re.findall(r"^(:tensorflow:[\w:]+?)(?:_bucket|_sum|_count)?\{(.*)\} ", page, re.MULTILINE):
        metric = name if name in labels else f"{name}_count"
        assert set(re.findall(r'(\w+)="', cell)) - {"le"} == labels[metric]
        seen += 1
    assert seen
