"""A SavedModel whose signatures are each run by the engine that has been chosen for it, or by TensorFlow.

What an engine may not be given, and what it refuses, is run in TensorFlow, so that the answer and the words of an
error are TensorFlow's. That may take long: TensorFlow may have to be loaded first. So on the event loop such a run is
not begun, but asked for on a thread: see `core.servable.NeedsThread`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from hotserve.background import give_way
from hotserve.core.servable import NeedsThread, Servable
from hotserve.errors import InvalidArgument, ServingError
from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.engine import TENSORFLOW
from hotserve.platforms.engines.reference import Reference
from hotserve.platforms.engines.ways import Ways
from hotserve.platforms.memory import release_memory
from hotserve.tensors import Array, Signature

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """What runs one signature in place of TensorFlow.

    Attributes:
        ways: Its compiled forms, with the inputs that each may be given.
        reference_is_short: Whether TensorFlow runs the signature in a time that the event loop can wait for.
    """

    ways: Ways
    reference_is_short: bool = False

    @property
    def engine(self) -> str:
        """The name of the engine that runs what the signature declares."""
        return self.ways.first.engine


class FallBackCounter(Protocol):
    """Counts runs that went to TensorFlow although another engine serves the signature."""

    def __call__(self, signature_name: str, reason: str) -> None:
        """Counts one.

        Args:
            signature_name: The signature.
            reason: `outside` of what has been examined, or `refused` by the engine.
        """
        ...


def _count_nothing(signature_name: str, reason: str) -> None:
    """Where nobody counts."""


class SwitchingServable:
    """A loaded version; see `Servable`. `_served` is replaced as a whole, between runs.

    Attributes:
        findings: Signature name -> what was found out about it, for whoever asks; see `report`.
    """

    def __init__(
        self,
        signatures: Mapping[str, Signature],
        tags: Sequence[str],
        reference: Reference | None,
        served: Mapping[str, Served] = MappingProxyType({}),
        count_fall_back: FallBackCounter = _count_nothing,
    ) -> None:
        """Makes one.

        Args:
            signatures: Signature name -> signature.
            tags: The tags of the meta graph.
            reference: TensorFlow's session of the version; None where TensorFlow is not installed.
            served: Signature name -> what runs it in place of TensorFlow.
            count_fall_back: Told of runs that go to TensorFlow in spite of that.
        """
        self._signatures = MappingProxyType(dict(signatures))
        self._tags = tuple(tags)
        self._reference = reference
        self._served = dict(served)
        self._count_fall_back = count_fall_back
        self._on_unload: list[Callable[[], None]] = []
        self.findings: Mapping[str, Mapping[str, object]] = {}
        self.on_loop: Servable = _OnLoop(self)

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._signatures

    @property
    def saved_model_tags(self) -> tuple[str, ...]:
        """See `core.servable.saved_model_tags`."""
        return self._tags

    @property
    def engines(self) -> Mapping[str, str]:
        """Signature name -> the engine that runs it."""
        served = self._served
        return {name: served[name].engine if name in served else TENSORFLOW for name in self._signatures}

    @property
    def engine_report(self) -> Mapping[str, Mapping[str, object]]:
        """See `core.servable.engine_report`: what runs each signature, and what was found out about it."""
        findings = self.findings
        return {name: {"engine": engine, **findings.get(name, {})} for name, engine in self.engines.items()}

    def runtime_of(self, signature_name: str) -> str:
        """See `core.servable.runtime_of`."""
        served = self._served.get(signature_name)
        return served.engine if served is not None else "TF1"

    def is_prepared(self, signature_name: str) -> bool:
        """See `core.servable.is_prepared`: what an engine runs was warmed up before it was chosen."""
        return signature_name in self._served

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        served = self._served.get(signature_name)
        if served is None:
            return self._run_reference(signature_name, inputs, outputs)
        refusal: ServingError | None = None
        way = served.ways.find(inputs)
        if way is not None:
            try:
                return way.runner.run(inputs, outputs)
            except ServingError as error:
                refusal = error
        self._count_fall_back(signature_name, "outside" if refusal is None else "refused")
        if self._reference is None:
            if refusal is not None:
                raise InvalidArgument(refusal.message) from refusal
            return self._run_unexamined(served, inputs, outputs)
        return self._run_reference(signature_name, inputs, outputs)

    def run_on_loop(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """As `run`, but begins nothing that takes much longer than the chosen engine does.

        Raises:
            NeedsThread: It would have to.
        """
        served = self._served.get(signature_name)
        if served is None:
            if self._reference is not None and not self._reference.is_loaded:
                raise NeedsThread
            return self.run(signature_name, inputs, outputs)
        way = served.ways.find(inputs)
        if way is not None:
            try:
                return way.runner.run(inputs, outputs)
            except ServingError as error:
                logger.debug("%s refuses a request for signature %s: %s", way.engine, signature_name, error)
                raise NeedsThread from error
        reference = self._reference
        if served.reference_is_short and reference is not None and reference.is_loaded:
            self._count_fall_back(signature_name, "outside")
            return self._run_reference(signature_name, inputs, outputs)
        raise NeedsThread

    def switch(self, served: Mapping[str, Served]) -> None:
        """Has these signatures run by these engines from the next run on, and all others by TensorFlow."""
        self._served = dict(served)

    def let_reference_go(self) -> bool:
        """Closes TensorFlow's session, until it is needed again; blocks while it is used.

        Returns:
            Whether it is gone.
        """
        return self._reference is None or self._reference.let_go(_PATIENCE_SECONDS)

    def when_unloaded(self, callback: Callable[[], None]) -> None:
        """Has `callback` called at the unloading."""
        self._on_unload.append(callback)

    def unload(self) -> None:
        for callback in self._on_unload:
            callback()
        self._served = {}
        if self._reference is not None:
            self._reference.close()
        give_way()
        release_memory()

    def _run_reference(
        self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Array]:
        if self._reference is None:
            raise InvalidArgument(
                f"Signature {signature_name} cannot be run without TensorFlow, which is not installed here. Install it:"
                " pip install 'hotserve[tensorflow]'"
            )
        with self._reference.use() as reference:
            return reference.run(signature_name, inputs, outputs)

    def _run_unexamined(self, served: Served, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """What is done with inputs of a kind that was not compared with TensorFlow, where there is no TensorFlow."""
        way = served.ways.first
        domain = way.domain
        for alias, shape in domain.shapes.items():
            if not Domain({alias: shape}).contains(inputs):
                wanted = [-1 if size is None else size for size in shape]
                raise InvalidArgument(
                    f"Input {alias} has the shape {list(inputs[alias].shape)}. Expected {wanted}, without empty"
                    f" dimensions: {way.engine} has been tried with no other, and TensorFlow is not installed here."
                )
        for alias, bounds in domain.bounds.items():
            # Indices beyond a table give anything; floating-point numbers that are large, or NaN, only give less exact
            # answers.
            if inputs[alias].dtype.kind in "iu" and not Domain({}, {alias: bounds}).contains(inputs):
                raise InvalidArgument(
                    f"Input {alias} has values outside of [{bounds.lowest}, {bounds.highest}], which are all that"
                    " TensorFlow takes, or all that has been compared with its answers; it is not installed here."
                )
        return way.runner.run(inputs, outputs)


class _OnLoop:
    """A version as the event loop runs it."""

    def __init__(self, servable: SwitchingServable) -> None:
        self._servable = servable
        self.run = servable.run_on_loop
        self.runtime_of = servable.runtime_of

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._servable.signatures

    def unload(self) -> None:
        """Left to the version itself."""
