from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from hotserve import spared_processor
from hotserve.spared_processor import SparedProcessor, native_ids
from support.server_process import wait_until

PATIENCE = 30.0

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="threads are bound to processors on Linux only"
)

ENGINE = """
import os, sys, threading
from hotserve.platforms.onnx import onnxruntime, session_options
from hotserve import spared_processor
from hotserve.spared_processor import SparedProcessor, native_ids

spared, before = SparedProcessor(lambda: True), native_ids()
options = session_options(0, intra_op_threads=3)
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
threads = native_ids() - before
assert len(threads) == 2, threads
everything = os.sched_getaffinity(0)
rest = everything - {min(everything)}
bystander = threading.Event()
python = threading.Thread(target=bystander.wait)
python.start()
spared.leave(threading.get_native_id())
assert {frozenset(os.sched_getaffinity(each)) for each in threads} == {frozenset(rest)}
assert os.sched_getaffinity(python.native_id) == everything
spared.take_back(threading.get_native_id())
assert {frozenset(os.sched_getaffinity(each)) for each in threads} == {frozenset(everything)}
bystander.set()
"""


class Task(threading.Thread):
    """A thread that lives as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self.start()
        assert self.native_id is not None
        self.number = self.native_id

    def run(self) -> None:
        assert self.may_end.wait(PATIENCE)

    @property
    def processors(self) -> set[int]:
        return os.sched_getaffinity(self.number)


@pytest.fixture
def spared() -> SparedProcessor:
    return SparedProcessor(lambda: True)


@pytest.fixture
def tasks() -> Iterator[tuple[Task, Task]]:
    tasks = (Task(), Task())
    yield tasks
    for task in tasks:
        task.may_end.set()
        task.join(PATIENCE)


@pytest.fixture
def task(tasks: tuple[Task, Task]) -> Task:
    return tasks[0]


@pytest.fixture
def everything() -> set[int]:
    return os.sched_getaffinity(0)


def test_a_task_leaves_one_processor_alone_until_it_takes_it_back(
    spared: SparedProcessor, task: Task, everything: set[int]
) -> None:
    assert task.processors == everything
    spared.leave(task.number)
    assert task.processors == everything - {min(everything)}
    assert os.sched_getaffinity(0) == everything
    spared.take_back(task.number)
    assert task.processors == everything


def test_the_processor_is_left_alone_until_the_last_task_has_ended(
    spared: SparedProcessor, tasks: tuple[Task, Task], everything: set[int]
) -> None:
    for task in tasks:
        spared.leave(task.number)
    rest = everything - {min(everything)}
    assert [task.processors for task in tasks] == [rest, rest]
    spared.take_back(tasks[0].number)
    assert [task.processors for task in tasks] == [rest, rest]
    spared.take_back(tasks[1].number)
    assert [task.processors for task in tasks] == [everything, everything]


def test_nothing_is_taken_back_from_a_task_that_has_left_nothing(
    spared: SparedProcessor, task: Task, everything: set[int]
) -> None:
    own = everything - {min(everything)}
    os.sched_setaffinity(task.number, own)
    spared.take_back(task.number)
    assert task.processors == own


def test_a_thread_that_is_bound_in_another_way_stays_so(
    spared: SparedProcessor, task: Task, everything: set[int]
) -> None:
    own = {min(everything)}
    os.sched_setaffinity(task.number, own)
    spared.leave(task.number)
    assert task.processors == own
    spared.take_back(task.number)
    assert task.processors == own


def test_the_threads_of_an_engine_do_as_the_task_does_and_those_of_python_do_not(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    done = subprocess.run([sys.executable, "-c", ENGINE, str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_who_has_ended_is_passed_over(spared: SparedProcessor) -> None:
    task = Task()
    task.may_end.set()
    task.join(PATIENCE)
    wait_until(lambda: task.number not in native_ids(), what="the thread to be gone")
    spared.leave(task.number)
    spared.take_back(task.number)


def test_with_one_processor_none_is_left_alone(spared: SparedProcessor, task: Task, everything: set[int]) -> None:
    os.sched_setaffinity(0, {min(everything)})
    try:
        spared.leave(task.number)
        assert task.processors == everything
    finally:
        os.sched_setaffinity(0, everything)


def test_a_sandbox_that_forbids_it_changes_nothing(
    spared: SparedProcessor,
    task: Task,
    everything: set[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def forbidden(native_id: int, processors: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    with caplog.at_level(logging.DEBUG):
        spared.leave(task.number)
        spared.take_back(task.number)
    assert task.processors == everything
    assert "Operation not permitted" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_without_a_list_of_threads_only_the_task_leaves_the_processor_alone(
    spared: SparedProcessor, task: Task, everything: set[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spared_processor, "_TASKS", tmp_path / "no-proc")
    assert native_ids() == frozenset()
    spared.leave(task.number)
    assert task.processors == everything - {min(everything)}
    spared.take_back(task.number)
