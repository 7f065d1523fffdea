"""Runs a fuzzer of ours on the extensions as they are built with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"


def run_sanitized(script: str, description: str | None, fuzz: Callable[[float, int], None]) -> None:
    """The program of a fuzzer: builds the extensions, and runs the fuzzer in a process that has them.

    Args:
        script: The fuzzer's file, which calls this.
        description: What it does.
        fuzz: Takes the seconds that it may run, and a seed; calls `fail` where it finds something.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--no-build", action="store_true", help="run on the extensions that are installed")
    parser.add_argument("--no-sse2", action="store_true", help="build them as for processors that do not have it")
    options = parser.parse_args()
    if options.no_build:
        fuzz(options.seconds, options.seed)
    else:
        compiled_with = f"{SANITIZERS} -DHOTSERVE_NO_SSE2" if options.no_sse2 else SANITIZERS
        sys.exit(_build_and_run(script, compiled_with, [f"--seconds={options.seconds}", f"--seed={options.seed}"]))


def fail(data: bytes, what: str) -> NoReturn:
    """Ends the fuzzer with what it has found.

    Args:
        data: The input that shows it.
        what: What is wrong.
    """
    sys.exit(f"{what}:\n{data!r}")


def is_sanitized() -> bool:
    """Whether this process watches its memory."""
    return "asan" in Path("/proc/self/maps").read_text()


def _build_and_run(script: str, compiled_with: str, arguments: list[str]) -> int:
    """Copies the sources, builds the extensions there with sanitizers, and runs the fuzzer on them."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", Path(folder, "src"), ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, folder)
        flags = {"CFLAGS": compiled_with, "LDFLAGS": SANITIZERS}
        subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            cwd=folder,
            env=os.environ | flags,
            check=True,
        )
        libraries = [
            subprocess.run(
                ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        environment = {
            "PYTHONPATH": str(Path(folder, "src")),
            "LD_PRELOAD": " ".join(libraries),
            # The interpreter keeps what it has; and what is out of memory is to be an error, not an end.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "PYTHONMALLOC": "malloc",
        }
        command = [sys.executable, script, "--no-build", *arguments]
        return subprocess.run(command, env=os.environ | environment, check=False).returncode
