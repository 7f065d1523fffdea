"""Where the peers are installed: an environment for each, because what they require clashes."""

from __future__ import annotations

import compileall
import json
import shutil
import subprocess
import sys
import venv
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache import cache_folder
from peer_servers import PEERS, Peer

import hotserve

_DONE = "installed"
"""A file that says that an environment is complete."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What is in an environment.

    Attributes:
        versions: Package -> version, of those that matter.
        megabytes: Size of all packages, without pip and what compiles by itself, in millions of bytes.
    """

    versions: Mapping[str, str]
    megabytes: float


def environment(peer: Peer, say: Callable[[str], None]) -> Path:
    """The interpreter of a peer's environment, which is made if it is not there yet.

    Its application is compiled to bytecode, as pip compiles what it installs: a start should not tell of the compiler.

    Args:
        peer: Which; one without requirements runs where this program runs.
        say: Told what is going on, a line at a time.

    Raises:
        RuntimeError: pip cannot install what it requires.
    """
    compileall.compile_dir(PEERS, quiet=1)
    if not peer.requirements.exists():
        compileall.compile_dir(Path(hotserve.__file__).parent, quiet=1)
        return Path(sys.executable)
    requirements = peer.requirements.read_bytes()
    name = peer.requirements.stem.removeprefix("requirements-")
    folder = cache_folder("environments", f"{name}-{zlib.crc32(requirements):08x}")
    python = folder / "bin" / "python"
    if not (folder / _DONE).exists():
        say(f"installing {peer.title} in {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        words = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(peer.requirements)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{peer.title} cannot be installed: {done.stderr}")
        (folder / _DONE).touch()
    return python


def installed(python: Path, packages: Sequence[str], only_with: str = "") -> Installed:
    """Looks into an environment.

    Args:
        python: Its interpreter.
        packages: Those whose versions matter.
        only_with: What does not come with this package does not count.
    """
    words = [str(python), str(PEERS / "installed.py"), f"--only-with={only_with}", *packages]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return Installed(found["versions"], found["bytes"] / 1e6)
