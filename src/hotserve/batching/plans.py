"""Which signatures of a loaded version may share runs, and how: decided when it loads, read by whoever runs it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hotserve.batching.options import ALONE, BatchRules
from hotserve.core.servable import Servable

T = TypeVar("T")


class ByServable(Generic[T]):
    """A value for each servable, forgotten together with it. Any thread may read and write."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Servable], T]] = {}

    def get(self, servable: Servable) -> T | None:
        """The value of a servable; None if it has none."""
        entry = self._entries.get(id(servable))
        return entry[1] if entry is not None and entry[0]() is servable else None

    def set(self, servable: Servable, value: T) -> None:
        """Gives a servable a value; none to one that cannot be referred to weakly."""
        key = id(servable)

        def forget(reference: weakref.ref[Servable]) -> None:
            entry = self._entries.get(key)
            if entry is not None and entry[0] is reference:
                del self._entries[key]

        try:
            reference = weakref.ref(servable, forget)
        except TypeError:
            return
        self._entries[key] = (reference, value)


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """How the requests of one version share runs.

    Attributes:
        rules: Signature name -> its rules.
        otherwise: The rules of signatures that are not named there.
    """

    rules: Mapping[str, BatchRules] = field(default_factory=dict)
    otherwise: BatchRules = ALONE

    def rules_of(self, signature_name: str) -> BatchRules:
        """The rules of one signature."""
        return self.rules.get(signature_name, self.otherwise)


class BatchPlans:
    """The plans of all loaded versions."""

    def __init__(self, otherwise: VersionPlan | None = None) -> None:
        """Makes plans.

        Args:
            otherwise: The plan of a version that was given none; without it, no requests of such a version share runs.
        """
        self._otherwise = otherwise or VersionPlan()
        self._plans: ByServable[VersionPlan] = ByServable()

    def set(self, servable: Servable, plan: VersionPlan) -> None:
        """Gives a version its plan, before its first request."""
        self._plans.set(servable, plan)

    def of(self, servable: Servable) -> VersionPlan:
        """The plan of a version."""
        return self._plans.get(servable) or self._otherwise
