"""What do several workers bring, against the single process, over each API?

    python benchmarks/bench_workers.py --workers 1 2 --json=result.json

The bundled digit model, one picture in a request. The first number of workers is what ratios are taken against, in
turns of the same run. The load generator is one process more on the same processors: with as many workers as there are
processors it has to share them, so that requests/s tell less than the processors could do without it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comparison import Contestant, Settings, compare
from digits import MODEL_FILE
from generators import best
from load import positive_float, positive_int
from measure import ServerCommand, circumstances
from report import as_json, notes, table

PACKAGES = ("hotserve", "onnxruntime", "numpy", "uvloop", "httptools")
WIRES = {"rest": "REST", "grpc": "gRPC"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    settings = Settings(options.connections, options.rounds, options.seconds, min(2.0, options.seconds / 2), 1)
    where = circumstances(PACKAGES)
    for wire in options.wires:
        contestants = [_contestant(workers, wire) for workers in options.workers]
        try:
            comparison = compare(contestants, settings, lambda line: print(line, file=sys.stderr, flush=True))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        reference = contestants[0].name
        print(f"\n{table(comparison, reference)}\n\n{notes(comparison, settings, where, reference)}", flush=True)
        if options.json:
            text = as_json(comparison, settings, where, reference)
            options.json.with_suffix(f".{wire}.json").write_text(text, encoding="utf-8")
    return 0


def _contestant(workers: int, wire: str) -> Contestant:
    name = f"{workers} worker{'s' * (workers > 1)}"
    server = ServerCommand(
        name,
        (
            *(sys.executable, "-m", "hotserve", "serve", "--host=127.0.0.1"),
            *("--port={grpc_port}", "--rest_api_port={rest_port}", f"--workers={workers}"),
            *("--model_name=digits", f"--model_base_path={MODEL_FILE.parent.parent}"),
        ),
    )
    return Contestant(f"{name}, {WIRES[wire]}", server, wire, generator=best(wire))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=positive_int, nargs="+", default=[1, 2], help="numbers of workers")
    parser.add_argument("--wires", nargs="+", choices=list(WIRES), default=list(WIRES), help="over which APIs")
    parser.add_argument("--connections", type=positive_int, nargs="+", default=[16], help="numbers of clients")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="how long each turn lasts")
    parser.add_argument("--rounds", type=positive_int, default=5, help="turns for each contestant")
    parser.add_argument("--json", type=Path, help="FILE.rest.json and FILE.grpc.json get every single turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
