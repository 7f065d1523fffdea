"""One run for several requests, in the calling thread; a request that makes it fail fails alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hotserve.batching.options import BatchRules
from hotserve.batching.padding import Inputs, check_outputs, divide, merge
from hotserve.core.servable import Servable
from hotserve.tensors import Array

Answer = dict[str, Array] | BaseException
"""Output alias -> array; or what the request has failed with."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the engine that went well.

    Attributes:
        rows: The rows of the requests that shared it.
        padding: The rows that were added to them.
        started: When it began, in seconds of the clock.
        seconds: What it took.
    """

    rows: int
    padding: int
    started: float
    seconds: float


@dataclass(slots=True)
class SharedRun:
    """What has come of a batch.

    Attributes:
        answers: One for each request, in their order.
        runs: The runs of the engine that went well: one, unless a request of the batch has failed.
        failed_together: Whether requests failed together that were then run again.
    """

    answers: list[Answer] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    failed_together: bool = False


def run_together(
    servable: Servable,
    signature_name: str,
    outputs: Sequence[str],
    rules: BatchRules,
    requests: Sequence[Inputs],
    counts: Sequence[int],
    clock: Callable[[], float],
) -> SharedRun:
    """Runs requests that fit together, all at once; where that fails, in halves, so that whose fault it is fails alone.

    Args:
        servable: What runs them.
        signature_name: Which signature.
        outputs: The output aliases that are wanted.
        rules: How they are padded, and whether an answer that cannot be divided is an error even of one request.
        requests: The inputs of each request, with the same `key_of`.
        counts: The rows of each.
        clock: Seconds.

    Returns:
        The answers. Nothing is raised.
    """
    shared = SharedRun()
    _run(servable, signature_name, outputs, rules, requests, counts, clock, shared)
    return shared


def _run(
    servable: Servable,
    signature_name: str,
    outputs: Sequence[str],
    rules: BatchRules,
    requests: Sequence[Inputs],
    counts: Sequence[int],
    clock: Callable[[], float],
    shared: SharedRun,
) -> None:
    alone = len(requests) == 1
    try:
        if alone and not rules.is_strict:
            start = clock()
            answer = servable.run(signature_name, requests[0], outputs)
            shared.runs.append(Run(counts[0], 0, start, clock() - start))
            shared.answers.append(answer)
            return
        rows = sum(counts)
        # Without rows there is nothing to pad with.
        size = rules.size_for(rows) if rows else 0
        merged = merge(requests, rows, size, rules)
        start = clock()
        answer = servable.run(signature_name, merged, outputs)
        seconds = clock() - start
        check_outputs(answer, size)
        shared.answers.extend(divide(answer, counts, requests, servable.signatures[signature_name], rules.pads))
        shared.runs.append(Run(rows, size - rows, start, seconds))
    except BaseException as error:  # noqa: BLE001  # also SystemExit: it goes to whoever waits for the answer
        if alone:
            shared.answers.append(error)
            return
        shared.failed_together = True
        middle = len(requests) // 2
        for part in (slice(None, middle), slice(middle, None)):
            _run(servable, signature_name, outputs, rules, requests[part], counts[part], clock, shared)


def run_alone(
    servable: Servable, signature_name: str, inputs: Inputs, outputs: Sequence[str], rules: BatchRules, rows: int
) -> dict[str, Array]:
    """Runs one request as if it were a batch: padded, and with the checks of the rules.

    Raises:
        FailedPrecondition: The rules are strict, and the answer could not be divided among requests.
        ServingError: What the servable raises.
    """
    if not rules.is_strict:
        return servable.run(signature_name, inputs, outputs)
    size = rules.size_for(rows) if rows else 0
    answer = servable.run(signature_name, merge([inputs], rows, size, rules), outputs)
    check_outputs(answer, size)
    return {name: array[:rows] for name, array in answer.items()} if size > rows else answer
