"""What does the road of a request cost in hotserve, beside what the engine costs, and beside what a bare server costs?

    python benchmarks/bench_data_plane.py --json=result.json

Each question is a comparison of its own; `--questions` chooses.

- `digits`: the bundled digit model over REST and gRPC. Server CPU per request as a multiple of one bare
  `InferenceSession.run`; what one connection waits beyond such a run; requests/s against FastAPI with ONNX Runtime.
- `half_plus_two`: three numbers, a model that costs nothing. Server CPU as a multiple of what an HTTP server takes that
  does nothing but answer the same bytes (uvloop and httptools, see peers/http1_servers.py).
- `saved_model`: the same model as a SavedModel; left out where TensorFlow is not installed.
- `picture`: a picture of 224 x 224 x 3 floats as JSON, as a serialized PredictRequest and as an .npy file. Server CPU
  of the binary forms as a part of that of JSON.
- `clients`: the digit model again, with wrk or h2load and with our own client: do they tell the same of the server?

The load comes from wrk and h2load where they are installed (Debian: wrk, nghttp2-client), else from `load.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import models
import saved_models
from aims import Aim, aims_table
from bench_digits_against_fastapi import FASTAPI, HOTSERVE
from bench_http1_wire import command as http1_command
from comparison import Comparison, Contestant, Settings, Turn, compare
from generators import OWN, best
from load import positive_float, positive_int
from measure import ServerCommand, circumstances
from report import circumstances_notes, described, table

PACKAGES = ("hotserve", "onnxruntime", "numpy", "uvloop", "httptools", "fastapi", "pydantic", "uvicorn", "tensorflow")

FASTAPI_PLAIN, FASTAPI_TYPED = "FastAPI, REST, plain JSON", "FastAPI, REST, pydantic"
REST, GRPC = "hotserve, REST", "hotserve, gRPC"
BARE = "bare uvloop + httptools, REST"
ONNX_REST, ONNX_GRPC = "ONNX, REST", "ONNX, gRPC"
SAVED_MODEL_REST, SAVED_MODEL_GRPC = "SavedModel, REST", "SavedModel, gRPC"
AS_JSON, AS_PROTOBUF, AS_NPY = "JSON", "x-protobuf", "x-npy"
OWN_CLIENT = ", our own client"


@dataclass(frozen=True, slots=True)
class Question:
    """One comparison.

    Attributes:
        title: As the report shows it.
        connections: Each of these numbers of connections is measured.
        contestants: What is compared; the first is what ratios are taken against.
        aims: What the figures are held against.
    """

    title: str
    connections: Sequence[int]
    contestants: Sequence[Contestant]
    aims: Callable[[Comparison], Sequence[Aim]]


def digits(models_folder: Path) -> Question:
    contestants = [
        Contestant(FASTAPI_PLAIN, FASTAPI, "rest", "/predict/plain", generator=best("rest")),
        Contestant(FASTAPI_TYPED, FASTAPI, "rest", "/predict/typed", generator=best("rest")),
        Contestant(REST, HOTSERVE, "rest", generator=best("rest")),
        Contestant(GRPC, HOTSERVE, "grpc", generator=best("grpc")),
    ]
    return Question("The digit model, one picture a request", (1, 16), contestants, _digits_aims)


def half_plus_two(models_folder: Path) -> Question:
    models.half_plus_two(models_folder / "onnx")
    return _half_plus_two_question("an ONNX model", models_folder / "onnx", ONNX_REST, ONNX_GRPC)


def saved_model(models_folder: Path) -> Question:
    saved_models.half_plus_two(models_folder / "saved_model")
    return _half_plus_two_question("a SavedModel", models_folder / "saved_model", SAVED_MODEL_REST, SAVED_MODEL_GRPC)


def _half_plus_two_question(kind: str, base_path: Path, rest: str, grpc: str) -> Question:
    server = _serving("half_plus_two", base_path)
    contestants = [
        Contestant(BARE, http1_command("bare"), "rest", workload="half_plus_two", generator=best("rest")),
        Contestant(rest, server, "rest", workload="half_plus_two", generator=best("rest")),
        Contestant(grpc, server, "grpc", workload="half_plus_two", generator=best("grpc")),
    ]

    def aims(comparison: Comparison) -> Sequence[Aim]:
        return [
            Aim(
                f"half_plus_two, {name}, 16 connections: CPU, ratio to a bare server",
                _ratio(comparison, _cpu, name, BARE, 16),
                bound,
            )
            for name, bound in ((rest, 2.2), (grpc, 3.0))
        ]

    return Question(f"half_plus_two as {kind}, three numbers a request", (16,), contestants, aims)


def picture(models_folder: Path) -> Question:
    models.picture(models_folder / "picture")
    server = _serving("picture", models_folder / "picture")
    workloads = {AS_JSON: "picture", AS_PROTOBUF: "picture-protobuf", AS_NPY: "picture-npy"}
    contestants = [
        Contestant(name, server, "rest", workload=workload, generator=best("rest"))
        for name, workload in workloads.items()
    ]
    return Question("A picture of 224 x 224 x 3 floats over REST", (1,), contestants, _picture_aims)


def clients(models_folder: Path) -> Question:
    contestants = [
        Contestant(name, HOTSERVE, wire, generator=generator)
        for wire, title in (("rest", REST), ("grpc", GRPC))
        for name, generator in ((title, best(wire)), (title + OWN_CLIENT, OWN))
    ]
    return Question("The same load from two clients", (1,), contestants, _clients_aims)


QUESTIONS = {
    "digits": digits,
    "half_plus_two": half_plus_two,
    "saved_model": saved_model,
    "picture": picture,
    "clients": clients,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    where = circumstances(PACKAGES)
    aims: list[Aim] = []
    turns: list[Turn] = []
    parts: list[str] = []
    document: dict[str, object] = {"circumstances": described(where)}
    for name in options.questions:
        if name == "saved_model" and find_spec("tensorflow") is None:
            _say("saved_model: left out, because TensorFlow is not installed")
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="hotserve-bench-") as folder:
                question = QUESTIONS[name](Path(folder))
                settings = Settings(
                    question.connections, options.rounds, options.seconds, min(2.0, options.seconds / 2), 1
                )
                comparison = compare(question.contestants, settings, _say)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        aims += question.aims(comparison)
        turns += comparison.turns
        parts.append(f"## {question.title}\n\n{table(comparison, question.contestants[0].name)}")
        if name == "digits":
            parts.append(
                f"One bare InferenceSession.run: {median(comparison.floor_us):.0f} µs of CPU,"
                f" {median(comparison.floor_p50_us):.0f} µs at the median."
            )
        document[name] = asdict(comparison)
    generators = " and ".join(dict.fromkeys((best("rest"), best("grpc"))))
    notes = [
        f"- {options.rounds} rounds of {options.seconds:g} s for each line, medians; ratios are the medians of those of"
        f" the rounds, against the first line. Load: {generators}.",
        *circumstances_notes(turns, where),
    ]
    parts += ["## Aims\n\n" + aims_table(aims), "\n".join(notes)]
    print("\n" + "\n\n".join(parts))
    if options.json:
        options.json.write_text(json.dumps(document | {"aims": [asdict(aim) for aim in aims]}, indent=1) + "\n")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _serving(model: str, base_path: Path) -> ServerCommand:
    words = (*HOTSERVE.words[:-2], f"--model_name={model}", f"--model_base_path={base_path}")
    return ServerCommand(f"hotserve, {base_path.name}", words)


def _ratio(
    comparison: Comparison, figure: Callable[[Turn], float], name: str, reference: str, connections: int
) -> float:
    """The median of the ratios of the rounds."""
    pairs = zip(comparison.of(name, connections), comparison.of(reference, connections), strict=True)
    return median(figure(turn) / figure(other) for turn, other in pairs)


def _rate(turn: Turn) -> float:
    return turn.requests_per_second


def _cpu(turn: Turn) -> float:
    return turn.server_cpu_us


def _digits_aims(comparison: Comparison) -> Sequence[Aim]:
    aims = []
    for connections in (1, 16):
        at = f"{connections} connection" + "s" * (connections > 1)
        for reference in (FASTAPI_TYPED, FASTAPI_PLAIN):
            ratio = _ratio(comparison, _rate, REST, reference, connections)
            aims.append(Aim(f"digits, REST, {at}: requests/s, ratio to {reference}", ratio, 18, at_least=True))
        for name, bound in ((REST, 1.4), (GRPC, 1.25)):
            turns = comparison.of(name, connections)
            ratio = median(turn.server_cpu_us / comparison.floor_us[turn.round] for turn in turns)
            aims.append(Aim(f"digits, {name}, {at}: CPU, ratio to a bare run", ratio, bound))
    for name in (REST, GRPC):
        turns = comparison.of(name, 1)
        added = median(1e3 * turn.p50_ms - comparison.floor_p50_us[turn.round] for turn in turns)
        aims.append(Aim(f"digits, {name}, 1 connection: p50 beyond a bare run, µs", added, 250))
    return aims


def _picture_aims(comparison: Comparison) -> Sequence[Aim]:
    return [
        Aim(f"picture, {name}: CPU, ratio to JSON", _ratio(comparison, _cpu, name, AS_JSON, 1), 0.1)
        for name in (AS_PROTOBUF, AS_NPY)
    ]


def _clients_aims(comparison: Comparison) -> Sequence[Aim]:
    ratios = {name: _ratio(comparison, _cpu, name + OWN_CLIENT, name, 1) for name in (REST, GRPC)}
    return [
        Aim(f"{name}, 1 connection: how far the clients' figures of the server's CPU are apart", abs(ratio - 1), 0.05)
        for name, ratio in ratios.items()
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--seconds", type=positive_float, default=2.0, help="how long each turn lasts")
    parser.add_argument("--rounds", type=positive_int, default=5, help="turns for each contestant")
    parser.add_argument("--json", type=Path, help="file for every single turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
