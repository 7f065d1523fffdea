"""What is won by letting requests share runs?

    python benchmarks/bench_batching.py --json=result.json

The bundled digit model, one picture in a request, over gRPC or REST: the same server with batching off, with natural
batching, which is the default, and with `--enable_batching` and its defaults.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench_digits_against_fastapi import HOTSERVE
from comparison import Contestant, Settings, compare
from load import positive_float, positive_int
from measure import ServerCommand, circumstances
from report import as_json, notes, table

PACKAGES = ("hotserve", "onnxruntime", "numpy", "h2corn", "uvloop")

FLAGS = {
    "off": ("batching off", "--natural_batching=false"),
    "natural": ("natural batching", "--natural_batching=true"),
    "configured": ("--enable_batching", "--enable_batching"),
}
"""By the name that `--contestants` has for each: what the results show, and the flag."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    contestants = []
    for name in options.contestants:
        title, flag = FLAGS[name]
        server = ServerCommand(f"hotserve, {title}", (*HOTSERVE.words, flag))
        contestants.append(Contestant(f"{title}, {options.wire}", server, options.wire))
    settings = Settings(options.connections, options.rounds, options.seconds, min(2.0, options.seconds / 2), 1)
    where = circumstances(PACKAGES)
    try:
        comparison = compare(contestants, settings, lambda line: print(line, file=sys.stderr, flush=True))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    reference = contestants[0].name
    print(f"\n{table(comparison, reference)}\n\n{notes(comparison, settings, where, reference)}")
    if options.json:
        options.json.write_text(as_json(comparison, settings, where, reference), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wire", choices=["grpc", "rest"], default="grpc")
    parser.add_argument("--connections", type=positive_int, nargs="+", default=[1, 16], help="numbers of clients")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="how long each turn lasts")
    parser.add_argument("--rounds", type=positive_int, default=5, help="turns for each contestant")
    parser.add_argument("--contestants", nargs="+", choices=list(FLAGS), default=list(FLAGS))
    parser.add_argument("--json", type=Path, help="file for every single turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
