"""Decides, as a version loads, which of its signatures' requests may share runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hotserve.batching.options import ALONE, NATURAL, BatchingOptions, BatchRules
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.batching.row_check import has_rows, why_dependent
from hotserve.batching.samples import Samples
from hotserve.config.batching_config import describe
from hotserve.core.servable import Servable

logger = logging.getLogger(__name__)

WarmUp = Callable[[Servable, Path], None]


class BatchPlanning(Protocol):
    """Gives versions their plans, around their warm-up."""

    def before_warm_up(self, servable: Servable, path: Path) -> None:
        """Plans what the warm-up has to obey.

        Raises:
            ConfigError: What the version says about batching is wrong.
        """
        ...

    def after_warm_up(self, servable: Servable, path: Path) -> None:
        """Plans what the version's runs can tell."""
        ...


class ConfiguredPlanning:
    """Plans as TensorFlow Serving: by the parameters of all models, or by those in the version's folder."""

    def __init__(
        self,
        plans: BatchPlans,
        options: BatchingOptions,
        read_version_options: Callable[[Path], BatchingOptions | None] | None,
    ) -> None:
        """Makes plans.

        Args:
            plans: Where they go.
            options: The parameters of all models.
            read_version_options: Reads those of a version, where each version has its own, or is not batched.
        """
        self._plans = plans
        self._options = options
        self._read_version_options = read_version_options

    def before_warm_up(self, servable: Servable, path: Path) -> None:
        options: BatchingOptions | None = self._options
        if self._read_version_options is not None:
            options = self._read_version_options(path)
        if options is None:
            logger.info("Requests for %s are not batched: its folder has no batching parameters", path)
            self._plans.set(servable, VersionPlan())
            return
        logger.info("Requests for %s are batched: %s", path, describe(options))
        self._plans.set(servable, VersionPlan(otherwise=options.rules()))

    def after_warm_up(self, servable: Servable, path: Path) -> None:
        pass


class NaturalPlanning:
    """Plans by trying: signatures whose rows do not depend on each other share runs."""

    def __init__(self, plans: BatchPlans, samples: Samples) -> None:
        """Makes plans.

        Args:
            plans: Where they go.
            samples: What recorded requests have been run with.
        """
        self._plans = plans
        self._samples = samples

    def before_warm_up(self, servable: Servable, path: Path) -> None:
        pass

    def after_warm_up(self, servable: Servable, path: Path) -> None:
        samples = self._samples.take(servable)
        rules: dict[str, BatchRules] = {}
        for name, signature in sorted(servable.signatures.items()):
            if not has_rows(signature):
                logger.debug("Signature %s of %s has no rows: its requests run alone", name, path)
                continue
            reason = why_dependent(servable, name, samples.get(name, ()))
            rules[name] = ALONE if reason else NATURAL
            if reason:
                logger.info("Requests for signature %s of %s run alone: %s", name, path, reason)
            else:
                logger.info("Requests for signature %s of %s share runs: its rows are independent", name, path)
        self._plans.set(servable, VersionPlan(rules))


class PlannedWarmUp:
    """A warm-up with a plan before and after it."""

    def __init__(self, warm_up: WarmUp, planning: BatchPlanning) -> None:
        self._warm_up = warm_up
        self._planning = planning

    def __call__(self, servable: Servable, path: Path) -> None:
        """Warms up a version and plans how its requests share runs; blocks, on a load thread.

        Raises:
            ConfigError: What the version says about batching is wrong.
            ServingError: What the warm-up raises.
        """
        self._planning.before_warm_up(servable, path)
        self._warm_up(servable, path)
        self._planning.after_warm_up(servable, path)
