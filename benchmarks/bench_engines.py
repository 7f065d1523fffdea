"""What does the engine that is chosen for a SavedModel bring, against TensorFlow, over the whole road of a request?

    python benchmarks/bench_engines.py --json=result.json

The same SavedModel in two servers, one with `--engine=tensorflow`, one with `--engine=auto`, asked in turns. Before,
the model is examined with `hotserve tune`, which takes a minute or more the first time; what it finds is kept with the
model in the cache (`HOTSERVE_BENCHMARK_CACHE`, else `~/.cache/hotserve-benchmarks`). Needs TensorFlow, and the extra
`engines`.

The large models (`large_saved_models.py`) are of ResNet-50's size, and a small encoder in the manner of BERT, as Keras
exports them. Every answer of the warm-up is compared with what Keras says.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from comparison import Comparison, Contestant, Course, Settings
from generators import best
from load import positive_float, positive_int
from made_models import made_model
from measure import RunningServer, ServerCommand, circumstances
from report import circumstances_notes, described, table
from workloads import SAVED_MODEL

MODELS: Mapping[str, str] = {
    "half_plus_two": "half_plus_two",
    "digits": "digits",
    "transformer": f"transformer{SAVED_MODEL}",
    "convnet": f"convnet{SAVED_MODEL}",
}
"""Model -> the workload that asks it."""

ENGINES = ("tensorflow", "auto")
"""The values of `--engine`; the first is what ratios are taken against."""

PACKAGES = ("hotserve", "tensorflow", "keras", "onnxruntime", "openvino", "numpy")
WIRES = {"rest": "REST", "grpc": "gRPC"}

_CHOICE_SECONDS = 600.0
"""How long a server may take until the engine that was chosen runs the model."""

_LOOK_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.connections = 1, 2.0, [2]
    settings = Settings(options.connections, options.rounds, options.seconds, min(2.0, options.seconds), 1)
    where = circumstances(PACKAGES)
    documents = []
    try:
        for model in options.models:
            base_path = made_model(model + SAVED_MODEL)
            chosen = _tune(base_path)
            comparisons = _compare(model, base_path, chosen.partition(":")[0], options.wires, settings)
            print(f"\n### {model}\n\n--engine=auto has chosen {chosen}.\n")
            for wire, comparison in comparisons.items():
                print(table(comparison, _name(ENGINES[0], wire)) + "\n")
            turns = [turn for comparison in comparisons.values() for turn in comparison.turns]
            print("\n".join(circumstances_notes(turns, where)), flush=True)
            documents.append({"model": model, "chosen": chosen, "turns": [asdict(turn) for turn in turns]})
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        document = {"circumstances": described(where), "settings": asdict(settings), "models": documents}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def _tune(base_path: Path) -> str:
    """Has the engines examined, if they are not yet; returns the one that is chosen, a colon, and why."""
    words = [sys.executable, "-m", "hotserve", "tune", "--json", str(base_path)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{base_path.name} cannot be examined: {done.stdout}")
    return str(json.loads(done.stdout)["versions"][0]["signatures"]["serving_default"]["engine"])


def _compare(
    model: str, base_path: Path, chosen: str, wires: Sequence[str], settings: Settings
) -> Mapping[str, Comparison]:
    """The turns over each wire."""
    commands = [_command(model, base_path, engine) for engine in ENGINES]
    turns = {wire: [] for wire in wires}
    with RunningServer(commands[0]) as tensorflow, RunningServer(commands[1]) as auto:
        _until_chosen(auto, model, chosen)
        course = Course(
            settings, {command.name: server for command, server in zip(commands, (tensorflow, auto), strict=True)}
        )
        contestants = {
            wire: [
                Contestant(_name(engine, wire), command, wire, workload=MODELS[model], generator=best(wire))
                for engine, command in zip(ENGINES, commands, strict=True)
            ]
            for wire in wires
        }
        for wire in wires:
            for contestant in contestants[wire]:
                course.warm_up(contestant, max(settings.connections))
        for number in range(settings.rounds):
            for wire in wires:
                for connections in settings.connections:
                    for contestant in contestants[wire]:
                        turn = course.turn(contestant, connections, number)
                        turns[wire].append(turn)
                        _say(
                            f"{model}, round {number + 1}: {turn.contestant}, {connections} connections:"
                            f" {turn.requests_per_second:.1f} requests/s, {turn.server_cpu_us:.0f} µs of CPU each"
                        )
    return {wire: Comparison(of_it, [], []) for wire, of_it in turns.items()}


def _command(model: str, base_path: Path, engine: str) -> ServerCommand:
    words = (sys.executable, "-m", "hotserve", "serve", "--host=127.0.0.1")
    ports = ("--port={grpc_port}", "--rest_api_port={rest_port}")
    named = (f"--model_name={model}", f"--model_base_path={base_path}", f"--engine={engine}")
    return ServerCommand(f"--engine={engine}", (*words, *ports, *named))


def _name(engine: str, wire: str) -> str:
    return f"--engine={engine}, {WIRES[wire]}"


def _until_chosen(server: RunningServer, model: str, engine: str) -> None:
    """Waits until an engine runs the model in place of TensorFlow, which does so until then.

    Raises:
        RuntimeError: It does not, in all of the time that there is.
    """
    deadline = time.monotonic() + _CHOICE_SECONDS
    while engine != ENGINES[0] and _running(server, model) != engine:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{engine} does not run {model} after {_CHOICE_SECONDS:g} s:\n{server.output()}")
        time.sleep(_LOOK_SECONDS)


def _running(server: RunningServer, model: str) -> str:
    """The engine of the default signature."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    try:
        connection.request("GET", f"/v1/models/{model}/engines")
        return str(json.loads(connection.getresponse().read())["engines"]["serving_default"]["engine"])
    finally:
        connection.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=["transformer", "convnet"])
    parser.add_argument("--wires", nargs="+", choices=list(WIRES), default=list(WIRES), help="over which APIs")
    parser.add_argument("--connections", type=positive_int, nargs="+", default=[1, 4], help="numbers of clients")
    parser.add_argument("--seconds", type=positive_float, default=5.0, help="how long each turn lasts")
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns for each contestant")
    parser.add_argument("--quick", action="store_true", help="one short round: does everything run?")
    parser.add_argument("--json", type=Path, help="file for every single turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
