"""How does hotserve compare with a FastAPI application that runs the same model in ONNX Runtime?

    python benchmarks/bench_digits_against_fastapi.py --json=result.json

The bundled digit model, one picture in a request, one process each, with the same threads for ONNX Runtime. The
FastAPI application has two routes (see peers/fastapi_app.py); the faster one is what ratios are taken against.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comparison import Contestant, Settings, compare
from digits import INTRA_OP_THREADS, MODEL_FILE
from load import positive_float, positive_int
from measure import ServerCommand, circumstances
from report import as_json, notes, table

PEERS = Path(__file__).parent / "peers"
PACKAGES = ("hotserve", "onnxruntime", "numpy", "h2corn", "uvloop", "fastapi", "pydantic", "uvicorn", "httptools")

HOTSERVE = ServerCommand(
    "hotserve",
    (
        *(sys.executable, "-m", "hotserve", "serve", "--host=127.0.0.1"),
        *("--port={grpc_port}", "--rest_api_port={rest_port}"),
        *("--model_name=digits", f"--model_base_path={MODEL_FILE.parent.parent}"),
    ),
)
FASTAPI = ServerCommand(
    "FastAPI",
    (
        *(sys.executable, "-m", "uvicorn", "fastapi_app:app", f"--app-dir={PEERS}"),
        *("--host=127.0.0.1", "--port={rest_port}"),
        *("--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"),
    ),
    environment={"MODEL_FILE": str(MODEL_FILE), "INTRA_OP_THREADS": str(INTRA_OP_THREADS)},
)

CONTESTANTS = {
    "fastapi-plain": Contestant("FastAPI, REST, plain JSON", FASTAPI, "rest", "/predict/plain"),
    "fastapi-typed": Contestant("FastAPI, REST, pydantic", FASTAPI, "rest", "/predict/typed"),
    "rest": Contestant("hotserve, REST", HOTSERVE, "rest"),
    "grpc": Contestant("hotserve, gRPC", HOTSERVE, "grpc"),
}
"""By the name that `--contestants` has for each; the first one that is named is the reference."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    contestants = [CONTESTANTS[name] for name in options.contestants]
    settings = Settings(
        options.connections, options.rounds, options.seconds, min(2.0, options.seconds / 2), options.rows
    )
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
    parser.add_argument("--connections", type=positive_int, nargs="+", default=[1, 16], help="numbers of clients")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="how long each turn lasts")
    parser.add_argument("--rounds", type=positive_int, default=5, help="turns for each contestant")
    parser.add_argument("--rows", type=positive_int, default=1, help="pictures in each request, at most 200")
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--json", type=Path, help="file for every single turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
