"""What was found out about a version's engines, as clients are told it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotserve.platforms.engines.choice import Choice
from hotserve.platforms.engines.engine import TENSORFLOW
from hotserve.platforms.engines.findings import EngineFinding, Examination, SignatureFindings
from hotserve.tensors import Shape


def report(choices: Mapping[str, Choice], examination: Examination) -> Mapping[str, Mapping[str, object]]:
    """Why each signature is run by what runs it.

    Args:
        choices: Signature name -> what was chosen.
        examination: What that rests on.

    Returns:
        Signature name -> `reason`, and `candidates` by the name of the engine: what a run takes by the number of rows,
        the largest difference from TensorFlow's answers, and why it was refused. `alternatives` has the same for each
        of the shapes, beside the declared ones, that another engine serves.
    """
    told: dict[str, Mapping[str, object]] = {}
    for name, choice in choices.items():
        found = examination.signatures.get(name)
        told[name] = {"reason": choice.reason, **_candidates(found)}
        alternatives = [
            {
                "engine": chosen.engine,
                "shapes": {alias: [-1 if size is None else size for size in shape] for alias, shape in shapes.items()},
                "reason": chosen.reason,
                **_candidates(other),
            }
            for chosen, other in zip(choice.alternatives, found.alternatives if found else (), strict=True)
            if (shapes := _shapes(chosen, other))
        ]
        if alternatives:
            told[name] = {**told[name], "alternatives": alternatives}
    return told


def _candidates(found: SignatureFindings | None) -> Mapping[str, object]:
    if found is None or not found.engines:
        return {}
    candidates: dict[str, object] = {TENSORFLOW: {"run_microseconds": _microseconds(found.seconds)}}
    candidates |= {engine: _told(finding) for engine, finding in sorted(found.engines.items())}
    return {"candidates": candidates}


def _shapes(chosen: Choice, found: SignatureFindings) -> Mapping[str, Shape]:
    """Input alias -> shape, of what has been chosen; nothing where that is TensorFlow."""
    finding = found.engines.get(chosen.engine)
    return finding.domain.shapes if finding is not None and finding.domain is not None else {}


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
