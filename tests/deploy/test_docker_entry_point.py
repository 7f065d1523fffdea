from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotserve.demo import MODEL_BASE_PATH, sample
from support.server_process import ServerProcess

ENTRY_POINT = Path(__file__).parents[2] / "deploy" / "docker" / "tf_serving_entrypoint.sh"

# Tells its own process id and its arguments, each ended by a zero byte: no argument can hold one.
STUB = """#!/bin/sh
printf '%s\\0' "$$" "$@"
exit 7
"""


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A folder with a `tensorflow_model_server` that only tells how it was called."""
    command = tmp_path / "bin" / "tensorflow_model_server"
    command.parent.mkdir()
    command.write_text(STUB)
    command.chmod(0o755)
    return command.parent


def called(stub: Path, *arguments: str, **environment: str) -> list[str]:
    """The arguments that the entry point gives to the server."""
    process = subprocess.Popen(
        ["sh", str(ENTRY_POINT), *arguments],
        env={"PATH": f"{stub}:{os.environ['PATH']}", **environment},
        stdout=subprocess.PIPE,
    )
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 7, "the exit code is not the server's"
    pid, *words, rest = output.decode().split("\0")
    assert int(pid) == process.pid, "the server is a child of the script; signals to the script would not reach it"
    assert rest == ""
    return words


@pytest.mark.parametrize(
    ("environment", "model_name", "model_base_path"),
    [
        ({}, "model", "/models/model"),
        ({"MODEL_NAME": "resnet"}, "resnet", "/models/resnet"),
        ({"MODEL_BASE_PATH": "/srv"}, "model", "/srv/model"),
        ({"MODEL_NAME": "two words", "MODEL_BASE_PATH": "/my models"}, "two words", "/my models/two words"),
        ({"MODEL_NAME": "*", "MODEL_BASE_PATH": "/$HOME"}, "*", "/$HOME/*"),
        ({"MODEL_NAME": "", "MODEL_BASE_PATH": ""}, "model", "/models/model"),
    ],
)
def test_the_server_gets_the_ports_and_the_model_that_the_variables_name(
    stub: Path, environment: dict[str, str], model_name: str, model_base_path: str
) -> None:
    assert called(stub, **environment) == [
        "--port=8500",
        "--rest_api_port=8501",
        f"--model_name={model_name}",
        f"--model_base_path={model_base_path}",
    ]


def test_the_arguments_of_the_container_come_last_and_as_they_are(stub: Path) -> None:
    extra = ["--rest_api_port=9000", "--model_name=two words", "", "*", "$HOME", "'\"", "a\nb"]

    assert called(stub, *extra)[4:] == extra


def test_the_real_server_serves_the_model_until_a_signal_and_then_exits_with_0() -> None:
    commands = Path(sys.executable).parent
    environment = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "MODEL_NAME": MODEL_BASE_PATH.name,
        "MODEL_BASE_PATH": str(MODEL_BASE_PATH.parent),
    }
    digits = sample()
    # The flags that ServerProcess adds, host and ports, stand where the container's arguments do.
    with ServerProcess(command=("sh", str(ENTRY_POINT)), environment=environment) as server:
        image = (digits.images[0] / 255).reshape(28, 28, 1)
        status, answer = server.post(f"/v1/models/{MODEL_BASE_PATH.name}:predict", {"instances": [image.tolist()]})
        exit_code = server.stop()

    assert status == 200
    (probabilities,) = answer["predictions"]
    assert probabilities.index(max(probabilities)) == digits.labels[0]
    assert exit_code == 0, server.log()
