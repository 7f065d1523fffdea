"""What was found out about a version's engines, as clients are told it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotserve.platforms.engines.choice import Choice
from hotserve.platforms.engines.engine import TENSORFLOW
from hotserve.platforms.engines.findings import EngineFinding, Examination


def report(choices: Mapping[str, Choice], examination: Examination) -> Mapping[str, Mapping[str, object]]:
    """Why each signature is run by what runs it.

    Args:
        choices: Signature name -> what was chosen.
        examination: What that rests on.

    Returns:
        Signature name -> `reason`, and `candidates` by the name of the engine: what a run takes by the number of rows,
        the largest difference from TensorFlow's answers, and why it was refused.
    """
    told: dict[str, Mapping[str, object]] = {}
    for name, choice in choices.items():
        entry: dict[str, object] = {"reason": choice.reason}
        found = examination.signatures.get(name)
        if found is not None and found.engines:
            candidates: dict[str, object] = {TENSORFLOW: {"run_microseconds": _microseconds(found.seconds)}}
            candidates |= {engine: _told(finding) for engine, finding in sorted(found.engines.items())}
            entry["candidates"] = candidates
        told[name] = entry
    return told


def _told(finding: EngineFinding) -> dict[str, Any]:
    if not finding.agrees:
        return {"refusal": finding.refusal}
    return {
        "run_microseconds": _microseconds(finding.seconds),
        "largest_difference": finding.absolute,
        "of_tolerance": finding.of_tolerance,
    }


def _microseconds(seconds: Mapping[int, float]) -> dict[str, float]:
    return {str(rows): round(1e6 * value, 1) for rows, value in sorted(seconds.items())}
