"""What `bench_peers.py` has measured: as JSON, as tables in Markdown, and the figures that tables and plots show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from comparison import Settings, Turn
from measure import Circumstances
from open_load import OpenResult
from peer_runs import Failure, Floor, Rate, Records, Stage, StageTurn, Start
from report import line

REFERENCE = "hotserve, REST"
"""What ratios are taken against, within a round."""

MODEL_TITLES = {
    "half_plus_two": "half_plus_two: three numbers, a model that costs nothing",
    "digits": "The digit model: a small CNN, one picture of 28 x 28 x 1",
    "transformer": "A transformer: 4 layers of 256, 128 tokens",
    "convnet": "A CNN of ResNet-50's size: one picture of 224 x 224 x 3",
}
"""In the order in which they are shown."""

USUAL_CONNECTIONS = 16
"""Where one number has to stand for all."""

_STARTS_MODEL = "digits"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server is, whatever it serves.

    Attributes:
        title: As the report has it.
        settings: What it was told, in words.
        versions: Package -> version.
        megabytes: Size of everything that is installed for it, in millions of bytes; 0 if unknown.
        lines: Its lines of the results.
    """

    title: str
    settings: str
    versions: Mapping[str, str]
    megabytes: float
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class PeerResults:
    """One run of the bench.

    Attributes:
        where: Where and with what it was made.
        settings: How long and how much.
        servers: What was compared, in order.
        records: What was measured.
    """

    where: Circumstances
    settings: Settings
    servers: Sequence[ServerFacts]
    records: Records


def as_json(results: PeerResults) -> str:
    """All of it, with every turn."""
    where = asdict(results.where) | {"versions": dict(results.where.versions)}
    servers = [asdict(server) | {"versions": dict(server.versions)} for server in results.servers]
    document = {"circumstances": where, "settings": asdict(results.settings), "servers": servers}
    return json.dumps(document | asdict(results.records), indent=1) + "\n"


def read_results(path: Path) -> PeerResults:
    """Reads what `as_json` has written.

    Raises:
        ValueError, KeyError, TypeError: The file is another one.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    records = Records(
        [StageTurn(Stage(**item["stage"]), Turn(**item["turn"])) for item in document["turns"]],
        [Start(**item | {"stage": Stage(**item["stage"])}) for item in document["starts"]],
        [
            Rate(**item | {"stage": Stage(**item["stage"]), "result": OpenResult(**item["result"])})
            for item in document["rates"]
        ],
        [Floor(**item) for item in document["floors"]],
        [Failure(**item | {"stage": Stage(**item["stage"])}) for item in document["failures"]],
    )
    return PeerResults(
        Circumstances(**document["circumstances"]),
        Settings(**document["settings"]),
        [ServerFacts(**server) for server in document["servers"]],
        records,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """Several runs as one: what the tables and the plots show.

    Attributes:
        runs: The runs, in the order in which they were made.
        servers: All servers, in the order of the first run that has them.
        records: All records; rounds count on from run to run.
    """

    runs: Sequence[PeerResults]
    servers: Sequence[ServerFacts]
    records: Records

    def stages(self, cores: str) -> Sequence[Stage]:
        """What was served on so many cores."""
        found = {item.stage.model for item in self.records.turns if item.stage.cores == cores}
        return [Stage(cores, model) for model in MODEL_TITLES if model in found]

    def connections(self, stage: Stage) -> Sequence[int]:
        return sorted({item.turn.connections for item in self.records.turns if item.stage == stage})

    def usual_connections(self, stage: Stage) -> int:
        """16, or the number next to it."""
        return min(self.connections(stage), key=lambda number: abs(number - USUAL_CONNECTIONS))

    def lines(self, stage: Stage) -> Sequence[str]:
        """The lines of the results that were measured there."""
        found = {item.turn.contestant for item in self.records.turns if item.stage == stage}
        return [name for server in self.servers for name in server.lines if name in found]

    def turns(self, stage: Stage, contestant: str, connections: int) -> Mapping[int, Turn]:
        """By round."""
        return {
            item.turn.round: item.turn
            for item in self.records.turns
            if (item.stage, item.turn.contestant, item.turn.connections) == (stage, contestant, connections)
        }

    def figure(self, stage: Stage, contestant: str, connections: int, of: Callable[[Turn], float]) -> float | None:
        """The median over the rounds; None if it was not measured."""
        turns = self.turns(stage, contestant, connections).values()
        return median(map(of, turns)) if turns else None

    def ratio(self, stage: Stage, contestant: str, connections: int, of: Callable[[Turn], float]) -> float | None:
        """The median of the ratios to hotserve over REST within each round; None if it was not measured."""
        base = self.turns(stage, REFERENCE, connections)
        turns = self.turns(stage, contestant, connections)
        ratios = [of(turn) / of(base[number]) for number, turn in turns.items() if number in base and of(base[number])]
        return median(ratios) if ratios else None

    def start(self, server: str, of: Callable[[Start], float]) -> float | None:
        """The median over the rounds, with the digit model on one core; None if it was not measured."""
        stage = Stage("one", _STARTS_MODEL)
        starts = [start for start in self.records.starts if (start.server, start.stage) == (server, stage)]
        return median(map(of, starts)) if starts else None

    def rates(self, contestant: str) -> Mapping[float, Sequence[Rate]]:
        """The open loops of a contestant: requests per second -> what became of them in each round."""
        found: dict[float, list[Rate]] = {}
        for rate in sorted(self.records.rates, key=lambda item: item.rate):
            if rate.contestant == contestant:
                found.setdefault(rate.rate, []).append(rate)
        return found


def figures(runs: Sequence[PeerResults]) -> Figures:
    """Puts several runs together."""
    servers: dict[str, ServerFacts] = {}
    records = Records()
    rounds = 0
    for run in runs:
        for server in run.servers:
            servers.setdefault(server.title, server)
        records.turns += [
            replace(item, turn=replace(item.turn, round=item.turn.round + rounds)) for item in run.records.turns
        ]
        records.starts += [replace(start, round=start.round + rounds) for start in run.records.starts]
        records.rates += [replace(rate, round=rate.round + rounds) for rate in run.records.rates]
        records.floors += run.records.floors
        records.failures += [replace(failure, round=failure.round + rounds) for failure in run.records.failures]
        rounds += run.settings.rounds
    return Figures(runs, list(servers.values()), records)


def rate_of(turn: Turn) -> float:
    return turn.requests_per_second


def cpu_of(turn: Turn) -> float:
    return turn.server_cpu_us


def p50_of(turn: Turn) -> float:
    return turn.p50_ms


def p99_of(turn: Turn) -> float:
    return turn.p99_ms


def report(runs: Sequence[PeerResults]) -> str:
    """Everything, in Markdown."""
    all_of_it = figures(runs)
    parts = []
    for cores, title in (("one", "one core"), ("all", "all cores")):
        for stage in all_of_it.stages(cores):
            parts.append(f"### {MODEL_TITLES[stage.model]}, {title}\n\n{load_table(all_of_it, stage)}")
    if all_of_it.records.rates:
        parts.append(f"### Fixed rates\n\n{rates_table(all_of_it)}")
    parts.append(f"### Start, memory, installation\n\n{starts_table(all_of_it)}")
    parts.append(f"### Settings\n\n{servers_table(all_of_it)}")
    return "\n\n".join([*parts, notes(all_of_it)]) + "\n"


def load_table(all_of_it: Figures, stage: Stage) -> str:
    """One line for each line of the results: requests per second, latencies, processor time."""
    numbers, usual = all_of_it.connections(stage), all_of_it.usual_connections(stage)
    columns = ["server", *(f"requests/s, {number}" for number in numbers)]
    columns += [f"p50, p99 ms, {number}" for number in numbers]
    columns += [f"CPU µs, {usual}", "requests/s, ratio", "CPU, ratio"]
    rows = []
    for name in all_of_it.lines(stage):
        cells = [name]
        cells += [_number(all_of_it.figure(stage, name, number, rate_of)) for number in numbers]
        for number in numbers:
            p50, p99 = (all_of_it.figure(stage, name, number, of) for of in (p50_of, p99_of))
            cells.append(f"{_number(p50)}, {_number(p99)}")
        cells.append(_number(all_of_it.figure(stage, name, usual, cpu_of)))
        cells += [_number(all_of_it.ratio(stage, name, usual, of)) for of in (rate_of, cpu_of)]
        rows.append(cells)
    floors = [floor for floor in all_of_it.records.floors if floor.model == stage.model]
    text = _table(columns, rows)
    text += (
        f"\n\nThe numbers behind requests/s and latencies are connections; processor time and ratios are with {usual}."
    )
    if floors:
        cpu, p50 = median(floor.cpu_us for floor in floors), median(floor.p50_us for floor in floors)
        text += (
            f" One bare `InferenceSession.run` of this model on one thread: {_number(cpu)} µs of processor time,"
            f" {_number(p50)} µs at the median."
        )
    return text


def rates_table(all_of_it: Figures) -> str:
    """The latencies at each rate; a dash where a server no longer answers in time."""
    rates = sorted({rate.rate for rate in all_of_it.records.rates})
    names = [name for server in all_of_it.servers for name in server.lines if all_of_it.rates(name)]
    rows = []
    for name in names:
        found = all_of_it.rates(name)
        rows.append([name, *(_latencies(found.get(rate, ())) for rate in rates)])
    return _table(["p50, p99 ms at requests/s of", *(f"{rate:g}" for rate in rates)], rows)


def rate_latency(rates: Sequence[Rate], percentile: str) -> float | None:
    """The median of a percentile over the rounds, in milliseconds; None if the server has not kept up in most."""
    kept = [rate.result.in_time_ms[percentile] for rate in rates if rate.kept_up]
    return median(kept) if len(kept) * 2 > len(rates) else None


def starts_table(all_of_it: Figures) -> str:
    """Time to the first right answer, memory, and the size of what is installed."""
    rows = []
    for server in all_of_it.servers:
        sizes: list[Callable[[Start], float]] = [
            lambda start: start.memory_ready / 1e6,
            lambda start: start.memory_peak / 1e6,
            lambda start: start.memory_after / 1e6,
        ]
        rows.append(
            [
                server.title,
                _number(all_of_it.start(server.title, lambda start: start.ready_seconds)),
                *(_number(all_of_it.start(server.title, size)) for size in sizes),
                _number(server.megabytes or None),
            ]
        )
    columns = (
        "server",
        "first right answer, s",
        "memory then, MB",
        "at most, MB",
        "after the load, MB",
        "installed, MB",
    )
    return _table(columns, rows)


def servers_table(all_of_it: Figures) -> str:
    """Versions and settings."""
    rows = [
        [server.title, ", ".join(f"{name} {number}" for name, number in server.versions.items()), server.settings]
        for server in all_of_it.servers
    ]
    return _table(("server", "versions", "settings"), rows, numbers_from=3)


def notes(all_of_it: Figures) -> str:
    """Where and how it was measured."""
    turns = [item.turn for item in all_of_it.records.turns]
    others = [turn.others_cores for turn in turns]
    lines = [
        f"- {run.where.date}, commit {run.where.commit}, {run.where.machine}, Python {run.where.versions['python']};"
        f" {run.settings.rounds} round(s), {run.settings.seconds:g} s a turn and more where runs take long,"
        " medians."
        for run in all_of_it.runs
    ]
    if turns:
        lines.append(
            f"- {sum(turn.answers for turn in turns)} answers. Everything else on the machine kept"
            f" {median(others):.2f} cores busy in the median turn, {max(others):.2f} in the worst."
        )
    lines += [
        f"- Failed, and left out: {failure.server} with {failure.stage.model} on {failure.stage.cores} core(s)."
        for failure in all_of_it.records.failures
    ]
    return "\n".join(lines)


def _latencies(rates: Sequence[Rate]) -> str:
    p50, p99 = (rate_latency(rates, percentile) for percentile in ("p50", "p99"))
    return "-" if p50 is None else f"{_number(p50)}, {_number(p99)}"


def _number(value: float | None) -> str:
    """Three digits, and no more of them behind the point than tell something."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]], numbers_from: int = 1) -> str:
    """A table whose columns from `numbers_from` on are numbers."""
    rule = ["---" if number < numbers_from else "---:" for number in range(len(columns))]
    return "\n".join([line(columns), line(rule), *map(line, rows)])
