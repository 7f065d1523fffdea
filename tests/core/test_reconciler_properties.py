from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hotserve.core.ids import ServableId
from hotserve.core.reconciler import (
    Action,
    Announce,
    Aspired,
    Drained,
    Event,
    Loaded,
    LoadFailed,
    Publish,
    Reconciler,
    RetryDue,
    ScheduleRetry,
    StartLoad,
    StartUnload,
    Unloaded,
    Withdraw,
)
from hotserve.core.source import AspiredVersion
from hotserve.core.states import LEGAL_MOVES, State
from hotserve.core.transition_policy import TransitionPolicy, preserve_availability, preserve_resources
from hotserve.errors import Internal, ServingError

MODELS = ("a", "b")


@dataclass(frozen=True)
class Content:
    """What a version folder holds: incomplete, or whole and good or bad. Its revision is its fingerprint."""

    revision: int
    good: bool = True
    complete: bool = True


Wanted = dict[int, Content]


class World:
    """Carries out actions as the manager does, but answers only when told to, and checks every step.

    The invariants, beside those that `_carry_out` states:

    - a model that look-ups have found once is found for as long as its aspired list is not empty, unless the policy
      saves resources: then no two versions are in memory of which one is not aspired when the other begins to load;
    - a load is tried again after its pause only, and no more often than was allowed;
    - the announced states move as the table says, START first;
    - each action is answered once, and none is given twice.
    """

    def __init__(self, retries: int = 0, policy: TransitionPolicy = preserve_availability) -> None:
        self.reconciler = Reconciler(retries, policy)
        self.retries = retries
        self.policy = policy
        self.pauses: list[RetryDue] = []
        self.attempts: dict[ServableId, int] = {}
        self.aspired: dict[str, Wanted] = {name: {} for name in MODELS}
        self.published: dict[str, set[int]] = {name: set() for name in MODELS}
        self.announced: dict[ServableId, State] = {}
        self.loading: dict[ServableId, bool] = {}
        self.draining: set[ServableId] = set()
        self.unloading: set[ServableId] = set()

    # What may happen.

    def aspire(self, name: str, wanted: Wanted) -> None:
        self.aspired[name] = wanted
        self._feed(Aspired(name, tuple(_describe(ServableId(name, v), content) for v, content in wanted.items())))

    def open_answers(self) -> list[Event]:
        """Every event that some action in the background may end with now."""
        return [
            *(Loaded(id) if good else LoadFailed(id, ServingError("bad")) for id, good in self.loading.items()),
            *(Drained(id) for id in sorted(self.draining)),
            *(Unloaded(id) for id in sorted(self.unloading)),
            *self.pauses,
        ]

    def answer(self, event: Event) -> None:
        match event:
            case Loaded(id) | LoadFailed(id, _):
                del self.loading[id]
            case Drained(id):
                self.draining.remove(id)
            case Unloaded(id, _):
                self.unloading.remove(id)
            case RetryDue(id, _):
                self.pauses.remove(event)
        self._feed(event)

    def repeat_drained(self, id: ServableId) -> None:
        """A report that concerns nothing, or nothing any more; one that is still owed stays owed."""
        if id in self.announced and id not in self.draining:
            assert self.reconciler.handle(Drained(id)) == []

    def settle(self) -> None:
        """All that is open ends; the sources say again what they said last, as pollers do; all of that ends, too."""
        for _ in range(2):
            while answers := self.open_answers():
                self.answer(answers[0])
            for name, wanted in self.aspired.items():
                self.aspire(name, wanted)
        assert not self.open_answers()

    # What follows.

    def _feed(self, event: Event) -> None:
        name = event.name if isinstance(event, Aspired) else event.id.name
        found_before = bool(self.published[name])
        for action in self.reconciler.handle(event):
            self._carry_out(action)
            if found_before and self.aspired[name] and self.policy is preserve_availability:
                assert self.published[name], f"{name} is not found any more after {action}"
            found_before = found_before or bool(self.published[name])

    def _carry_out(self, action: Action) -> None:
        match action:
            case ScheduleRetry(id, attempt):
                assert self.announced[id] is State.LOADING
                assert id.version in self.aspired[id.name]
                assert self.attempts[id] <= self.retries
                self.pauses.append(RetryDue(id, attempt))
            case StartLoad(id, path):
                assert self.announced[id] is State.LOADING
                self.attempts[id] = self.attempts.get(id, 0) + 1
                if self.policy is preserve_resources:
                    busy = self.published[id.name] | {
                        v.version for v in self.draining | self.unloading if v.name == id.name
                    }
                    assert busy <= self.aspired[id.name].keys()
                assert not any(other.name == id.name for other in self.loading), "one load at a time in a model"
                assert id not in self.draining | self.unloading, "the previous life has not ended"
                content = self.aspired[id.name][id.version]
                assert content.complete, "an incomplete version never loads"
                assert path == _path(id, content), "the load is of what the source said last"
                self.loading[id] = content.good
            case Publish(id):
                assert self.announced[id] is State.LOADING, "AVAILABLE is announced after the version is found"
                assert id.version not in self.published[id.name]
                self.published[id.name].add(id.version)
            case Withdraw(id):
                assert self.announced[id] is State.UNLOADING, "UNLOADING is announced before the version is hidden"
                assert id.version not in self.aspired[id.name], "an aspired version is never withdrawn"
                self.published[id.name].remove(id.version)
                self.draining.add(id)
            case StartUnload(id):
                assert self.announced[id] is State.UNLOADING
                assert id not in self.draining, "a version with leases is not unloaded"
                assert id not in self.unloading, "nothing is unloaded twice"
                self.unloading.add(id)
            case Announce(status):
                before = self.announced.get(status.id)
                if before is None:
                    assert status.state is State.START
                elif status.state is State.START and before is State.START:
                    assert not self.loading.get(status.id)  # only what it waits for has changed
                elif status.state is State.LOADING and before is State.LOADING:
                    assert status.error, "an attempt has failed"
                else:
                    assert status.state in LEGAL_MOVES[before]
                if status.state is State.START:
                    self.attempts[status.id] = 0
                if status.state is State.AVAILABLE:
                    assert status.id.version in self.published[status.id.name]
                if status.state is State.UNLOADING:
                    assert status.id.version in self.published[status.id.name]
                assert status.error is None or status.state in (State.LOADING, State.END)
                assert not status.waiting_for or status.state is State.START
                self.announced[status.id] = status.state


def _describe(id: ServableId, content: Content) -> AspiredVersion:
    if not content.complete:
        return AspiredVersion(id, _path(id, content), waiting_for="the rest")
    return AspiredVersion(id, _path(id, content), fingerprint=f"{content.revision} {content.good}")


def _path(id: ServableId, content: Content) -> Path:
    return Path("/models", id.name, str(id.version), f"{content.revision}-{content.good}-{content.complete}")


contents = st.builds(Content, st.integers(0, 2), st.booleans(), st.booleans())
aspirations = st.tuples(st.sampled_from(MODELS), st.dictionaries(st.integers(1, 4), contents, max_size=4))
choices = st.integers(0, 10)  # which of the open answers comes next
spurious = st.builds(ServableId, st.sampled_from(MODELS), st.integers(1, 4))
steps = st.lists(st.one_of(aspirations, choices, choices, spurious), max_size=40)


def run(world: World, todo: list[tuple[str, Wanted] | int | ServableId]) -> None:
    for step in todo:
        match step:
            case int():
                answers = world.open_answers()
                if answers:
                    world.answer(answers[step % len(answers)])
            case ServableId():
                world.repeat_drained(step)
            case name, wanted:
                world.aspire(name, wanted)


worlds = st.builds(World, st.integers(0, 2), st.sampled_from([preserve_availability, preserve_resources]))


@given(worlds, steps)
@settings(max_examples=600)
def test_no_order_of_events_breaks_an_invariant_or_keeps_a_model_from_settling(
    world: World, todo: list[tuple[str, Wanted] | int | ServableId]
) -> None:
    run(world, todo)
    world.settle()
    for name, wanted in world.aspired.items():
        assert world.reconciler.is_settled(name)
        statuses = {status.id.version: status for status in world.reconciler.status(name)}
        found = world.published[name]
        assert found == {version for version, status in statuses.items() if status.state is State.AVAILABLE}
        for version, content in wanted.items():
            if content.complete and content.good:
                assert version in found
            elif version not in found:
                # One that was good, or whole, when it loaded goes on serving, and everything else says what is wrong.
                assert statuses[version].error if content.complete else statuses[version].waiting_for
        leftovers = found - wanted.keys()
        if world.policy is preserve_availability:
            assert len(leftovers) <= (not found & wanted.keys() and bool(wanted)), (
                "kept only where nothing aspired serves"
            )
        ended = statuses.keys() - wanted.keys() - leftovers
        assert all(statuses[version].state is State.END for version in ended)


@given(worlds, steps)
@settings(max_examples=200)
def test_empty_lists_lead_to_the_end_of_every_version_from_anywhere(
    world: World, todo: list[tuple[str, Wanted] | int | ServableId]
) -> None:
    run(world, todo)
    seen = set(world.announced)
    for name in MODELS:
        world.aspire(name, {})
    world.settle()
    listed = [status for name in MODELS for status in world.reconciler.status(name)]
    assert {status.id for status in listed} == seen
    assert all(status.state is State.END for status in listed)


def test_an_unload_that_fails_holds_up_nothing() -> None:
    world = World()
    world.aspire("a", {1: Content(0)})
    world.answer(Loaded(ServableId("a", 1)))
    world.aspire("a", {2: Content(0)})
    world.answer(Loaded(ServableId("a", 2)))
    world.answer(Drained(ServableId("a", 1)))
    world.answer(Unloaded(ServableId("a", 1), Internal("still mapped")))
    world.aspire("a", {1: Content(0)})
    world.settle()
    assert world.published["a"] == {1}
