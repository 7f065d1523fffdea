"""Predict: run one signature of one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hotserve.core.handle import Lease
from hotserve.errors import Code, FailedPrecondition, InvalidArgument, ServingError
from hotserve.handlers.checks import INIT_OP_SIGNATURE, check_inputs, explain
from hotserve.tensors import Array, Signature


class Engine(Protocol):
    """Where servables run: `batching.scheduler.EngineThreads` for requests, the load thread for a warm-up."""

    async def run(
        self,
        lease: Lease,
        signature_name: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_seconds: float | None = None,
        api: str = "Predict",
    ) -> dict[str, Array]:
        """Runs one signature of the leased servable; see `EngineThreads.run`."""
        ...


class Predict:
    """Runs checked requests on the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(
        self,
        lease: Lease,
        signature_name: str,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_seconds: float | None,
        api: str = "Predict",
    ) -> dict[str, Array]:
        """Checks the arrays and runs the signature.

        Args:
            lease: The version to run; held by the caller until the answer is encoded.
            signature_name: What is called.
            signature: The signature of that name.
            inputs: Input alias -> array; all of the signature's, save those with defaults.
            outputs: The output aliases that are wanted, as `select_outputs` gives them.
            timeout_seconds: How long to wait; None for as long as it takes.
            api: What the client has called, for the metrics: `Predict`, `Classify`, `Regress` or `MultiInference`.

        Returns:
            Output alias -> array, exactly those of `outputs`.

        Raises:
            InvalidArgument: An array does not fit, or the engine refuses it.
            FailedPrecondition: The signature is the graph's own initialisation.
            DeadlineExceeded: The time is over.
        """
        if signature_name == INIT_OP_SIGNATURE:
            raise FailedPrecondition(f"{INIT_OP_SIGNATURE} initialises the graph and cannot be called.")
        filled = {**signature.defaults, **inputs} if signature.defaults else inputs
        try:
            check_inputs(signature, filled)
        except InvalidArgument as error:
            raise explain(error, signature_name, signature, filled) from error
        return await self.run_checked(lease, signature_name, signature, filled, outputs, timeout_seconds, api)

    async def run_checked(
        self,
        lease: Lease,
        signature_name: str,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        timeout_seconds: float | None,
        api: str = "Predict",
    ) -> dict[str, Array]:
        """Runs the signature on arrays that are known to pass the checks; for all else see `__call__`."""
        try:
            return await self._engine.run(lease, signature_name, inputs, outputs, timeout_seconds, api)
        except ServingError as error:
            if error.code in (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE):
                raise explain(error, signature_name, signature, inputs) from error
            raise
