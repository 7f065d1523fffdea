"""What requests are resolved against: which versions answer now, and how every version stands.

Look-ups take no lock: they read `_serving`, a mapping that is replaced as a whole and never changed. Whoever owns the
life of the versions shows and hides them, one at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hotserve.core.events import EventBus
from hotserve.core.handle import Lease, VersionHandle
from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.core.states import State, VersionStatus
from hotserve.errors import NotFound


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which version of which model a request wants; with neither version nor label, the latest.

    Attributes:
        name: The model.
        version: Exactly this version.
        label: The version that this label stands for.
    """

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class _ServingVersions:
    """The versions of one model that look-ups may find; never changed, only replaced."""

    by_number: Mapping[int, VersionHandle]
    latest: VersionHandle


class ServedVersions(ABC):
    """What handlers know of versions: leases on those that answer, and the status of all.

    Attributes:
        events: Hears every change of state.
        labels: The version labels that `lease` resolves.
        era: As long as it is the same object, look-ups find the same. To be read before the look-up.
        problems: Model name -> why its storage cannot be used just now, in words for the user.
    """

    def __init__(self, events: EventBus | None = None, labels: Labels | None = None) -> None:
        self.events = events or EventBus()
        self.labels = labels or Labels()
        self.labels.on_change = self._begin_era
        self.problems: Callable[[], Mapping[str, str]] = dict
        self._serving: Mapping[str, _ServingVersions] = {}
        self._begin_era()

    def lease(self, spec: ModelSpec) -> Lease:
        """A hold on the version that `spec` names, for the time of one request.

        Raises:
            NotFound: The model, or the version, is not AVAILABLE.
            InvalidArgument: The label is not one of the model's.
        """
        while True:
            handle = self.find(spec)
            if handle is None:
                raise self._not_found(spec.name, self._number(spec))
            lease = handle.acquire()
            if lease is not None:
                return lease
            # Withdrawn between the look-up and the lease: the mapping has been replaced before that.

    def find(self, spec: ModelSpec) -> VersionHandle | None:
        """The version that `spec` names now; None where none answers to it. Whoever wants to run it acquires a lease.

        Raises:
            InvalidArgument: The label is not one of the model's.
        """
        number = spec.version if spec.label is None else self._number(spec)
        versions = self._serving.get(spec.name)
        if versions is None:
            return None
        return versions.latest if number is None else versions.by_number.get(number)

    def serves_any(self) -> bool:
        """Whether look-ups find a version of some model."""
        return bool(self._serving)

    def _number(self, spec: ModelSpec) -> int | None:
        return spec.version if spec.label is None else self.labels.resolve(spec.name, spec.label)

    @abstractmethod
    def status(self, name: str) -> tuple[VersionStatus, ...]:
        """The status of every version of a model ever seen, highest number first; empty for an unknown model."""

    @abstractmethod
    def model_names(self) -> tuple[str, ...]:
        """The models that a source has ever spoken of, sorted."""

    @abstractmethod
    def is_available(self, name: str) -> bool:
        """Whether some version of the model is AVAILABLE; no longer so from the moment its UNLOADING is announced."""

    def _show(self, handle: VersionHandle) -> None:
        current = self._serving.get(handle.id.name)
        shown = {**(current.by_number if current else {}), handle.id.version: handle}
        self._set_serving(handle.id.name, shown)

    def _hide(self, id: ServableId) -> None:
        remaining = {v: h for v, h in self._serving[id.name].by_number.items() if v != id.version}
        self._set_serving(id.name, remaining)

    def _set_serving(self, name: str, by_number: Mapping[int, VersionHandle]) -> None:
        serving = {other: versions for other, versions in self._serving.items() if other != name}
        if by_number:
            serving[name] = _ServingVersions(by_number, by_number[max(by_number)])
        self._serving = serving
        self._begin_era()

    def _begin_era(self) -> None:
        self.era = object()

    def _not_found(self, name: str, number: int | None) -> NotFound:
        what = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        return NotFound(f"Servable not found for request: {what}{self._why_not_found(name, number)}")

    def _why_not_found(self, name: str, number: int | None) -> str:
        """What a user needs to know beyond the contract's words."""
        statuses = self.status(name)
        if not statuses:
            problem = self.problems().get(name)
            if problem:
                return f". {problem}"
            known = ", ".join(self.model_names()) or "none"
            return f". No versions of a model {name} have been found. Models: {known}."
        about = [s for s in statuses if number is None or s.id.version == number]
        if not about:
            available = ", ".join(str(s.id.version) for s in statuses if s.state is State.AVAILABLE) or "none"
            return f". Versions AVAILABLE: {available}."
        parts = []
        for status in about[:3]:
            detail = (str(status.error) if status.error else status.waiting_for).rstrip(".")
            parts.append(f"version {status.id.version} is {status.state.name}{': ' + detail if detail else ''}")
        return f". {'; '.join(parts)}."
