"""When the versions of one model change over: a pure function from where they are to the next step.

Source: AvailabilityPreservingPolicy in tensorflow_serving/core/availability_preserving_policy.cc.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from hotserve.core.states import State


@dataclass(frozen=True, slots=True)
class VersionSnapshot:
    """What a policy may know of a version.

    Attributes:
        version: Its number.
        state: Its state.
        aspired: Whether the source wants it.
        loadable: Whether it is complete; only then may it leave `State.START`.
    """

    version: int
    state: State
    aspired: bool
    loadable: bool


class Step(Enum):
    """What to do with a version."""

    LOAD = "load"
    UNLOAD = "unload"


def preserve_availability(versions: Iterable[VersionSnapshot]) -> tuple[Step, int] | None:
    """The next step that keeps the model answering whenever it can.

    The old version serves until a new one is AVAILABLE; if the new one fails, the old one stays.

    Args:
        versions: All versions of one model.

    Returns:
        The step and the number of the version that it concerns; None when there is nothing to do now.
    """
    known = list(versions)
    aspired = [v for v in known if v.aspired]
    leaving = [v for v in known if not v.aspired and v.state is State.AVAILABLE]
    covered = not aspired or any(v.state is State.AVAILABLE for v in aspired)
    if leaving and (covered or len(leaving) > 1):
        return Step.UNLOAD, min(v.version for v in leaving)
    waiting = [v.version for v in aspired if v.state is State.START and v.loadable]
    if waiting and not any(v.state is State.LOADING for v in known):
        return Step.LOAD, max(waiting)
    return None
