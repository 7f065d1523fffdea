"""What header blocks mean, for all connections of a wire: clients of the same kind begin with the same bytes.

What a block means, and what it leaves in the header table, follows from its bytes and from what the table held before.
A client of gRPC that connects sends what others have sent on theirs, so that its headers need not be unpacked again,
which takes longer than all else that a new connection and its first call cost. Here are bytes and what they mean, and
nothing that one client could learn of another: who is told of a block has sent it.

Source: RFC 7541, section 2.3, for the table.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

Head = TypeVar("Head")

_MOST_STATES: Final = 32
_MOST_BLOCKS: Final = 32
"""How many blocks are remembered for each state; clients choose both."""

_MOST_STEPS: Final = 4
"""How often the table of a connection may change and still be one of many: clients of gRPC have filled theirs by the
second call. Those that send another value with each call are on their own from then on, and states, which know of those
that follow, cannot make an endless chain."""

Entries = tuple[tuple[bytes, bytes], ...]
"""Names and values, those that came last first."""


class TableState(Generic[Head]):
    """What a header table of the size that is usual holds, and what blocks mean where it does.

    Attributes:
        entries: What it holds.
        steps: How often it has changed until then.
        known: Block -> the header that it is, and the state that follows: this one, one with more steps, or the first.
    """

    __slots__ = ("entries", "known", "steps")

    def __init__(self, entries: Entries, steps: int) -> None:
        self.entries = entries
        self.steps = steps
        self.known: dict[bytes, tuple[Head, TableState[Head]]] = {}


class KnownBlocks(Generic[Head]):
    """The states that tables are or were in.

    Attributes:
        empty: That of a table that nothing has come for.
    """

    __slots__ = ("_states", "empty")

    def __init__(self) -> None:
        """Knows of nothing."""
        self.empty: TableState[Head] = TableState((), 0)
        self._states: dict[tuple[int, Entries], TableState[Head]] = {}

    def state_after(self, before: TableState[Head], entries: Entries) -> TableState[Head] | None:
        """The state of a table that has changed.

        Args:
            before: Its state until now.
            entries: What it holds now.

        Returns:
            The state; None where it has changed too often to be like that of another client.
        """
        if not entries:
            return self.empty
        steps = before.steps + 1
        if steps > _MOST_STEPS:
            return None
        key = (steps, entries)
        state = self._states.get(key)
        if state is None:
            if len(self._states) >= _MOST_STATES:
                self._states.clear()
                self.empty.known.clear()
            state = self._states[key] = TableState(entries, steps)
        return state

    def remember(self, before: TableState[Head], block: bytes, head: Head, after: TableState[Head]) -> None:
        """Notes what a block has meant to a client."""
        known = before.known
        if len(known) >= _MOST_BLOCKS:
            known.clear()
        known[block] = head, after
