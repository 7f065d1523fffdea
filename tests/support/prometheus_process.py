"""A real Prometheus that scrapes one server, on 127.0.0.1 and in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from support.server_process import free_port, wait_until


def find_program(name: str) -> str | None:
    """The path of `prometheus` or `promtool`: on the path, or in the folder that HOTSERVE_PROMETHEUS_FOLDER names."""
    folder = os.environ.get("HOTSERVE_PROMETHEUS_FOLDER")
    return shutil.which(name, path=folder) if folder else shutil.which(name)


class PrometheusProcess:
    """A context manager; scrapes four times a second, evaluates rules each second."""

    def __init__(self, program: str, folder: Path, target: str, metrics_path: str, rules: Path) -> None:
        """Writes its configuration.

        Args:
            program: The path of `prometheus`.
            folder: Where it keeps everything.
            target: Host and port to scrape.
            metrics_path: The path of the page there.
            rules: A file with rules.
        """
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log_path = folder / "log"
        (folder / "prometheus.yml").write_text(
            json.dumps(  # which is YAML, too
                {
                    "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"},
                    "rule_files": [str(rules)],
                    "scrape_configs": [
                        {
                            "job_name": "hotserve",
                            "metrics_path": metrics_path,
                            "static_configs": [{"targets": [target]}],
                        }
                    ],
                }
            )
        )
        self._arguments = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]

    def __enter__(self) -> PrometheusProcess:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(self._arguments, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._is_ready, what="Prometheus is ready")
        return self

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log_path.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=10) as answer:
            return bool(answer.status == 200)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API.

        Raises:
            AssertionError: It is an error.
        """
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def values(self, expression: str) -> list[float]:
        """The numbers that an expression has now; those that are none are left out."""
        values = [float(sample["value"][1]) for sample in self.get("query", query=expression)["result"]]
        return [value for value in values if not math.isnan(value)]
