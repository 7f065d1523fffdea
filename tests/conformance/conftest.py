from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.contract import Answer, Client, Publish, Reloadable, client_of, config_flag, predict, tfs
from support.server_process import ServerProcess, wait_until


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the suite's SavedModels: see `export_models.py`."""
    folder = tmp_path_factory.mktemp("models")
    program = Path(__file__).with_name("export_models.py")
    subprocess.run(
        [sys.executable, program, folder], check=True, timeout=300, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    return folder


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all chapters that change nothing in it: every model, and two versions with labels of `plus`."""
    plain = [
        f"name: '{name}' base_path: '{models / name}'" for name in ("echo", "examples", "half", "odd", "pair", "tf2")
    ]
    plus = (
        f"name: 'plus' base_path: '{models / 'plus'}'"
        " model_version_policy { specific { versions: 1 versions: 2 } }"
        " version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 2 }"
        " version_labels { key: 'gone' value: 9 } version_labels { key: 'a b/c:d' value: 1 }"
    )
    entries = [f"{entry} model_platform: 'tensorflow'" for entry in (*plain, plus)]
    folder = tmp_path_factory.mktemp("config")
    with tfs(config_flag(folder, *entries), "--allow_version_labels_for_unavailable_models") as running:
        yield running


@pytest.fixture(scope="session")
def server_with_flags(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Another one, with the flags that change its answers."""
    entries = [f"name: '{name}' base_path: '{models / name}' model_platform: 'tensorflow'" for name in ("echo", "odd")]
    with tfs(
        config_flag(tmp_path_factory.mktemp("config"), *entries),
        "--rest_api_enable_cors_support",
        "--rest_api_timeout_in_ms=500",
        "--enable_serialization_as_tensor_content",
    ) as running:
        yield running


SWAPPING = frozenset({"test_labels", "test_reload", "test_states"})
"""The chapters where models come and go, which several workers have to do as one: asked of one and of two. All others
are asked of them by HOTSERVE_TEST_WORKERS=2 pytest tests/conformance."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "reloadable" in metafunc.fixturenames:
        swaps = metafunc.module.__name__.rpartition(".")[2] in SWAPPING
        workers = [pytest.param(1, id="1 worker"), pytest.param(2, id="2 workers")][: 1 + swaps]
        metafunc.parametrize("reloadable", workers, indirect=True, scope="session")


@pytest.fixture(scope="session")
def reloadable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloadable]:
    """A server that starts without models: its config file has a comment and nothing else."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text("# no models yet\n")
    flags = (
        *(f"--model_config_file={file}", "--file_system_poll_wait_seconds=0.1"),
        *([f"--workers={request.param}"] if request.param > 1 else []),
    )
    with tfs(*flags) as running, client_of(running) as connected:
        yield Reloadable(running, connected)


@pytest.fixture
def publish(models: Path, tmp_path: Path) -> Publish:
    """Makes base paths of the test's own."""

    def put(model: str, versions: Mapping[str, int], more: str = "") -> str:
        base_path = tmp_path / model
        base_path.mkdir(exist_ok=True)
        for name, version in versions.items():
            shutil.copytree(models / "plus" / str(version), base_path / name)
        return f"name: '{model}' base_path: '{base_path}' model_platform: 'tensorflow' {more}"

    return put


@pytest.fixture(scope="session")
def late(server_with_flags: ServerProcess) -> Answer:
    """What answers an inference that takes longer than it may; asked for once, because it goes on for a while."""
    answer = predict(server_with_flags, "odd", "slow", '"inputs": 200000')
    quick = "the server has time for others again"
    wait_until(lambda: predict(server_with_flags, "odd", "slow", '"inputs": 1').status == 200, what=quick)
    return answer


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[Client]:
    with client_of(server) as connected:
        yield connected
