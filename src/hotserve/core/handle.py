"""Leases: how a request holds on to a version so that it is not unloaded under it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from hotserve.core.ids import ServableId
from hotserve.core.servable import Servable


class VersionHandle:
    """Counts the leases on one loaded version, without a lock.

    `list.append`, `list.pop` and reading a flag are each atomic in CPython. `acquire` first counts itself and then
    looks whether the version is withdrawn; `withdraw` first sets the flag and then looks at the count. Whatever the
    order of two threads, at least one of them sees the other, so that no lease is handed out on a version that was
    reported as drained. Both may see that the last lease is gone; the one that gets the only token out of
    `_unreported` reports it, so that a late second report can never meet the next life of the same version.

    Attributes:
        id: The version.
        servable: What answers.
        remembered: What those who hold leases have worked out about the version; gone with it. They bound what they
            put there.
    """

    __slots__ = ("__weakref__", "_leases", "_on_drained", "_unreported", "_withdrawn", "id", "remembered", "servable")

    def __init__(self, id: ServableId, servable: Servable, on_drained: Callable[[ServableId], None]) -> None:
        self.id = id
        self.servable = servable
        self.remembered: dict[Any, Any] = {}
        self._on_drained = on_drained
        self._leases: list[None] = []
        self._unreported: list[None] = [None]
        self._withdrawn = False

    def acquire(self) -> Lease | None:
        """A lease, or None when the version has been withdrawn meanwhile: look it up anew."""
        self._leases.append(None)
        if self._withdrawn:
            self._release()
            return None
        return Lease(self)

    def _share(self) -> Lease:
        # Safe without looking at the flag: the lease that asks keeps the count above zero.
        self._leases.append(None)
        return Lease(self)

    def withdraw(self) -> None:
        """Hands out no further lease; reports the version as drained, once, when the last one is released."""
        self._withdrawn = True
        if not self._leases:
            self._report_drained()

    def _release(self) -> None:
        self._leases.pop()
        if self._withdrawn and not self._leases:
            self._report_drained()

    def _report_drained(self) -> None:
        try:
            self._unreported.pop()
        except IndexError:
            return  # Another thread has seen it too, and was first.
        self._on_drained(self.id)


class Lease:
    """One request's hold on a version; a context manager. Released once, when the answer is encoded.

    Attributes:
        id: The version that was resolved.
        servable: What answers.
        remembered: See `VersionHandle`; the same for all leases on the version.
    """

    __slots__ = ("_handle", "id", "remembered", "servable")

    def __init__(self, handle: VersionHandle) -> None:
        self._handle: VersionHandle | None = handle
        self.id = handle.id
        self.servable = handle.servable
        self.remembered = handle.remembered

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle._release()

    def share(self) -> Lease:
        """A second hold on the same version, released on its own; possible while this one is held.

        Raises:
            RuntimeError: This lease has been released.
        """
        if self._handle is None:
            raise RuntimeError(f"the lease on {self.id} has been released")
        return self._handle._share()

    def release(self) -> None:
        """Gives the version back; a second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle._release()
