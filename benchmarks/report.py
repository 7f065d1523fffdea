"""A comparison as a table in Markdown, and as JSON with every turn in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from comparison import Comparison, Settings, Turn
from measure import Circumstances

_COLUMNS = (
    "connections",
    "server",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "server CPU, µs/request",
    "requests/s, ratio",
    "p50, ratio",
    "p99, ratio",
    "CPU, ratio",
    "client CPU, µs/request",
)


def table(comparison: Comparison, reference: str) -> str:
    """The medians over all rounds, one line for each contestant and number of connections.

    Args:
        comparison: What was measured.
        reference: The contestant that the ratios are taken against. A ratio is the median of the ratios of the rounds.
    """
    lines = [line(_COLUMNS), line(["---:" if name != "server" else "---" for name in _COLUMNS])]
    connections = dict.fromkeys(turn.connections for turn in comparison.turns)
    names = dict.fromkeys(turn.contestant for turn in comparison.turns)
    for number in connections:
        base = comparison.of(reference, number)
        lines += [line(_cells(comparison.of(name, number), base)) for name in names]
    return "\n".join(lines)


def notes(comparison: Comparison, settings: Settings, where: Circumstances, reference: str) -> str:
    """What to know beside the table: the floor, where it was made, and what shared the machine."""
    return "\n".join(
        [
            f"- The floor: {median(comparison.floor_us):.0f} µs of CPU for one bare InferenceSession.run of one row.",
            f"- Ratios against {reference!r} in the same rounds. {settings.rounds} rounds of {settings.seconds:g} s"
            f" each, medians; {settings.rows} row(s) a request.",
            *circumstances_notes(comparison.turns, where),
        ]
    )


def circumstances_notes(turns: Sequence[Turn], where: Circumstances) -> Sequence[str]:
    """Where turns were taken, and what shared the machine."""
    versions = ", ".join(f"{name} {number}" for name, number in where.versions.items())
    answers = sum(turn.answers for turn in turns)
    others = [turn.others_cores for turn in turns]
    return [
        f"- All {answers} answers were right: compared with the model's own where the load is our own, and looked"
        " at for errors where it is another's.",
        f"- {where.date}, commit {where.commit}, {where.machine}. Client and server share these cores, so that"
        " requests/s is a figure of both; CPU is the server's alone.",
        f"- Everything else on the machine kept {median(others):.2f} cores busy in the median turn,"
        f" {max(others):.2f} in the worst.",
        f"- {versions}.",
    ]


def finish(aims: str, notes: Sequence[str], turns: Sequence[Any], where: Circumstances, file: Path | None) -> None:
    """The end of a report: which aims are reached, what to know beside the figures, and every turn in a file.

    Args:
        aims: The table of these.
        notes: Lines of a list; what shared the machine, and where it was made, follow them.
        turns: What was measured: dataclasses with `others_cores`.
        where: Where it was made.
        file: Gets all of it as JSON; None for nowhere.
    """
    others = [turn.others_cores for turn in turns]
    lines = [
        *notes,
        f"- Everything else on the machine, the load with it, kept {median(others):.2f} cores busy in the median turn,"
        f" {max(others):.2f} in the worst.",
        f"- {where.date}, commit {where.commit}, {where.machine}; {dict(where.versions)}.",
    ]
    print("\n".join(["", aims, "", *lines]))
    if file is not None:
        document = {"circumstances": described(where), "turns": [asdict(turn) for turn in turns]}
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def described(where: Circumstances) -> dict[str, Any]:
    """Circumstances, for JSON."""
    return asdict(where) | {"versions": dict(where.versions)}


def as_json(comparison: Comparison, settings: Settings, where: Circumstances, reference: str) -> str:
    """All of it, for programs."""
    document = {
        "circumstances": described(where),
        "settings": asdict(settings),
        "reference": reference,
        **asdict(comparison),
    }
    return json.dumps(document, indent=1) + "\n"


def _cells(turns: Sequence[Turn], base: Sequence[Turn]) -> Sequence[str]:
    pairs = list(zip(turns, base, strict=True))
    return [
        str(turns[0].connections),
        turns[0].contestant,
        f"{median(turn.requests_per_second for turn in turns):.0f}",
        f"{median(turn.p50_ms for turn in turns):.2f}",
        f"{median(turn.p99_ms for turn in turns):.2f}",
        f"{median(turn.server_cpu_us for turn in turns):.0f}",
        f"{median(turn.requests_per_second / other.requests_per_second for turn, other in pairs):.2f}",
        f"{median(turn.p50_ms / other.p50_ms for turn, other in pairs):.2f}",
        f"{median(turn.p99_ms / other.p99_ms for turn, other in pairs):.2f}",
        f"{median(turn.server_cpu_us / other.server_cpu_us for turn, other in pairs):.2f}",
        f"{median(turn.client_cpu_us for turn in turns):.0f}",
    ]


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"
