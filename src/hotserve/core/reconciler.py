"""The whole life cycle without a thread: events in, actions out.

Whoever drives it (core/manager.py) feeds one event at a time and carries out the actions it gets, in order. Nothing
here blocks, reads a clock or touches a servable, so that every order of events can be tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredVersion
from hotserve.core.states import LEGAL_MOVES, State, VersionStatus
from hotserve.core.transition_policy import Step, VersionSnapshot, preserve_availability
from hotserve.errors import ServingError


@dataclass(frozen=True, slots=True)
class Aspired:
    """A source has stated the aspired versions of a model."""

    name: str
    versions: tuple[AspiredVersion, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load ended well: the servable is warm, and nobody has seen it yet."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A load ended with an error."""

    id: ServableId
    error: ServingError


@dataclass(frozen=True, slots=True)
class Drained:
    """A withdrawn version has no lease left."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A version has given back what it held; `error` if it could not."""

    id: ServableId
    error: ServingError | None = None


Event = Aspired | Loaded | LoadFailed | Drained | Unloaded


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Load this version in the background; answer with `Loaded` or `LoadFailed`."""

    id: ServableId
    path: Path


@dataclass(frozen=True, slots=True)
class Publish:
    """Let look-ups find this version."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Hide this version from look-ups; answer with `Drained` when its last lease is gone."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class StartUnload:
    """Unload this version in the background; answer with `Unloaded`."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell whoever listens that a version has a new status."""

    status: VersionStatus


Action = StartLoad | Publish | Withdraw | StartUnload | Announce


class IllegalMove(AssertionError):
    """A move that the table of states does not have: a fault in the reconciler or in who drives it."""


@dataclass(slots=True)
class _Version:
    """What is known of one version."""

    id: ServableId
    path: Path
    fingerprint: str
    waiting_for: str
    aspired: bool = True
    state: State = State.START
    draining: bool = False
    error: ServingError | None = None

    def status(self) -> VersionStatus:
        waiting_for = self.waiting_for if self.state is State.START else ""
        return VersionStatus(self.id, self.state, self.error, waiting_for)


class Reconciler:
    """Keeps the state of every version ever seen and decides what happens next.

    Entries are never forgotten: an unloaded version stays listed as END, as TensorFlow Serving lists it.
    """

    def __init__(self) -> None:
        self._models: dict[str, dict[int, _Version]] = {}

    def handle(self, event: Event) -> list[Action]:
        """Takes one event and returns the actions that follow from it, to be carried out in order.

        A `Drained` without a `Withdraw` before it, or a second one after it, is ignored: nothing may be unloaded twice.

        Raises:
            IllegalMove: The event reports on a version that was never handed out for that.
        """
        match event:
            case Aspired(name, versions):
                actions = list(self._aspire(name, versions))
            case Loaded(id):
                version = self._find(id)
                # Published first and announced after it: whoever hears AVAILABLE can look it up.
                actions = [Publish(id), self._move(version, State.AVAILABLE)]
            case LoadFailed(id, error):
                version = self._find(id)
                version.error = error
                actions = [self._move(version, State.END)]
            case Drained(id):
                version = self._find(id)
                actions = [StartUnload(id)] if version.draining else []
                version.draining = False
            case Unloaded(id, unload_error):
                version = self._find(id)
                version.error = unload_error
                actions = [self._move(version, State.END)]
                if version.aspired:
                    # Asked for again while it was leaving: it loads anew, now that it is gone.
                    version.error = None
                    actions.append(self._move(version, State.START))
        name = event.name if isinstance(event, Aspired) else event.id.name
        return actions + self._advance(name)

    def status(self, name: str) -> tuple[VersionStatus, ...]:
        """The status of every version of a model ever seen, highest number first; empty for an unknown model."""
        versions = self._models.get(name, {})
        return tuple(versions[number].status() for number in sorted(versions, reverse=True))

    def names(self) -> tuple[str, ...]:
        """The models ever seen, sorted."""
        return tuple(sorted(self._models))

    def is_aspired(self, id: ServableId) -> bool:
        """Whether a source wants this version now."""
        version = self._models.get(id.name, {}).get(id.version)
        return version is not None and version.aspired

    def is_settled(self, name: str, *, patient: bool = False) -> bool:
        """Whether no version of a model is loading, unloading, or about to.

        Args:
            name: The model.
            patient: Whether to expect of a version that waits for its files that it will load yet, unless another
                one of the model serves.
        """
        versions = self._models.get(name, {}).values()
        serving = any(v.state is State.AVAILABLE for v in versions)
        return all(
            v.state in (State.AVAILABLE, State.END)
            or (v.state is State.START and v.waiting_for != "" and (serving or not patient))
            for v in versions
        )

    def _find(self, id: ServableId) -> _Version:
        try:
            return self._models[id.name][id.version]
        except KeyError:
            raise IllegalMove(f"an event about {id}, which was never aspired") from None

    def _move(self, version: _Version, state: State) -> Announce:
        if state not in LEGAL_MOVES[version.state]:
            raise IllegalMove(f"{version.id} cannot go from {version.state.name} to {state.name}")
        version.state = state
        return Announce(version.status())

    def _aspire(self, name: str, versions: Sequence[AspiredVersion]) -> Iterator[Action]:
        known = self._models.setdefault(name, {})
        wanted = {aspired.id.version: aspired for aspired in versions}
        new = {number for number in wanted if number not in known or not known[number].aspired}
        for number, version in known.items():
            version.aspired = number in wanted
            if not version.aspired and version.state is State.START:
                # Never acted on, so nothing has to be undone.
                version.waiting_for = ""
                yield self._move(version, State.END)
        for number in sorted(wanted):
            aspired = wanted[number]
            existing = known.get(number)
            if existing is None:
                known[number] = _Version(aspired.id, aspired.path, aspired.fingerprint, aspired.waiting_for)
                yield Announce(known[number].status())
            else:
                yield from self._renew(existing, aspired, again=number in new)

    def _renew(self, version: _Version, aspired: AspiredVersion, again: bool) -> Iterator[Action]:
        """Takes up what a source says of a version that was seen before; `again` if it was not aspired since."""
        if version.state in (State.LOADING, State.AVAILABLE):
            return  # As TensorFlow Serving: a version that serves is not loaded again from another place.
        changed = version.state is State.START and version.waiting_for != aspired.waiting_for
        retry = version.state is State.END and (again or version.fingerprint != aspired.fingerprint)
        version.path = aspired.path
        version.fingerprint = aspired.fingerprint
        version.waiting_for = aspired.waiting_for
        if retry:
            version.error = None
            yield self._move(version, State.START)
        elif changed:
            yield Announce(version.status())

    def _advance(self, name: str) -> list[Action]:
        """Takes every step of one model that can be taken now."""
        actions: list[Action] = []
        versions = self._models.get(name, {})
        while True:
            step = preserve_availability(
                VersionSnapshot(number, v.state, v.aspired, v.waiting_for == "") for number, v in versions.items()
            )
            match step:
                case None:
                    return actions
                case Step.LOAD, number:
                    version = versions[number]
                    actions += [self._move(version, State.LOADING), StartLoad(version.id, version.path)]
                case Step.UNLOAD, number:
                    version = versions[number]
                    # Announced first: nobody finds AVAILABLE in the status of a version that is hidden.
                    actions += [self._move(version, State.UNLOADING), Withdraw(version.id)]
                    version.draining = True
