"""A server whose loads are held up, refused or ended by files, so that a test says what each worker process does.

Of a version in `MODELS/NAME/NUMBER` the files are in `MODELS/control/NAME-NUMBER`. A process that loads it first
appends its number to `loads`. It waits while there is `hold`; then it ends itself if there is `die`, and fails if there
is `refuse`, with the text of that file. A name with `-PROCESS` behind it is for that process alone. Where the
environment has `WORKERS_END`, no worker gets as far as that.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hotserve import AspiredTarget, ModelConfig, Server
from hotserve.cli.serve import run_until_signal
from hotserve.config.flags import parse_flags
from hotserve.core.loader import Loader
from hotserve.core.servable import Servable
from hotserve.errors import InvalidArgument
from hotserve.observability.logs import configure_logging
from hotserve.server.assemble import SourceThread
from hotserve.sources.folder import WatchedModel
from hotserve.sources.local import LocalStorage
from hotserve.sources.poller import Poller
from hotserve.tensors import Array
from hotserve.testing import FakeServable

PROGRAM = (sys.executable, "-c", "import sys; from support.controlled_loader import main; sys.exit(main())")
"""The command; takes the flags of `hotserve serve`."""

SLOW = 1000.0
"""From that number on an input is how many milliseconds its run takes."""


class ControlledServable(FakeServable):
    """Adds its version's number, as `FakeServable`; slowly where the input says so."""

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        longest = max(inputs["x"].ravel().tolist(), default=0.0)
        if longest >= SLOW:
            time.sleep(longest / 1000)
        return super().run(signature_name, inputs, outputs)


class ControlledLoader:
    """See the module."""

    def load(self, path: Path) -> Servable:
        control = control_folder(path)
        control.mkdir(parents=True, exist_ok=True)
        with (control / "loads").open("a") as file:
            file.write(f"{os.getpid()}\n")
        while _find(control, "hold"):
            time.sleep(0.005)
        if _find(control, "die"):
            os.kill(os.getpid(), signal.SIGKILL)
        refusal = _find(control, "refuse")
        if refusal is not None:
            raise InvalidArgument(refusal.read_text())
        return ControlledServable(path)


def control_folder(version: Path) -> Path:
    """Where the files for a version folder are."""
    return version.parent.parent / "control" / f"{version.parent.name}-{version.name}"


def loads_of(version: Path) -> list[int]:
    """The processes that have begun to load a version, in order."""
    file = control_folder(version) / "loads"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def make_loader(model: ModelConfig) -> Loader:
    """What workers import."""
    return ControlledLoader()


if "WORKERS_END" in os.environ and "hotserve.server.worker" in sys.orig_argv:
    os._exit(3)


def main() -> int:
    """The program."""
    configure_logging()
    options = parse_flags(sys.argv[1:]).options

    def source(target: AspiredTarget, models: Sequence[ModelConfig]) -> SourceThread:
        watched = [WatchedModel(model.name, model.base_path, model.version_policy) for model in models]
        # Whatever is there counts as old, so that it is loaded at the first look.
        return Poller(watched, target, LocalStorage(), lambda path, platform: None, 0.02, lambda: time.time() + 3600)

    return run_until_signal(Server(options, source=source, loader=make_loader))


def _find(control: Path, what: str) -> Path | None:
    return next((file for file in (control / what, control / f"{what}-{os.getpid()}") if file.exists()), None)
