from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hotserve.platforms.engines.steps import follow, silent, step_of, telling

LONG = 300.0

Told = list[tuple[str, float]]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, written = os.pipe()
    os.set_blocking(read, False)
    yield read, written
    os.close(read)
    os.close(written)


def process(program: str, written: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(written)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, pass_fds=(written,))


PROGRAM = """
import os, sys, time
os.write(int(sys.argv[1]), b"0.000 looking at the graph\\n")
sys.stderr.write("x" * 200_000)
sys.stderr.flush()
os.write(int(sys.argv[1]), "0.500 timing é\\n".encode())
"""


def test_what_a_process_tells_is_passed_on_until_it_ends(pipe: tuple[int, int]) -> None:
    read, written = pipe
    told: Told = []
    child = process(PROGRAM + "while True: time.sleep(0.01)", written)

    def progress(step: str, done: float) -> None:
        told.append((step, done))
        if step == "timing é":
            child.kill()

    assert follow(child, LONG, read, progress) == "x" * 200_000
    assert told[-1] == ("timing é", 0.5)
    assert {step for step, _ in told} <= {"starting", "looking at the graph", "timing é"}


def test_a_process_that_tells_nothing_is_waited_for(pipe: tuple[int, int]) -> None:
    assert follow(process("import sys, time; time.sleep(0.5); sys.exit('done')", pipe[1]), LONG, pipe[0], silent) == (
        "done\n"
    )


def test_a_process_that_takes_too_long_is_left_to_the_caller(pipe: tuple[int, int]) -> None:
    child = process("while True: pass", pipe[1])
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            follow(child, 0.3, pipe[0], silent)
    finally:
        child.kill()
        child.communicate()


def test_each_step_is_a_line_with_the_part_that_is_done(pipe: tuple[int, int]) -> None:
    read, written = pipe
    progress = telling(written)
    progress("looking at\nthe graph", 0)
    step_of(progress, 0.5)("timing é")
    assert os.read(read, 1000).decode() == "0.000 looking at the graph\n0.500 timing é\n"


def test_who_tells_goes_on_where_nobody_listens() -> None:
    read, written = os.pipe()
    os.close(read)
    telling(written)("converting", 0.1)
    os.close(written)
    telling(written)("converting", 0.1)


def test_a_step_has_the_part_that_it_begins_with() -> None:
    told: Told = []
    step_of(lambda step, done: told.append((step, done)), 0.25)("timing")
    assert told == [("timing", 0.25)]
