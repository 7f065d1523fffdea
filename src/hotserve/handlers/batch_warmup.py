"""Runs a version that brings no warm-up file at the batch sizes that can occur: each may be prepared by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from hotserve.batching.options import BatchRules
from hotserve.batching.plans import BatchPlans
from hotserve.batching.row_check import has_rows
from hotserve.core.servable import Servable, is_prepared
from hotserve.errors import ServingError
from hotserve.handlers.batch_planning import WarmUp
from hotserve.handlers.recorded_warmup import WARMUP_FILE
from hotserve.platforms.warmup import REFUSALS_OF_VALUES, made_up_inputs

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 0.5
"""How long the sizes of one signature may take, where none are prescribed. A batch that takes longer than this is rare,
and its first run is not what makes it slow."""


class BatchSizesWarmUp:
    """A warm-up that goes on with larger batches."""

    def __init__(self, warm_up: WarmUp, plans: BatchPlans, clock: Callable[[], float] = time.perf_counter) -> None:
        """Makes the warm-up.

        Args:
            warm_up: What comes first; after it, the version has its plan.
            plans: Say how large batches become.
            clock: Seconds, to measure runs by.
        """
        self._warm_up = warm_up
        self._plans = plans
        self._clock = clock

    def __call__(self, servable: Servable, path: Path) -> None:
        """Warms up a version; blocks, on a load thread.

        Raises:
            ServingError: What the warm-up raises, or a run that fails for another reason than its made-up values.
        """
        self._warm_up(servable, path)
        if (path / WARMUP_FILE).exists():
            return  # who has recorded requests has chosen the batches, too
        plan = self._plans.of(servable)
        for name, signature in sorted(servable.signatures.items()):
            rules = plan.rules_of(name)
            if rules.max_rows > 1 and has_rows(signature) and not is_prepared(servable, name):
                self._run(servable, name, rules)

    def _run(self, servable: Servable, name: str, rules: BatchRules) -> None:
        signature = servable.signatures[name]
        row = made_up_inputs(signature)
        if row is None:
            return
        left = PATIENCE_SECONDS
        took = 0.0
        for rows in _sizes(rules):
            if not rules.sizes and 2 * took > left:
                break
            inputs = {alias: np.repeat(array, rows, axis=0) for alias, array in row.items()}
            start = self._clock()
            try:
                servable.run(name, inputs, list(signature.outputs))
            except ServingError as error:
                if error.code not in REFUSALS_OF_VALUES:
                    raise ServingError(
                        f"Warm-up of signature {name} with {rows} rows failed: {error.message}", error.code
                    ) from error
                logger.info("Warm-up: signature %s refuses made-up values, which may be right: %s", name, error)
                return
            took = self._clock() - start
            left -= took


def _sizes(rules: BatchRules) -> Iterator[int]:
    """The prescribed sizes, or each power of two, and the largest one at the end."""
    if rules.sizes:
        yield from rules.sizes
        return
    rows = 2
    while rows < rules.max_rows:
        yield rows
        rows *= 2
    yield rules.max_rows
