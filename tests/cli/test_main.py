from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest

import hotserve
from hotserve.cli import serve
from hotserve.cli.main import main
from hotserve.config.flags import FLAGS
from support.embedded import write_table
from support.server_process import COMMAND, TFS_COMMAND, ServerProcess, free_port

FAILURE = "Failed to start server. Error: "


RunHere = Callable[..., tuple[int, str]]


def run(*words: str, command: Sequence[str]) -> tuple[int, str]:
    """The exit code of a command that ends by itself, and its standard output."""
    ended = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.returncode, ended.stdout


@pytest.fixture
def run_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunHere:
    """Runs `hotserve` as `run` does, but in this process: what is asked here does not get as far as to serve."""
    monkeypatch.setattr(serve, "configure_logging", lambda: None)  # it is for the whole process

    def call(*words: str) -> tuple[int, str]:
        code = main(words)
        return code, capsys.readouterr().out

    return call


def test_a_config_file_that_cannot_be_read_is_told_on_both_outputs_as_scripts_expect(tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text("improper")
    words = [TFS_COMMAND, f"--model_config_file={tmp_path / 'models.config'}"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 255
    assert ended.stdout.startswith(f"{FAILURE}INVALID_ARGUMENT: Invalid protobuf file: ")
    assert ended.stderr.startswith("Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1: ")


# Version and help.


@pytest.mark.parametrize("words", [["--version"], ["serve", "--version"], ["--port=1", "--version"], ["--version=1"]])
def test_the_version_is_one_line(run_here: RunHere, words: list[str]) -> None:
    assert run_here(*words) == (0, f"hotserve {hotserve.__version__}\n")


def test_the_original_command_tells_both_versions_that_scripts_look_for() -> None:
    code, output = run("--version", command=[TFS_COMMAND])
    assert code == 0
    assert output.splitlines() == [
        f"TensorFlow ModelServer: hotserve {hotserve.__version__}",
        f"TensorFlow Library: {installed_version('tensorflow')}",
    ]


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["serve", "--help"], ["--port=1", "--help"]])
def test_help_lists_commands_and_flags(run_here: RunHere, words: list[str]) -> None:
    code, output = run_here(*words)
    assert code == 0
    assert output.startswith("usage: hotserve COMMAND [--flag=value ...]\n")
    assert "\n  serve " in output
    assert "\n  demo " in output
    assert all(f"--{flag.name}=" in output for flag in FLAGS)


@pytest.mark.parametrize("words", [["--help"], ["--port=1", "--help"]])
def test_help_of_the_original_command_has_its_exit_code_and_its_default_of_no_rest_port(words: list[str]) -> None:
    code, output = run(*words, command=[TFS_COMMAND])
    assert code == 255
    assert output.startswith("usage: tensorflow_model_server [--flag=value ...]\n")
    assert "TCP port for REST; 0 turns it off (default: 0)" in output


def test_no_command_at_all_shows_the_help_and_fails() -> None:
    code, output = run(command=[COMMAND])
    assert code == 255
    assert output.startswith("usage: hotserve COMMAND")


def test_the_package_runs_as_a_module() -> None:
    assert run("--version", command=[sys.executable, "-m", "hotserve"]) == (0, f"hotserve {hotserve.__version__}\n")


# Starts that fail: one line that says why on standard output, and the exit code of the original.


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["sevre"], "unknown command: sevre. Did you mean serve? Commands: serve, demo"),
        (["-port=1"], "unknown command: -port=1. Commands: serve, demo"),
        (
            ["serve", "--model_base_pth=/models/m"],
            "INVALID_ARGUMENT: unknown argument: --model_base_pth=/models/m. There is no flag --model_base_pth. Did you"
            " mean --model_base_path?",
        ),
        (["--zzz"], "INVALID_ARGUMENT: unknown argument: --zzz. There is no flag --zzz. See --help for all flags."),
        (["serve", "models"], "INVALID_ARGUMENT: unknown argument: models. Expected flags such as --model_base_path="),
        (
            ["serve", "--port=eight"],
            "INVALID_ARGUMENT: Couldn't interpret value eight for flag port. Expected a whole number.",
        ),
        (["serve", "--port=70000"], "INVALID_ARGUMENT: --port=70000: expected a number from 0 to 65535."),
        (
            ["serve"],
            "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty! Name"
            " a model: --model_base_path=PATH",
        ),
        (["--port=0", "--rest_api_port=0"], "INVALID_ARGUMENT: Both server_options.model_base_path and"),
        (
            ["--port=0", "--rest_api_port=0", "--model_base_path=m"],
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or server_options.grpc_socket_path must be set",
        ),
        (
            ["--model_name=m", "--model_base_path=s3://bucket/m"],
            "INVALID_ARGUMENT: Expected model m to have a local base_path; got base_path()=s3://bucket/m.",
        ),
        (["--use_alts_credentials", "--model_base_path=m"], "INVALID_ARGUMENT: --use_alts_credentials: ALTS is not"),
        (["--host=no.such.host.invalid", "--model_base_path=m"], "INVALID_ARGUMENT: --host=no.such.host.invalid: no"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_the_exit_code_of_the_original(
    run_here: RunHere, words: list[str], text: str
) -> None:
    code, output = run_here(*words)
    assert code == 255
    assert output.startswith(FAILURE + text)
    assert output.count("\n") == 1


def test_both_ports_alike_are_refused(run_here: RunHere) -> None:
    port = free_port()
    code, output = run_here("serve", f"--port={port}", f"--rest_api_port={port}", "--model_base_path=/models/m")
    assert (code, output) == (
        255,
        f"{FAILURE}INVALID_ARGUMENT: --port and --rest_api_port are both {port}. Give each a port of its own.\n",
    )


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_in_use_is_named_with_its_flag(run_here: RunHere, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "rest_api_port" if flag == "port" else "port"
        code, output = run_here(
            "--host=127.0.0.1", f"--{flag}={port}", f"--{other}={free_port()}", "--model_base_path=m"
        )
    assert (code, output) == (
        255,
        f"{FAILURE}INVALID_ARGUMENT: Port {port} is in use. Choose another with --{flag}, or stop the program that"
        " listens on it.\n",
    )


def test_a_config_file_that_is_not_there_is_named(run_here: RunHere, tmp_path: Path) -> None:
    code, output = run_here(f"--model_config_file={tmp_path / 'models.config'}")
    assert code == 255
    assert output.startswith(f"{FAILURE}NOT_FOUND: {tmp_path / 'models.config'}; No such file or directory")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            'model_config_list {\n  config { name: "m" base_pth: "/models/m" }\n}\n',
            "INVALID_ARGUMENT: Invalid protobuf file: '{file}'. Error parsing text-format"
            ' tensorflow.serving.ModelServerConfig: 2:22: Message type "tensorflow.serving.ModelConfig" has no field'
            ' named "base_pth". Did you mean "base_path"?',
        ),
        (
            'model_config_list {\n  config {\n    name: "m"\n',
            "INVALID_ARGUMENT: Invalid protobuf file: '{file}'. Error parsing text-format"
            " tensorflow.serving.ModelServerConfig: 3:",
        ),
        ("", "INVALID_ARGUMENT: {file}; Invalid argument. The file is empty"),
        (
            'model_config_list { config { name: "m" base_path: "a" } config { name: "m" base_path: "b" } }',
            "INVALID_ARGUMENT: Illegal to list model m multiple times in config list",
        ),
        (
            'model_config_list { config { name: "m" base_path: "s3://bucket/m" } }',
            "INVALID_ARGUMENT: Expected model m to have a local base_path; got base_path()=s3://bucket/m.",
        ),
    ],
)
def test_a_wrong_config_file_is_told_by_file_line_and_column(
    run_here: RunHere, tmp_path: Path, text: str, error: str
) -> None:
    file = tmp_path / "models.config"
    file.write_text(text)
    code, output = run_here("--model_config_file", str(file))
    assert code == 255
    assert output.startswith(FAILURE + error.format(file=file))


# Starts that succeed.


def test_a_relative_base_path_is_one_of_the_working_directory(tmp_path: Path) -> None:
    write_table(tmp_path / "words" / "1", one="eins")
    with ServerProcess("--model_name=words", "--model_base_path=words", cwd=tmp_path) as server:
        assert server.post("/v1/models/words:predict", {"instances": ["one"]}) == (200, {"predictions": ["eins"]})


def test_flags_alone_mean_serve_and_a_model_without_a_name_is_called_default(tmp_path: Path) -> None:
    write_table(tmp_path / "1", one="eins")
    with ServerProcess(f"--model_base_path={tmp_path}", command=[COMMAND]) as server:
        assert server.post("/v1/models/default:predict", {"instances": ["one"]})[0] == 200


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which ports a process listens on")
def test_the_original_command_serves_grpc_only_unless_told_otherwise(tmp_path: Path) -> None:
    write_table(tmp_path / "1", one="eins")
    port = free_port()
    words = [TFS_COMMAND, "--host=127.0.0.1", f"--port={port}", f"--model_base_path={tmp_path}"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "Running gRPC ModelServer at" in line:
                break
        assert f"Running gRPC ModelServer at 127.0.0.1:{port} ..." in lines[-1]
        assert listening_ports(process.pid) == {port}
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stderr.close()
    assert not any("HTTP/REST" in line for line in lines)


def test_the_original_command_starts_in_spite_of_what_is_no_flag(tmp_path: Path) -> None:
    write_table(tmp_path / "1", one="eins")
    flags = [f"--model_base_path={tmp_path}", "--model_version_policy=all", "stray"]
    with ServerProcess(*flags, command=[TFS_COMMAND]) as server:
        log = server.log()
    for word in ("--model_version_policy=all", "stray"):
        words = f"Passed over, as TensorFlow Serving does (hotserve serve refuses it): unknown argument: {word}. "
        assert words in log


def test_the_original_command_ends_where_a_value_cannot_be_read() -> None:
    code, output = run("--model_base_path=m", "--port=eight", command=[TFS_COMMAND])
    assert code == 255
    assert output.startswith(f"{FAILURE}INVALID_ARGUMENT: Couldn't interpret value eight for flag port.")


def listening_ports(pid: int) -> set[int]:
    """The TCP ports that a process listens on."""
    sockets = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        if target.startswith("socket:["):
            sockets.add(target[len("socket:[") : -1])
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def test_the_demo_serves_its_model_and_prints_a_request_that_works() -> None:
    with ServerProcess(command=[COMMAND, "demo"]) as server:
        log = server.log()
        (line,) = [line for line in log.splitlines() if line.startswith("curl ")]
        assert line.endswith(f"'http://127.0.0.1:{server.rest_port}/v1/models/digits:predict'")
        body = json.loads(line.split("'")[1])
        status, document = server.post("/v1/models/digits:predict", body)
        assert status == 200
        (probabilities,) = document["predictions"]
        assert max(range(10), key=probabilities.__getitem__) == 7


@pytest.mark.parametrize(("given", "found"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_numpy_starts_no_threads_for_a_server_unless_it_is_told_to(given: dict[str, str], found: str) -> None:
    program = (
        "import os, sys; from hotserve.cli.main import main; assert 'numpy' not in sys.modules\n"
        "assert main() == 255; assert 'numpy' in sys.modules; print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | given
    words = [sys.executable, "-c", program, "serve"]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert ended.stdout.splitlines()[-1] == found
