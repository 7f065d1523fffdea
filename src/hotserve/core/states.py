"""The states of a version, and the table of moves between them.

    START ──► LOADING ──► AVAILABLE ──► UNLOADING ──► END
      │          │                                     │
      └──────────┴──────────► END ◄────────────────────┘
                                └──► START   (aspired again, or its files have changed after a failure)

START covers a version that is known and not acted on, also one that waits until its folder is complete; END one
that is unloaded, or one that failed, with its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from hotserve.core.ids import ServableId
from hotserve.errors import ServingError


class State(IntEnum):
    """What clients see. The numbers are those of `ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


LEGAL_MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.START: frozenset({State.LOADING, State.END}),
        State.LOADING: frozenset({State.AVAILABLE, State.END}),
        State.AVAILABLE: frozenset({State.UNLOADING}),
        State.UNLOADING: frozenset({State.END}),
        State.END: frozenset({State.START}),
    }
)


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """The published status of one version, immutable.

    Attributes:
        id: Which version.
        state: Where in its life it is.
        error: Why it failed, in `State.END`; in `State.LOADING` why the last attempt did, where another one follows.
        waiting_for: What a version in `State.START` waits for, in words for the user; empty if for nothing.
    """

    id: ServableId
    state: State
    error: ServingError | None = None
    waiting_for: str = ""
