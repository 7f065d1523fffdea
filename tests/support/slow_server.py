"""A program that embeds a server whose model is slow, for tests of signals: `slow_server.py load|run PORT`.

`load`: the model's load never ends. `run`: each run takes as many seconds as its input says.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hotserve import AspiredTarget, AspiredVersion, ModelConfig, ServableId, Server, ServerOptions
from hotserve.cli.serve import run_until_signal
from hotserve.core.servable import Servable
from hotserve.observability.logs import configure_logging
from hotserve.server.assemble import SourceThread
from hotserve.sources.static import StaticSource
from hotserve.tensors import Array
from hotserve.testing import FakeServable

PATH = Path("/models/slow")


class SlowServable(FakeServable):
    """Takes as many seconds as its input says."""

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        print("running", flush=True)
        time.sleep(float(inputs["x"][0]))
        return super().run(signature_name, inputs, outputs)


class SlowLoader:
    """Never finishes, if it was told so."""

    def __init__(self, hangs: bool) -> None:
        self._hangs = hangs

    def load(self, path: Path) -> Servable:
        print("loading", flush=True)
        if self._hangs:
            threading.Event().wait()
        return SlowServable(path)


def source(target: AspiredTarget, models: object) -> SourceThread:
    return StaticSource(target, {"slow": [AspiredVersion(ServableId("slow", 1), PATH / "1")]})


def main(mode: str, port: str) -> int:
    configure_logging()
    options = ServerOptions(host="127.0.0.1", port=0, rest_api_port=int(port))
    server = Server(
        options,
        models=[ModelConfig("slow", PATH)],
        source=source,
        loader=lambda model: SlowLoader(hangs=mode == "load"),
    )
    return run_until_signal(server, lambda: print("ready", flush=True))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
