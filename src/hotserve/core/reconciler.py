"""The whole life cycle without a thread: events in, actions out.

Whoever drives it (core/manager.py) feeds one event at a time and carries out the actions it gets, in order. Nothing
here blocks, reads a clock or touches a servable, so that every order of events can be tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredVersion
from hotserve.core.states import LEGAL_MOVES, State, VersionStatus
from hotserve.core.transition_policy import Step, TransitionPolicy, VersionSnapshot, preserve_availability
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
class RetryDue:
    """The pause after an attempt to load is over. Ignored when that attempt is not what the version waits on."""

    id: ServableId
    attempt: int


@dataclass(frozen=True, slots=True)
class Drained:
    """A withdrawn version has no lease left."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A version has given back what it held; `error` if it could not."""

    id: ServableId
    error: ServingError | None = None


Event = Aspired | Loaded | LoadFailed | RetryDue | Drained | Unloaded


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Load this version in the background; answer with `Loaded` or `LoadFailed`."""

    id: ServableId
    path: Path


@dataclass(frozen=True, slots=True)
class ScheduleRetry:
    """Let the pause between two attempts pass; answer with `RetryDue` of the same attempt."""

    id: ServableId
    attempt: int


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


Action = StartLoad | ScheduleRetry | Publish | Withdraw | StartUnload | Announce


class IllegalMove(AssertionError):
    """A move that the table of states does not have: a fault in the reconciler or in who drives it."""


class _Retry(Enum):
    """Where a version in LOADING stands between two attempts."""

    NONE = "an attempt is under way, or it is not LOADING"
    PAUSED = "the pause after an attempt is passing"
    DUE = "the pause is over, and the next attempt begins when the policy says so"


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
    retries_left: int = 0
    attempt: int = 0
    retry: _Retry = _Retry.NONE
    said_meanwhile: AspiredVersion | None = None

    def status(self) -> VersionStatus:
        waiting_for = self.waiting_for if self.state is State.START else ""
        return VersionStatus(self.id, self.state, self.error, waiting_for)

    def snapshot(self) -> VersionSnapshot:
        """What the policy sees: a version between two attempts holds nothing and keeps no other from loading."""
        state = {_Retry.NONE: self.state, _Retry.PAUSED: State.END, _Retry.DUE: State.START}[self.retry]
        return VersionSnapshot(self.id.version, state, self.aspired, self.waiting_for == "")


class Reconciler:
    """Keeps the state of every version ever seen and decides what happens next.

    Entries are never forgotten: an unloaded version stays listed as END, as TensorFlow Serving lists it.
    """

    def __init__(self, max_load_retries: int = 0, policy: TransitionPolicy = preserve_availability) -> None:
        """Makes a reconciler without models.

        Args:
            max_load_retries: How often a load that has failed is tried again.
            policy: When the versions of a model change over.
        """
        self._max_load_retries = max_load_retries
        self._policy = policy
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
                version.error = None
                # Published first and announced after it: whoever hears AVAILABLE can look it up.
                actions = [Publish(id), self._move(version, State.AVAILABLE)]
            case LoadFailed(id, error):
                version = self._find(id)
                version.error = error
                newer, version.said_meanwhile = version.said_meanwhile, None
                if version.aspired and newer is not None and newer.fingerprint != version.fingerprint:
                    # What has failed is no longer what is there.
                    actions = [self._move(version, State.END), *self._renew(version, newer, again=False)]
                elif version.aspired and version.retries_left > 0:
                    version.retries_left -= 1
                    version.attempt += 1
                    version.retry = _Retry.PAUSED
                    actions = [Announce(version.status()), ScheduleRetry(id, version.attempt)]
                else:
                    actions = [self._move(version, State.END)]
            case RetryDue(id, attempt):
                version = self._find(id)
                actions = []
                if version.retry is _Retry.PAUSED and version.attempt == attempt:
                    version.retry = _Retry.DUE
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
                    version.retries_left = self._max_load_retries
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
        """Whether no version of a model is loading, unloading, or about to; a pause between two attempts counts.

        Args:
            name: The model.
            patient: Whether to expect of a version that waits for its files that it will load yet, unless another
                one of the model serves.
        """
        versions = self._models.get(name, {}).values()
        serving = any(v.state is State.AVAILABLE for v in versions)
        return all(
            v.state in (State.AVAILABLE, State.END)
            or v.retry is _Retry.PAUSED
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
            elif not version.aspired and version.retry is not _Retry.NONE:
                version.retry = _Retry.NONE
                yield self._move(version, State.END)
        for number in sorted(wanted):
            aspired = wanted[number]
            existing = known.get(number)
            if existing is None:
                known[number] = _Version(
                    aspired.id,
                    aspired.path,
                    aspired.fingerprint,
                    aspired.waiting_for,
                    retries_left=self._max_load_retries,
                )
                yield Announce(known[number].status())
            else:
                yield from self._renew(existing, aspired, again=number in new)

    def _renew(self, version: _Version, aspired: AspiredVersion, again: bool) -> Iterator[Action]:
        """Takes up what a source says of a version that was seen before; `again` if it was not aspired since."""
        if version.retry is not _Retry.NONE and (version.fingerprint != aspired.fingerprint or aspired.waiting_for):
            # Other files: what has been said of the old ones is over, and the attempts are counted anew.
            version.retry = _Retry.NONE
            yield self._move(version, State.END)
        if version.state is State.LOADING:
            version.said_meanwhile = aspired
        if version.state in (State.LOADING, State.AVAILABLE):
            return  # As TensorFlow Serving: a version that serves is not loaded again from another place.
        changed = version.state is State.START and version.waiting_for != aspired.waiting_for
        retry = version.state is State.END and (again or version.fingerprint != aspired.fingerprint)
        version.path = aspired.path
        version.fingerprint = aspired.fingerprint
        version.waiting_for = aspired.waiting_for
        if retry:
            version.error = None
            version.retries_left = self._max_load_retries
            yield self._move(version, State.START)
        elif changed:
            yield Announce(version.status())

    def _advance(self, name: str) -> list[Action]:
        """Takes every step of one model that can be taken now."""
        actions: list[Action] = []
        versions = self._models.get(name, {})
        while True:
            match self._policy(version.snapshot() for version in versions.values()):
                case None:
                    return actions
                case Step.LOAD, number:
                    version = versions[number]
                    if version.retry is _Retry.NONE:
                        actions.append(self._move(version, State.LOADING))
                    version.retry = _Retry.NONE
                    version.said_meanwhile = None
                    actions.append(StartLoad(version.id, version.path))
                case Step.UNLOAD, number:
                    version = versions[number]
                    # Announced first: nobody finds AVAILABLE in the status of a version that is hidden.
                    actions += [self._move(version, State.UNLOADING), Withdraw(version.id)]
                    version.draining = True
