from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hotserve.processors import CPUS_VARIABLE, cpu_quota, usable_cpus


def test_there_is_a_processor() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")
def test_a_process_that_is_pinned_counts_only_the_processors_that_it_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be pinned here")
def test_a_thread_that_leaves_some_alone_counts_those_of_the_process() -> None:
    counts = [usable_cpus()]

    def count() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        counts.append(usable_cpus())

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    assert counts[1] == counts[0]


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("own", "limits", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/pod/box\n", {"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/elsewhere\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (
            "4:cpu,cpuacct:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3.0,
        ),
        ("1:cpu:/box\n", {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"}, None),
        ("1:memory:/\n", {}, None),
        ("no such line", {"cpu.max": "50000 100000\n"}, None),
        ("0::/\n", {"cpu.max": "what is this\n"}, None),
    ],
)
def test_control_groups_limit_the_processors_time(
    tmp_path: Path, own: str, limits: dict[str, str], quota: float | None
) -> None:
    write(tmp_path / "own", own)
    for name, text in limits.items():
        write(tmp_path / "groups" / name, text)
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") == quota


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path / "none either") is None


def test_one_of_several_workers_counts_on_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CPUS_VARIABLE, "3")
    assert usable_cpus() == 3


@pytest.mark.parametrize("text", ["", "0", "-1", "all"])
def test_a_share_that_is_no_number_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = usable_cpus()
    monkeypatch.setenv(CPUS_VARIABLE, text)
    assert usable_cpus() == expected
