"""The lanes of all versions, each made when the first request for it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hotserve.batching.lane import Lane, QueueBounds
from hotserve.batching.plans import BatchPlans, ByServable
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.servable import runtime_of

_MAX_LANES: Final = 256
"""How many combinations of signature and outputs of a version are remembered; clients choose the outputs."""


class Lanes:
    """Remembers the lanes of versions, for as long as their servables are there."""

    def __init__(self, plans: BatchPlans, bounds: QueueBounds) -> None:
        """There is none yet.

        Args:
            plans: Which requests may share runs.
            bounds: What may wait in all of them together.
        """
        self._plans = plans
        self._bounds = bounds
        self._versions: ByServable[dict[tuple[str, tuple[str, ...]], Lane]] = ByServable()

    def of(self, version: Lease | VersionHandle, signature_name: str, outputs: Sequence[str]) -> Lane:
        """The lane of requests for one signature of a version, and for some of its outputs."""
        servable = version.servable
        lanes = self._versions.get(servable)
        if lanes is None:
            lanes = {}
            self._versions.set(servable, lanes)
        key = (signature_name, tuple(outputs))
        lane = lanes.get(key)
        if lane is None:
            if len(lanes) >= _MAX_LANES:
                for other in [other for other, kept in lanes.items() if not kept.queue.tasks]:
                    del lanes[other]
            lane = lanes[key] = Lane(
                version.id,
                signature_name,
                servable.signatures[signature_name],
                key[1],
                self._plans.of(servable).rules_of(signature_name),
                runtime_of(servable, signature_name),
                bounds=self._bounds,
            )
        return lane
