from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# Tests that use ONNX Runtime directly report to nobody either: see hotserve/platforms/onnx.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Tests start hundreds of programs, which would each compile the whole package anew: a third of their processor time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No test here fails for being slow: the machine that runs it may be busy with something else. And the same examples
# are tried in every run, so that a failure belongs to the change that it came with. To look for new ones:
# HYPOTHESIS_PROFILE=explore make tests
settings.register_profile("hotserve", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hotserve"))

TESTS = Path(__file__).parent

LONG = ("conformance", "platforms", "benchmarks", "end_to_end")
"""The folders that take the most time, and so begin: what is left for the end is short."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist's types are not looked at
    """Where several processes run the tests (`pytest -n 2`), each takes a whole file at a time.

    A folder with fixtures of its own is taken as a whole: most of those are models and servers, made once a process.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).relative_to(TESTS.name)
        shared = [folder for folder in file.parents if folder != Path() and (TESTS / folder / "conftest.py").exists()]
        return str(shared[-1] if shared else file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    config.option.loadscopereorder = False  # by how many tests there are, which says little of how long they take
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {folder: place for place, folder in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(TESTS).parts[0], len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    # What a test has logged may be no text, such as a file's name; xdist cannot send that from process to process.
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report
