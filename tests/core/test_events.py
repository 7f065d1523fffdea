from __future__ import annotations

import logging

import pytest

from hotserve.core.events import EventBus
from hotserve.core.ids import ServableId
from hotserve.core.states import State, VersionStatus

LOADING = VersionStatus(ServableId("m", 1), State.LOADING)
AVAILABLE = VersionStatus(ServableId("m", 1), State.AVAILABLE)


def test_every_listener_hears_every_status_in_order() -> None:
    bus = EventBus()
    first: list[VersionStatus] = []
    second: list[VersionStatus] = []
    bus.subscribe(first.append)
    bus.subscribe(second.append)
    bus.publish(LOADING)
    bus.publish(AVAILABLE)
    assert first == second == [LOADING, AVAILABLE]


def test_a_listener_hears_nothing_from_before_it_came_or_after_it_left() -> None:
    bus = EventBus()
    heard: list[VersionStatus] = []
    bus.publish(LOADING)
    unsubscribe = bus.subscribe(heard.append)
    bus.publish(AVAILABLE)
    unsubscribe()
    unsubscribe()
    bus.publish(LOADING)
    assert heard == [AVAILABLE]


def test_a_listener_that_leaves_takes_no_other_along() -> None:
    bus = EventBus()
    heard: list[VersionStatus] = []
    unsubscribe = bus.subscribe(lambda status: None)
    bus.subscribe(heard.append)
    unsubscribe()
    bus.publish(AVAILABLE)
    assert heard == [AVAILABLE]


def test_a_listener_may_leave_while_it_is_called() -> None:
    bus = EventBus()
    heard: list[VersionStatus] = []

    def once(status: VersionStatus) -> None:
        heard.append(status)
        unsubscribe()

    unsubscribe = bus.subscribe(once)
    bus.publish(LOADING)
    bus.publish(AVAILABLE)
    assert heard == [LOADING]


def test_a_listener_that_fails_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[VersionStatus] = []

    def broken(status: VersionStatus) -> None:
        raise RuntimeError("the loop is closed")

    bus.subscribe(broken)
    bus.subscribe(heard.append)
    with caplog.at_level(logging.ERROR):
        bus.publish(AVAILABLE)
    assert heard == [AVAILABLE]
    assert "A listener failed on {name: m version: 1} AVAILABLE" in caplog.text
    assert "the loop is closed" in caplog.text
