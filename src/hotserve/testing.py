"""Doubles for tests, ours and users': a loader and a source without files, frameworks or clocks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hotserve.core.ids import ServableId
from hotserve.core.servable import Servable
from hotserve.core.source import AspiredTarget, AspiredVersion
from hotserve.errors import ServingError
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec


class FakeServable:
    """Adds its version's number to `x`; counts its runs.

    Attributes:
        path: The folder that it was loaded from.
        runs: How often `run` was called.
        unloaded: Whether `unload` was called.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = float(path.name) if path.name.isdigit() else 0.0
        self.runs = 0
        self.unloaded = False

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """One signature, `x` to `y`, any number of floats."""
        spec = TensorSpec(DType.FLOAT, (None,))
        return {DEFAULT_SIGNATURE: Signature({"x": spec}, {"y": spec})}

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """`y = x + version`."""
        self.runs += 1
        return {"y": np.asarray(inputs["x"] + np.float32(self.number), np.float32)}

    def unload(self) -> None:
        """Remembers that it was called."""
        self.unloaded = True


class FakeLoader:
    """Loads `FakeServable`s; a test decides when each load ends, and how.

    Attributes:
        servables: What was loaded, by folder.
        started: The folders whose load has begun, in order.
    """

    def __init__(self, *, hold: bool = False) -> None:
        """Makes a loader.

        Args:
            hold: Loads wait until `finish` or `fail` names their folder.
        """
        self.servables: dict[Path, FakeServable] = {}
        self.started: list[Path] = []
        self._hold = hold
        self._errors: dict[Path, BaseException] = {}
        self._released: set[Path] = set()
        self._changed = threading.Condition()

    def load(self, path: Path) -> Servable:
        """See `Loader.load`."""
        with self._changed:
            self.started.append(path)
            self._changed.notify_all()
            if self._hold:
                self._changed.wait_for(lambda: path in self._released or path in self._errors)
            if path in self._errors:
                raise self._errors[path]
            self.servables[path] = FakeServable(path)
            return self.servables[path]

    def finish(self, path: Path) -> None:
        """Lets the load of this folder end well, now or when it comes; also one that failed, when it is tried again."""
        with self._changed:
            self._errors.pop(path, None)
            self._released.add(path)
            self._changed.notify_all()

    def fail(self, path: Path, error: BaseException | None = None) -> None:
        """Lets the load of this folder end with an error, now or when it comes."""
        with self._changed:
            self._errors[path] = error or ServingError("no good")
            self._changed.notify_all()

    def wait_started(self, path: Path, timeout_seconds: float = 10.0) -> bool:
        """Waits until the load of this folder has begun; returns whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: path in self.started, timeout_seconds)


class FakeSource:
    """Says what a test tells it to say."""

    def __init__(self, target: AspiredTarget, base_path: Path = Path("/models")) -> None:
        self._target = target
        self._base_path = base_path

    def path(self, name: str, version: int) -> Path:
        """The folder that this source gives for a version."""
        return self._base_path / name / str(version)

    def aspire(self, name: str, *versions: int, waiting: Mapping[int, str] | None = None) -> None:
        """States the aspired versions of a model; `waiting` says what some of them still lack."""
        reasons = waiting or {}
        self._target.set_aspired(
            name,
            [AspiredVersion(ServableId(name, v), self.path(name, v), waiting_for=reasons.get(v, "")) for v in versions],
        )


class FakeClock:
    """Seconds that pass only when a test says so."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds
