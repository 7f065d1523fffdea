"""When the versions of one model change over: a pure function from where they are to the next step.

Source: AvailabilityPreservingPolicy and ResourcePreservingPolicy in tensorflow_serving/core/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

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
    return _load_one(known)


def preserve_resources(versions: Iterable[VersionSnapshot]) -> tuple[Step, int] | None:
    """The next step that never holds an old and a new version in memory at once.

    The old version is gone before a new one loads, and the model does not answer meanwhile; if the new one fails, it
    answers no more. Nothing is given up for a version that cannot be loaded yet, which the original would do.

    Args:
        versions: All versions of one model.

    Returns:
        The step and the number of the version that it concerns; None when there is nothing to do now.
    """
    known = list(versions)
    aspired = [v for v in known if v.aspired]
    leaving = [v.version for v in known if not v.aspired and v.state is State.AVAILABLE]
    hopeless = all((v.state is State.START and not v.loadable) or v.state is State.END for v in aspired)
    if leaving:
        return None if aspired and hopeless else (Step.UNLOAD, min(leaving))
    if any(not v.aspired and v.state in (State.LOADING, State.UNLOADING) for v in known):
        return None
    return _load_one(known)


TransitionPolicy = Callable[[Iterable[VersionSnapshot]], "tuple[Step, int] | None"]

TRANSITION_POLICIES: Mapping[str, TransitionPolicy] = MappingProxyType(
    {"availability_preserving": preserve_availability, "resource_preserving": preserve_resources}
)
"""The policies by the names that `--aspired_version_policy` takes."""


def _load_one(known: Iterable[VersionSnapshot]) -> tuple[Step, int] | None:
    """The highest version that can be loaded, unless one of the model is loading already."""
    known = list(known)
    waiting = [v.version for v in known if v.aspired and v.state is State.START and v.loadable]
    if waiting and not any(v.state is State.LOADING for v in known):
        return Step.LOAD, max(waiting)
    return None
