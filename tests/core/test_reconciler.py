from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.core.ids import ServableId
from hotserve.core.reconciler import (
    Action,
    Announce,
    Aspired,
    Drained,
    Event,
    IllegalMove,
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
from hotserve.core.states import State, VersionStatus
from hotserve.errors import Internal, ServingError

START, LOADING, AVAILABLE, UNLOADING, END = State

V1, V2, V3 = (ServableId("m", number) for number in (1, 2, 3))
BAD = ServingError("no good")


def path(id: ServableId) -> Path:
    return Path("/models", id.name, str(id.version))


def aspire(*wanted: ServableId | AspiredVersion, name: str = "m") -> Aspired:
    return Aspired(name, tuple(w if isinstance(w, AspiredVersion) else AspiredVersion(w, path(w)) for w in wanted))


def with_content(id: ServableId, fingerprint: str) -> AspiredVersion:
    return AspiredVersion(id, path(id), fingerprint=fingerprint)


def incomplete(id: ServableId, waiting_for: str = "variables") -> AspiredVersion:
    return AspiredVersion(id, path(id), waiting_for=waiting_for)


def announce(id: ServableId, state: State, error: ServingError | None = None, waiting_for: str = "") -> Announce:
    return Announce(VersionStatus(id, state, error, waiting_for))


def load(id: ServableId) -> list[Action]:
    return [announce(id, LOADING), StartLoad(id, path(id))]


def publish(id: ServableId) -> list[Action]:
    return [Publish(id), announce(id, AVAILABLE)]


def withdraw(id: ServableId) -> list[Action]:
    return [announce(id, UNLOADING), Withdraw(id)]


def after(*events: Event, retries: int = 0) -> Reconciler:
    """A reconciler to which all this has happened."""
    reconciler = Reconciler(retries)
    for event in events:
        reconciler.handle(event)
    return reconciler


def states(reconciler: Reconciler, name: str = "m") -> dict[int, State]:
    return {status.id.version: status.state for status in reconciler.status(name)}


# One version.


def test_an_aspired_version_is_announced_and_loads_at_once() -> None:
    assert Reconciler().handle(aspire(V1)) == [announce(V1, START), *load(V1)]


def test_a_loaded_version_is_published_before_it_is_announced_available() -> None:
    assert after(aspire(V1)).handle(Loaded(V1)) == [Publish(V1), announce(V1, AVAILABLE)]


def test_a_version_is_announced_unloading_before_it_is_withdrawn() -> None:
    assert after(aspire(V1), Loaded(V1)).handle(aspire()) == [announce(V1, UNLOADING), Withdraw(V1)]


def test_a_withdrawn_version_unloads_when_it_is_drained_and_not_before() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire())
    assert states(reconciler) == {1: UNLOADING}
    assert reconciler.handle(Drained(V1)) == [StartUnload(V1)]
    assert states(reconciler) == {1: UNLOADING}
    assert reconciler.handle(Unloaded(V1)) == [announce(V1, END)]


def test_the_same_list_again_changes_nothing() -> None:
    events: list[Event] = [aspire(V1, V2), Loaded(V2), Loaded(V1)]
    assert all(after(*events[:count]).handle(aspire(V1, V2)) == [] for count in range(1, len(events) + 1))


def test_a_drained_report_is_acted_on_once() -> None:
    assert after(aspire(V1), Loaded(V1), aspire(), Drained(V1)).handle(Drained(V1)) == []


def test_a_drained_report_about_a_version_that_was_not_withdrawn_does_nothing() -> None:
    assert after(aspire(V1), Loaded(V1)).handle(Drained(V1)) == []


def test_a_version_drains_anew_in_its_next_life() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire(), Drained(V1), Unloaded(V1), aspire(V1), Loaded(V1), aspire())
    assert reconciler.handle(Drained(V1)) == [StartUnload(V1)]


# A swap.


def test_the_new_version_is_published_before_the_old_is_withdrawn() -> None:
    reconciler = after(aspire(V1), Loaded(V1))
    assert reconciler.handle(aspire(V2)) == [announce(V2, START), *load(V2)]
    assert reconciler.handle(Loaded(V2)) == [*publish(V2), *withdraw(V1)]
    assert reconciler.handle(Drained(V1)) == [StartUnload(V1)]
    assert reconciler.handle(Unloaded(V1)) == [announce(V1, END)]
    assert states(reconciler) == {1: END, 2: AVAILABLE}


def test_a_swap_back_to_a_lower_version_is_a_swap_like_any_other() -> None:
    reconciler = after(aspire(V2), Loaded(V2))
    assert reconciler.handle(aspire(V1)) == [announce(V1, START), *load(V1)]
    assert reconciler.handle(Loaded(V1)) == [*publish(V1), *withdraw(V2)]


def test_a_new_version_that_fails_leaves_the_old_one_serving() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire(V2))
    assert reconciler.handle(LoadFailed(V2, BAD)) == [announce(V2, END, BAD)]
    assert states(reconciler) == {1: AVAILABLE, 2: END}
    assert reconciler.is_settled("m")


def test_the_version_after_a_failed_one_replaces_the_old_one() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire(V2), LoadFailed(V2, BAD), aspire(V3))
    assert reconciler.handle(Loaded(V3)) == [*publish(V3), *withdraw(V1)]


def test_the_versions_of_a_model_load_one_after_the_other_the_highest_first() -> None:
    reconciler = Reconciler()
    assert reconciler.handle(aspire(V1, V2, V3)) == [*(announce(id, START) for id in (V1, V2, V3)), *load(V3)]
    assert reconciler.handle(Loaded(V3)) == [*publish(V3), *load(V2)]
    assert reconciler.handle(LoadFailed(V2, BAD)) == [announce(V2, END, BAD), *load(V1)]
    assert reconciler.handle(Loaded(V1)) == publish(V1)


def test_models_do_not_wait_for_each_other() -> None:
    other = ServableId("other", 1)
    assert after(aspire(V1)).handle(aspire(other, name="other")) == [announce(other, START), *load(other)]


def test_of_two_versions_that_leave_the_higher_bridges_the_gap() -> None:
    reconciler = after(aspire(V1, V2), Loaded(V2), Loaded(V1))
    assert reconciler.handle(aspire(V3)) == [announce(V3, START), *withdraw(V1), *load(V3)]
    assert reconciler.handle(Loaded(V3)) == [*publish(V3), *withdraw(V2)]


# A change of mind.


def test_an_empty_list_unloads_everything() -> None:
    reconciler = after(aspire(V1, V2, V3), Loaded(V3), Loaded(V2))
    assert reconciler.handle(aspire()) == [*withdraw(V2), *withdraw(V3)]
    assert reconciler.handle(Loaded(V1)) == [*publish(V1), *withdraw(V1)]
    for id in (V1, V2, V3):
        assert reconciler.handle(Drained(id)) == [StartUnload(id)]
        assert reconciler.handle(Unloaded(id)) == [announce(id, END)]
    assert states(reconciler) == {1: END, 2: END, 3: END}


def test_a_version_left_out_before_its_load_began_ends_without_loading() -> None:
    assert after(aspire(V1, V2)).handle(aspire(V2)) == [announce(V1, END)]


def test_a_version_left_out_while_it_loads_leaves_as_soon_as_it_is_loaded() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire(V1, V2))
    assert reconciler.handle(aspire(V1)) == []
    assert reconciler.handle(Loaded(V2)) == [*publish(V2), *withdraw(V2)]
    assert states(reconciler) == {1: AVAILABLE, 2: UNLOADING}


def test_a_version_left_out_while_it_loads_serves_until_its_replacement_is_available() -> None:
    reconciler = after(aspire(V1), aspire(V2))
    assert states(reconciler) == {1: LOADING, 2: START}
    assert reconciler.handle(Loaded(V1)) == [*publish(V1), *load(V2)]
    assert reconciler.handle(Loaded(V2)) == [*publish(V2), *withdraw(V1)]


def test_a_version_left_out_and_listed_again_while_it_loads_stays() -> None:
    reconciler = after(aspire(V1), aspire(), aspire(V1))
    assert reconciler.handle(Loaded(V1)) == publish(V1)


def test_a_version_listed_again_while_it_unloads_loads_anew_once_it_is_gone() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire())
    assert reconciler.handle(aspire(V1)) == []
    assert reconciler.handle(Drained(V1)) == [StartUnload(V1)]
    assert reconciler.handle(Unloaded(V1)) == [announce(V1, END), announce(V1, START), *load(V1)]


def test_a_version_listed_again_while_it_unloads_loads_from_the_new_place() -> None:
    moved = AspiredVersion(V1, Path("/elsewhere/1"))
    reconciler = after(aspire(V1), Loaded(V1), aspire(), aspire(moved), Drained(V1))
    assert StartLoad(V1, moved.path) in reconciler.handle(Unloaded(V1))


def test_a_version_listed_again_after_it_ended_loads_anew() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire(), Drained(V1), Unloaded(V1))
    assert reconciler.handle(aspire(V1)) == [announce(V1, START), *load(V1)]


def test_a_version_that_serves_is_not_loaded_again_when_its_files_change() -> None:
    # As TensorFlow Serving: versions are compared by number only.
    reconciler = after(aspire(with_content(V1, "a")), Loaded(V1))
    assert reconciler.handle(aspire(with_content(V1, "b"))) == []


# Failures.


def test_a_failed_version_is_tried_again_when_its_files_have_changed() -> None:
    reconciler = after(aspire(with_content(V1, "a")), LoadFailed(V1, BAD))
    assert reconciler.handle(aspire(with_content(V1, "b"))) == [announce(V1, START), *load(V1)]


def test_a_failed_version_is_not_tried_again_while_its_files_are_the_same() -> None:
    reconciler = after(aspire(with_content(V1, "a")), LoadFailed(V1, BAD))
    assert reconciler.handle(aspire(with_content(V1, "a"))) == []
    assert reconciler.status("m") == (VersionStatus(V1, END, BAD),)


def test_a_failed_version_is_tried_again_when_it_was_left_out_meanwhile() -> None:
    reconciler = after(aspire(with_content(V1, "a")), LoadFailed(V1, BAD), aspire())
    assert reconciler.handle(aspire(with_content(V1, "a"))) == [announce(V1, START), *load(V1)]


def test_files_that_changed_during_a_load_that_fails_are_tried_next() -> None:
    reconciler = after(aspire(with_content(V1, "a")), aspire(with_content(V1, "b")))
    assert reconciler.handle(LoadFailed(V1, BAD)) == [announce(V1, END, BAD), announce(V1, START), *load(V1)]
    assert reconciler.handle(aspire(with_content(V1, "b"))) == []


def test_a_failed_version_that_is_being_replaced_waits_until_its_files_are_complete() -> None:
    reconciler = after(aspire(with_content(V1, "a")), LoadFailed(V1, BAD))
    assert reconciler.handle(aspire(incomplete(V1))) == [announce(V1, START, waiting_for="variables")]
    assert reconciler.handle(aspire(with_content(V1, "b"))) == [announce(V1, START), *load(V1)]


def test_a_failed_version_keeps_its_error_when_it_is_left_out() -> None:
    assert after(aspire(V1), LoadFailed(V1, BAD), aspire()).status("m") == (VersionStatus(V1, END, BAD),)


def test_the_error_of_a_failed_version_is_gone_once_it_serves() -> None:
    reconciler = after(aspire(with_content(V1, "a")), LoadFailed(V1, BAD), aspire(with_content(V1, "b")), Loaded(V1))
    assert reconciler.status("m") == (VersionStatus(V1, AVAILABLE),)


def test_a_version_that_could_not_give_back_what_it_held_ends_with_the_error() -> None:
    stuck = Internal("still mapped")
    reconciler = after(aspire(V1), Loaded(V1), aspire(), Drained(V1))
    assert reconciler.handle(Unloaded(V1, stuck)) == [announce(V1, END, stuck)]


# Incomplete versions.


def test_an_incomplete_version_waits_and_says_for_what() -> None:
    reconciler = Reconciler()
    assert reconciler.handle(aspire(incomplete(V1))) == [announce(V1, START, waiting_for="variables")]
    assert reconciler.handle(aspire(incomplete(V1))) == []
    assert reconciler.handle(aspire(incomplete(V1, "assets"))) == [announce(V1, START, waiting_for="assets")]
    assert reconciler.is_settled("m")


def test_a_version_loads_once_it_is_complete() -> None:
    assert after(aspire(incomplete(V1))).handle(aspire(V1)) == [announce(V1, START), *load(V1)]


def test_an_incomplete_version_holds_back_no_complete_one() -> None:
    assert after(aspire(incomplete(V3))).handle(aspire(V1, V2, incomplete(V3)))[-2:] == load(V2)


def test_an_incomplete_version_does_not_replace_the_one_that_serves() -> None:
    reconciler = after(aspire(V1), Loaded(V1), aspire(incomplete(V2)))
    assert states(reconciler) == {1: AVAILABLE, 2: START}


def test_an_incomplete_version_that_is_left_out_ends_and_waits_for_nothing() -> None:
    assert after(aspire(incomplete(V1))).handle(aspire()) == [announce(V1, END)]


def test_a_version_that_has_become_incomplete_before_its_turn_does_not_load() -> None:
    reconciler = after(aspire(V1, V2), aspire(incomplete(V1), V2))
    assert reconciler.handle(Loaded(V2)) == publish(V2)


# What it tells.


def test_ended_versions_are_never_forgotten() -> None:
    reconciler = after(
        aspire(V1), Loaded(V1), aspire(V2), Loaded(V2), Drained(V1), Unloaded(V1), aspire(V3), Loaded(V3)
    )
    assert [(s.id.version, s.state) for s in reconciler.status("m")] == [(3, AVAILABLE), (2, UNLOADING), (1, END)]


def test_a_model_that_no_source_has_spoken_of_is_unknown_and_settled() -> None:
    reconciler = after(aspire(V1))
    assert reconciler.status("other") == ()
    assert reconciler.is_settled("other")
    assert reconciler.names() == ("m",)


def test_a_model_with_an_empty_list_is_known() -> None:
    assert after(aspire(name="z"), aspire(V1)).names() == ("m", "z")


@pytest.mark.parametrize(
    ("events", "settled"),
    [
        ([aspire(V1)], False),
        ([aspire(V1, V2), Loaded(V2)], False),
        ([aspire(V1), Loaded(V1)], True),
        ([aspire(V1), LoadFailed(V1, BAD)], True),
        ([aspire(V1), Loaded(V1), aspire()], False),
        ([aspire(V1), Loaded(V1), aspire(), Drained(V1)], False),
        ([aspire(V1), Loaded(V1), aspire(), Drained(V1), Unloaded(V1)], True),
    ],
)
def test_a_model_is_settled_when_nothing_is_under_way_or_about_to_be(events: list[Event], settled: bool) -> None:
    assert after(*events).is_settled("m") == settled


@pytest.mark.parametrize(
    ("events", "settled"),
    [
        ([aspire(incomplete(V1))], False),
        ([aspire(V1, incomplete(V2))], False),
        ([aspire(V1, incomplete(V2)), LoadFailed(V1, BAD)], False),
        ([aspire(V1, incomplete(V2)), Loaded(V1)], True),
        ([aspire(incomplete(V1)), aspire()], True),
        ([aspire(V1), LoadFailed(V1, BAD)], True),
        ([aspire(V1), Loaded(V1)], True),
        ([], True),
    ],
)
def test_the_patient_wait_for_an_incomplete_version_unless_another_one_serves(
    events: list[Event], settled: bool
) -> None:
    assert after(*events).is_settled("m", patient=True) == settled


def test_only_listed_versions_are_aspired() -> None:
    reconciler = after(aspire(V1), aspire(V2))
    assert [reconciler.is_aspired(id) for id in (V1, V2, V3, ServableId("other", 2))] == [False, True, False, False]


# Faults of whoever drives it.


@pytest.mark.parametrize("event", [Loaded(V1), LoadFailed(V1, BAD), Drained(V1), Unloaded(V1)])
def test_a_report_on_a_version_that_was_never_aspired_is_refused(event: Event) -> None:
    with pytest.raises(IllegalMove, match="never aspired"):
        Reconciler().handle(event)


@pytest.mark.parametrize("event", [Loaded(V1), LoadFailed(V1, BAD)])
def test_the_end_of_a_load_that_was_not_begun_is_refused(event: Event) -> None:
    with pytest.raises(IllegalMove, match="cannot go from AVAILABLE to"):
        after(aspire(V1), Loaded(V1)).handle(event)


def test_the_end_of_an_unload_that_was_not_begun_is_refused() -> None:
    with pytest.raises(IllegalMove, match="cannot go from AVAILABLE to END"):
        after(aspire(V1), Loaded(V1)).handle(Unloaded(V1))


# Attempts.


def test_a_load_that_fails_is_tried_again_after_a_pause_as_often_as_was_allowed() -> None:
    reconciler = after(aspire(V1), retries=2)
    for attempt in (1, 2):
        assert reconciler.handle(LoadFailed(V1, BAD)) == [announce(V1, LOADING, BAD), ScheduleRetry(V1, attempt)]
        assert reconciler.handle(RetryDue(V1, attempt)) == [StartLoad(V1, path(V1))]
    assert reconciler.handle(LoadFailed(V1, BAD)) == [announce(V1, END, BAD)]


def test_an_attempt_that_succeeds_leaves_nothing_of_the_failures_before_it() -> None:
    reconciler = after(aspire(V1), LoadFailed(V1, BAD), RetryDue(V1, 1), retries=1)
    assert reconciler.handle(Loaded(V1)) == publish(V1)


def test_a_version_between_two_attempts_holds_back_no_other_and_counts_as_settled() -> None:
    reconciler = after(aspire(V1, V2), retries=1)
    assert reconciler.handle(LoadFailed(V2, BAD))[2:] == load(V1)
    assert reconciler.handle(RetryDue(V2, 1)) == []  # one load at a time in a model
    assert reconciler.handle(Loaded(V1)) == [*publish(V1), StartLoad(V2, path(V2))]
    assert after(aspire(V1), LoadFailed(V1, BAD), retries=1).is_settled("m")


def test_a_version_that_is_not_aspired_any_more_is_not_tried_again() -> None:
    reconciler = after(aspire(V1), LoadFailed(V1, BAD), retries=1)
    assert reconciler.handle(aspire()) == [announce(V1, END, BAD)]
    assert reconciler.handle(RetryDue(V1, 1)) == []


def test_the_pause_of_an_earlier_life_does_not_cut_a_later_one_short() -> None:
    reconciler = after(aspire(V1), LoadFailed(V1, BAD), aspire(), aspire(V1), LoadFailed(V1, BAD), retries=1)
    assert reconciler.handle(RetryDue(V1, 1)) == []
    assert reconciler.handle(RetryDue(V1, 2)) == [StartLoad(V1, path(V1))]


def test_other_files_are_tried_at_once_and_count_as_a_new_beginning() -> None:
    reconciler = after(aspire(with_content(V1, "a")), LoadFailed(V1, BAD), retries=1)
    assert reconciler.handle(aspire(with_content(V1, "b"))) == [
        announce(V1, END, BAD),
        announce(V1, START),
        *load(V1),
    ]
    assert ScheduleRetry(V1, 2) in reconciler.handle(LoadFailed(V1, BAD))
