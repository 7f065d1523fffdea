from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.config.monitoring_config import metrics_path
from hotserve.errors import ConfigError, NotFound
from hotserve.observability.prometheus import DEFAULT_PATH


def read(folder: Path, text: str) -> str:
    (folder / "monitoring.config").write_text(text)
    return metrics_path(str(folder / "monitoring.config"))


def test_the_page_is_at_its_usual_path_without_a_file() -> None:
    assert metrics_path("") == DEFAULT_PATH


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", DEFAULT_PATH),
        ('prometheus_config { enable: true path: "" }', DEFAULT_PATH),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ('prometheus_config { enable: false path: "/metrics" }', ""),
        ("prometheus_config {}", ""),
        ("# nothing", ""),
    ],
)
def test_a_file_says_where_the_page_is_if_anywhere(tmp_path: Path, text: str, path: str) -> None:
    assert read(tmp_path, text) == path


@pytest.mark.parametrize("path", ["metrics", "/metrics?all"])
def test_a_path_that_no_request_can_have_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="Expected one that begins with a slash"):
        read(tmp_path, f'prometheus_config {{ enable: true path: "{path}" }}')


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.config; No such file"):
        metrics_path(str(tmp_path / "none.config"))
