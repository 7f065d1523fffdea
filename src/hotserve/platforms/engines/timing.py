"""Measures what runs take in each engine, and how far the measurements can be trusted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from hotserve.core.servable import Servable
from hotserve.errors import ServingError
from hotserve.platforms.engines.engine import TENSORFLOW, Runner
from hotserve.platforms.engines.findings import SignatureFindings
from hotserve.platforms.engines.made_up_inputs import Inputs, make_trials
from hotserve.tensors import Array, Signature

logger = logging.getLogger(__name__)

_RUNS: Final = 15
_SECONDS: Final = 0.4
"""How often a run is timed, or for how long altogether, for each engine and number of rows."""

Restore = Callable[[str, int, Signature], Runner]
"""Engine, the number of the files, and the signature -> what runs it; raises a `ServingError` where that fails."""


@dataclass(frozen=True, slots=True)
class Times:
    """What was measured.

    Attributes:
        seconds: Name -> rows -> what a run takes, in seconds. The shortest one counts: it is the one that other work
            has disturbed least.
        spread: By how much of it half of the runs took longer at least, where that was most.
    """

    seconds: Mapping[str, Mapping[int, float]]
    spread: float


def time_runs(runs: Mapping[str, Callable[[Inputs], object]], timed: Mapping[int, Inputs]) -> Times:
    """Times runs, in turns, so that all have the same disturbances.

    Args:
        runs: Name -> what runs it.
        timed: Rows -> inputs.
    """
    seconds: dict[str, dict[int, float]] = {name: {} for name in runs}
    spread = 0.0
    for rows, inputs in timed.items():
        taken: dict[str, list[float]] = {name: [] for name in runs}
        try:
            for run in runs.values():
                run(inputs)
            until = time.perf_counter() + _SECONDS * len(runs)
            for _ in range(_RUNS):
                for name, run in runs.items():
                    start = time.perf_counter()
                    run(inputs)
                    taken[name].append(time.perf_counter() - start)
                if time.perf_counter() > until:
                    break
        except ServingError as error:
            logger.debug("%d rows are not timed: %s", rows, error)
            continue
        for name, each in taken.items():
            seconds[name][rows] = min(each)
            spread = max(spread, median(each) / min(each) - 1)
    return Times(seconds, spread)


def time_again(found: SignatureFindings, name: str, servable: Servable, restore: Restore) -> SignatureFindings:
    """Times a signature once more, and its alternatives.

    Args:
        found: What is known of it.
        name: The signature.
        servable: The version in TensorFlow.
        restore: Restores its engines.

    Returns:
        The same with the shortest times of both, and one timing more.
    """
    alternatives = tuple(time_again(other, name, servable, restore) for other in found.alternatives)
    found = replace(found, alternatives=alternatives, timings=found.timings + 1)
    agreeing = {engine: finding.domain for engine, finding in found.engines.items() if finding.agrees}
    domain = next((domain for domain in agreeing.values() if domain is not None), None)
    if domain is None:
        return found
    declared = servable.signatures[name]
    inputs = {alias: replace(spec, shape=domain.shapes[alias]) for alias, spec in declared.inputs.items()}
    signature = replace(declared, inputs=inputs)
    outputs = list(signature.outputs)

    def reference(inputs: Inputs) -> Mapping[str, Array]:
        return servable.run(name, inputs, outputs)

    runs: dict[str, Callable[[Inputs], object]] = {TENSORFLOW: reference}
    for engine in agreeing:
        runner = restore(engine, found.number, signature)
        runs[engine] = lambda inputs, runner=runner: runner.run(inputs, outputs)  # type: ignore[misc]
    trials = make_trials(signature, reference)
    if isinstance(trials, str):
        return found
    times = time_runs(runs, trials.timed)
    engines = {
        engine: replace(finding, seconds=_shortest(finding.seconds, times.seconds.get(engine, {})))
        for engine, finding in found.engines.items()
    }
    seconds = _shortest(found.seconds, times.seconds[TENSORFLOW])
    return replace(found, seconds=seconds, engines=engines, spread=min(found.spread, times.spread))


def _shortest(one: Mapping[int, float], other: Mapping[int, float]) -> Mapping[int, float]:
    return {rows: min(seconds, other.get(rows, seconds)) for rows, seconds in one.items()}
