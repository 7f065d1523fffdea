from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hotserve import demo
from support.server_process import ServerProcess, wait_until

TUTORIAL = Path(__file__).resolve().parents[2] / "examples" / "mnist"
LINES = [f"True Value: {digit}, Predicted Value: {digit}" for digit in (7, 2, 1, 0)]

pytestmark = pytest.mark.slow


def run(program: str, *arguments: str, folder: Path) -> str:
    """What a program of the tutorial prints; it must end well."""
    done = subprocess.run(
        [sys.executable, str(TUTORIAL / program), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_reader_trains_serves_predicts_trains_again_and_sees_the_new_version_go_live(tmp_path: Path) -> None:
    digits = demo.sample()
    data = tmp_path / "mnist.npz"
    # Two hundred digits, many epochs: enough to learn the four that are asked for.
    np.savez(data, x_train=digits.images, y_train=digits.labels, x_test=digits.images[:50], y_test=digits.labels[:50])
    train = ("--data", str(data), "--epochs", "40", "--batch_size", "25", "--seed", "1")
    assert "Test accuracy" in run("model.py", *train, folder=tmp_path)
    (first,) = (int(folder.name) for folder in (tmp_path / "img_classifier").iterdir())

    with ServerProcess("--model_name=img_classifier", "--model_base_path=./img_classifier", cwd=tmp_path) as server:
        rest = run("predict.py", "--host=127.0.0.1", f"--port={server.rest_port}", folder=tmp_path)
        assert [line for line in rest.splitlines() if line.startswith("True Value")] == LINES
        assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")

        grpc = run("predict_grpc.py", "--host=127.0.0.1", f"--port={server.grpc_port}", folder=tmp_path)
        assert [line for line in grpc.splitlines() if line.startswith("True Value")] == LINES

        run("model.py", "--data", str(data), "--epochs", "1", folder=tmp_path)
        (second,) = {int(folder.name) for folder in (tmp_path / "img_classifier").iterdir()} - {first}
        assert second > first
        wait_until(
            lambda: server.states("img_classifier") == {first: "END", second: "AVAILABLE"},
            what="the second version has taken over by itself",
        )
