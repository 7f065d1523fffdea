"""How does hotserve compare with everything else that one could serve a model with?

    python benchmarks/bench_peers.py --json=benchmarks/results/peers.json

Starts hotserve and its peers in turn with the same models and the same load. The first run installs each peer in an
environment of its own, in the cache (`HOTSERVE_BENCHMARK_CACHE`, else `~/.cache/hotserve-benchmarks`), which takes
minutes and 2.5 GB; `render_performance.py` makes the tables and plots of docs/performance.md from the results.

- On `one` core the server, with one worker process, has one processor for itself and the load has the others.
- On `all` cores the server has as many workers as its documentation recommends, and the load shares the processors.

In a round each server is started, asked until it answers rightly, loaded with each number of connections, and stopped;
with `--rates`, also loaded at fixed rates. Every warm-up compares all answers with what the model says.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from comparison import Settings
from digits import MODEL_FILE
from load import positive_float, positive_int
from made_models import made_model
from measure import circumstances
from peer_environments import environment, installed
from peer_report import PeerResults, ServerFacts, as_json, report
from peer_runs import OpenLoops, Records, Stage, Visit, floor, run_peer
from peer_servers import HOTSERVE, Peer, Serving, peers
from workloads import requests_of

MODELS = ("half_plus_two", "digits", "transformer", "convnet")
SAVED_MODELS = {"half_plus_two": "half_plus_two_saved_model", "digits": "digits_saved_model"}
"""Model -> the same as a SavedModel, for a server that takes nothing else."""

SLOW_MODELS = {"transformer": (2.0, 64), "convnet": (4.0, 4)}
"""Model whose runs take long -> how many seconds a turn lasts at least, and how many connections it has at most."""

PACKAGES = ("hotserve", "onnxruntime", "numpy", "uvloop")


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.connections = 1, 0.2, [2]
    known = peers(options.tensorflow_model_server)
    if unknown := [name for name in options.peers if name not in known]:
        print(f"Expected peers among {', '.join(known)}; got {', '.join(unknown)}.", file=sys.stderr)
        return 1
    chosen = [known[name] for name in options.peers or known]
    if "one" in options.cores and len(os.sched_getaffinity(0)) < 2:
        print("One processor for the server and one for the load: expected two, got one.", file=sys.stderr)
        return 1
    settings = Settings(options.connections, options.rounds, options.seconds, min(0.5, options.seconds), 1)
    loops = OpenLoops(sorted(options.rates), options.rate_seconds)
    records = Records()
    try:
        pythons = {peer.name: Path(sys.executable) if options.here else environment(peer, _say) for peer in chosen}
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    results = PeerResults(circumstances(PACKAGES), settings, _facts(chosen, pythons), records)
    stages = [Stage("one", model) for model in options.models] if "one" in options.cores else []
    stages += [Stage("all", model) for model in options.all_cores_models] if "all" in options.cores else []
    for number in range(options.rounds):
        for stage in stages:
            _say(f"round {number + 1}, {stage.cores} core{'s' * (stage.cores == 'all')}, {stage.model}")
            rates = loops if stage == Stage("one", options.rates_model) else OpenLoops((), 0)
            for peer in chosen:
                _one(peer, pythons[peer.name], stage, number, _for(settings, stage.model), rates, records)
            if options.json:
                # After each stage: what was measured is there even if somebody ends the program.
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(as_json(results), encoding="utf-8")
    print("\n" + report([results]))
    return 1 if records.failures else 0


def _for(settings: Settings, model: str) -> Settings:
    """What a model needs: with one that takes a tenth of a second, a second has too few answers."""
    if model not in SLOW_MODELS:
        return settings
    seconds, most = SLOW_MODELS[model]
    connections = [number for number in settings.connections if number <= most] or [most]
    return replace(settings, connections=connections, seconds=max(seconds, settings.seconds))


def _one(
    peer: Peer,
    python: Path,
    stage: Stage,
    number: int,
    settings: Settings,
    loops: OpenLoops,
    records: Records,
) -> None:
    """One server in one round; what it does is added to the records."""
    if peer.saved_model and stage.model not in SAVED_MODELS:
        return
    _say(f" {peer.title}")
    all_cores = sorted(os.sched_getaffinity(0))
    server_cores, load_cores = (all_cores[:1], all_cores[1:]) if stage.cores == "one" else (all_cores, all_cores)
    with tempfile.TemporaryDirectory(prefix="hotserve-bench-", ignore_cleanup_errors=True) as folder, _on(load_cores):
        base_path = _base_path(stage.model, peer.saved_model)
        serving = Serving(python, stage.model, base_path, server_cores, Path(folder))
        if peer.name == HOTSERVE:
            records.floors.append(floor(stage.model, serving.model_file, requests_of(stage.model)))
        if not peer.takes_silent_connections:
            loops = OpenLoops((), 0)
        run_peer(Visit(peer, serving, stage, number, settings, loops), records, _say)


def _base_path(model: str, saved_model: bool) -> Path:
    if model == "digits":
        return MODEL_FILE.parent.parent
    return made_model(SAVED_MODELS[model] if saved_model else model)


def _facts(chosen: Sequence[Peer], pythons: Mapping[str, Path]) -> Sequence[ServerFacts]:
    """What each of them is, and what is in its environment."""
    facts = []
    for peer in chosen:
        versions: Mapping[str, str] = {}
        megabytes = 0.0
        if peer.packages:
            found = installed(pythons[peer.name], peer.packages, HOTSERVE if peer.name == HOTSERVE else "")
            versions, megabytes = found.versions, found.megabytes
        lines = [line.name for line in peer.lines]
        facts.append(ServerFacts(peer.title, peer.settings, versions, megabytes, lines))
    return facts


@contextmanager
def _on(cores: Sequence[int]) -> Iterator[None]:
    """This process, and those that it starts meanwhile, use these processors and no others."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", default=[], metavar="NAME", help="which servers (all)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="on one core")
    parser.add_argument("--all-cores-models", nargs="+", choices=MODELS, default=["digits"], help="on all cores")
    parser.add_argument("--cores", nargs="+", choices=["one", "all"], default=["one", "all"])
    parser.add_argument("--connections", type=positive_int, nargs="+", default=[1, 16, 64], help="numbers of clients")
    parser.add_argument("--rounds", type=positive_int, default=3, help="how often each server is started and loaded")
    parser.add_argument(
        "--seconds", type=positive_float, default=2.0, help="how long a turn lasts; wrk takes whole ones"
    )
    parser.add_argument(
        "--rates", type=positive_float, nargs="*", default=[], help="of open loops: requests per second"
    )
    parser.add_argument("--rates-model", choices=MODELS, default="digits", help="what the open loops ask")
    parser.add_argument("--rate-seconds", type=positive_float, default=3.0, help="how long an open loop lasts")
    parser.add_argument("--tensorflow-model-server", default="", metavar="PATH", help="the original, if you have it")
    parser.add_argument(
        "--here", action="store_true", help="the peers are installed beside this program: no environments"
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does everything run?")
    parser.add_argument("--json", type=Path, help="file for all that was measured")
    return parser


if __name__ == "__main__":
    sys.exit(main())
