from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotserve.child_python import end_with_parent, module_command, module_environment


def test_a_module_is_run_with_the_path_of_this_process_and_without_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text("raise ImportError('not this one')")
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "program_of_the_test.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "added"), *sys.path])
    command = module_command("program_of_the_test", "a", "b c")
    ended = subprocess.run(command, env=module_environment(), capture_output=True, text=True, check=True)
    assert ended.stdout == '["a", "b c"]\n'


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot do it")
def test_a_program_whose_parent_ended_before_it_could_ask_ends_by_itself() -> None:
    program = f"from hotserve.child_python import {end_with_parent.__name__} as end; end(); print('goes on')"
    environment = dict(module_environment())
    as_ever = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert as_ever.stdout == "goes on\n"
    environment["HOTSERVE_PARENT"] = str(os.getppid())  # which started the one that has started it
    indirect = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert indirect.stdout == "goes on\n"
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    environment["HOTSERVE_PARENT"] = str(ended.pid)
    late = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (late.returncode, late.stdout) == (1, "")
