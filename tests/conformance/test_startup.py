"""Contract 3.1, 3.8, 1.4 and 6.1: what a start does, and what ends it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.contract import ask, config, lines, spoil, tfs
from support.server_process import TFS_COMMAND, free_port

LIST = "model_config_list {"

STARTS: Mapping[str, tuple[str, str]] = {
    "neither a base path nor a config file": (
        "",
        "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!",
    ),
    "nothing to listen on": (
        "--port=0 --rest_api_port=0 --model_base_path=/nowhere",
        "INVALID_ARGUMENT: At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
    ),
    "a config file that is not there": (
        "--model_config_file=@/nope",
        "NOT_FOUND: @/nope; No such file or directory",
    ),
    "a config file of no bytes": ("--model_config_file=@/zero", "INVALID_ARGUMENT: @/zero; Invalid argument"),
    "a config file that does not parse": (
        "--model_config_file=@/broken",
        "INVALID_ARGUMENT: Invalid protobuf file: '@/broken'",
    ),
    "an unknown field": ("--model_config_file=@/field", "INVALID_ARGUMENT: Invalid protobuf file: '@/field'"),
    "a custom model config": (
        "--model_config_file=@/custom",
        "INVALID_ARGUMENT: ModelServer does not yet support custom model config.",
    ),
    "an unknown platform": (
        "--model_config_file=@/platform",
        "INVALID_ARGUMENT: Model m requests unsupported platform caffe",
    ),
}
"""What the start says -> flags, `@` for the folder of files; the status."""

FILES = {
    "zero": "",
    "broken": "model_config_list { config {",
    "field": "model_config_list { nme: 'm' }",
    "custom": "custom_model_config { type_url: 'x/y' }",
    "platform": config("name: 'm' base_path: '/nowhere' model_platform: 'caffe'"),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[str, subprocess.CompletedProcess[str]]]:
    """The flags of each start, and its end; two at a time, because a start takes most of a second."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (folder / name).write_text(text)

    def start(row: tuple[str, str]) -> subprocess.CompletedProcess[str]:
        flags = row[0].replace("@", str(folder)).split()
        ports = [f"--port={free_port()}", f"--rest_api_port={free_port()}", "--host=127.0.0.1"]
        return subprocess.run([TFS_COMMAND, *ports, *flags], capture_output=True, text=True, timeout=120)

    with ThreadPoolExecutor(2) as pool:
        processes = list(pool.map(start, STARTS.values()))
    return {name: (str(folder), process) for name, process in zip(STARTS, processes, strict=True)}


@pytest.mark.parametrize("name", STARTS)
def test_a_start_that_fails_says_why_on_standard_output_and_exits_with_255(
    ended: Mapping[str, tuple[str, subprocess.CompletedProcess[str]]], name: str
) -> None:
    folder, process = ended[name]
    text = "Failed to start server. Error: " + STARTS[name][1].replace("@", folder)
    assert process.returncode == 255
    assert any(line.startswith(text) for line in process.stdout.splitlines()), process.stdout


@pytest.mark.parametrize("name", ["a config file that does not parse", "an unknown field"])
def test_where_a_file_does_not_parse_standard_error_says_where(
    ended: Mapping[str, tuple[str, subprocess.CompletedProcess[str]]], name: str
) -> None:
    _, process = ended[name]
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:" in process.stderr


@pytest.fixture(scope="module")
def started(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, int, str]]:
    """A start with a model that is fine, one that is broken and one that is not there: log, ports, and answers."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(models / "plus" / "1", folder / "broken" / "1")
    spoil(folder / "broken" / "1")
    text = f"""# colons, commas and comments
    model_config_list: {{
      config: {{ name: "fine", base_path: "{models / "half"}", model_platform: "tensorflow",
        version_labels: {{ key: "stable", value: 123 }} }},
      config: {{ name: "broken", base_path: "{folder / "broken"}", model_platform: "tensorflow" }},
      config {{ name: "missing" base_path: "{folder / "missing"}" model_platform: "tensorflow" }}
    }}"""
    (folder / "models.config").write_text(text)
    # As the entry point of the image has it: the name and the base path are ignored beside a config file.
    flags = (f"--model_config_file={folder / 'models.config'}", "--model_name=model", "--model_base_path=/models/model")
    with tfs(*flags, wait_ready=False) as server:
        server.wait_listening()
        server.wait_state("broken", 1, "END")
        label = ask(server, "POST", "/v1/models/fine/labels/stable:predict", '{"inputs": 2.0}')
        yield server.log(), server.grpc_port, server.rest_port, label.body.decode()


def test_the_log_has_the_lines_that_scripts_wait_for(started: tuple[str, int, int, str]) -> None:
    log, grpc_port, rest_port, _ = started
    # Where no --host says otherwise, these are 0.0.0.0 and localhost.
    assert f"Running gRPC ModelServer at 127.0.0.1:{grpc_port} ..." in log
    assert f"Exporting HTTP/REST API at:127.0.0.1:{rest_port} ..." in log
    assert "Successfully loaded servable version {name: fine version: 123}" in log


def test_a_model_that_is_broken_or_missing_ends_no_start_which_is_better(
    started: tuple[str, int, int, str],
) -> None:
    log = started[0]
    assert "Could not find base path" in log
    assert "Failed to start server" not in log


def test_labels_of_the_first_config_take_effect_with_their_versions_which_is_better_than_a_start_refused(
    started: tuple[str, int, int, str],
) -> None:
    assert started[3] == '{\n    "outputs": 3.0\n}'


# 6.1


@lines(
    "arguments, code, text",
    {
        "a bad value for an integer": ["--port=ten", 255, "Couldn't interpret value ten for flag port."],
        "a bad value for a boolean": [
            "--enable_model_warmup=maybe",
            255,
            "Couldn't interpret value maybe for flag enable_model_warmup.",
        ],
        "--version": ["--version", 0, "TensorFlow ModelServer: "],
        "--help": ["--help", 255, "usage: "],
    },
)
def test_a_command_line_that_starts_nothing(arguments: str, code: int, text: str) -> None:
    ended = subprocess.run([TFS_COMMAND, *arguments.split()], capture_output=True, text=True, timeout=120)
    assert ended.returncode == code
    assert text in ended.stdout + ended.stderr
