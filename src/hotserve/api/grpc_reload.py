"""HandleReloadConfigRequest: an operator replaces the list of models.

Source: ModelServiceImpl::HandleReloadConfigRequest in tensorflow_serving/model_servers/model_service_impl.cc.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hotserve.api.exchange import GrpcRequest
from hotserve.api.grpc_calls import counted, parse
from hotserve.config.model_config import model_configs_from_proto
from hotserve.errors import Code, InvalidArgument, ServingError
from hotserve.handlers.reload_config import ConfigReloader, ModelOutcome, Outcome
from hotserve.observability.instruments import Counter, Instrument
from hotserve.observability.metrics import Metrics
from hotserve.protos import messages

MAX_WAIT_SECONDS = 600.0
"""How long a call without a deadline waits for new models to load."""


class GrpcReload:
    """Answers `HandleReloadConfigRequest`."""

    def __init__(
        self,
        reloader: ConfigReloader[Any],
        metrics: Metrics,
        read_metrics: Callable[[], Awaitable[Iterable[Instrument]]] | None = None,
    ) -> None:
        """Makes the method.

        Args:
            reloader: Applies the list of models.
            metrics: Counts calls.
            read_metrics: Reads the metrics whose increase the answer tells; those of `metrics` if it is not given.
        """
        self._reloader = reloader
        self._metrics = metrics
        self._read_metrics = read_metrics or metrics.read

    async def reload_config(self, request: GrpcRequest) -> bytes:
        """Replaces the list of models, and waits for the new ones; answers before the client's deadline.

        A model that waits for something (its folder, the rest of its files) is no failure: the answer is OK, and the
        `error_message` of its status names it. The original waits for such a model without end.

        Raises:
            InvalidArgument: The config is none that can be applied.
            FailedPrecondition: A label would move to a version that does not answer.
            ServingError: UNKNOWN; the list was applied, and new models have failed to load.
        """
        start = time.perf_counter()
        message = parse(messages.ReloadConfigRequest, request.message)
        with counted(self._metrics, "", "HandleReloadConfigRequest", start, request) as call:
            data = await self._reload(message, request.timeout_seconds)
            call.sent_bytes = len(data)
            return data

    async def _reload(self, message: messages.ReloadConfigRequest, timeout_seconds: float | None) -> bytes:
        if message.config.WhichOneof("config") != "model_config_list":
            raise InvalidArgument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently"
                " supported"
            )
        before = {counter.name: dict(counter.cells()) for counter in await self._counters()}
        change = self._reloader.apply(model_configs_from_proto(message.config, Path.cwd()))
        added = {model.name for model in change.added}
        names = [*sorted(added), *(pair.new.name for pair in change.changed)]
        outcomes = await self._reloader.outcomes(names, _wait_seconds(timeout_seconds))
        failed = [outcome for outcome in outcomes if outcome.outcome is Outcome.FAILED and outcome.name in added]
        if failed:
            raise ServingError(_failure_text(failed), Code.UNKNOWN)
        response = messages.ReloadConfigResponse()
        response.status.error_message = _waiting_text(outcomes)
        # Of each counter its first cell, which is all that the original looks at; any other name is told as 0.
        first_cells = {counter.name: cell for counter in await self._counters() for cell in list(counter.cells())[:1]}
        for name in message.metric_names:
            increase = 0
            if name in first_cells:
                labels, number = first_cells[name]
                increase = number - before[name].get(labels, 0)
            response.metric.add(name=name, int64_value_increase=increase)
        return bytes(response.SerializeToString())

    async def _counters(self) -> list[Counter]:
        return [metric for metric in await self._read_metrics() if isinstance(metric, Counter)]


def _wait_seconds(timeout_seconds: float | None) -> float:
    if timeout_seconds is None:
        return MAX_WAIT_SECONDS
    # The answer has to be back before the client's deadline; what has been done is done either way.
    margin = min(1.0, 0.2 * timeout_seconds)
    return min(MAX_WAIT_SECONDS, max(0.0, timeout_seconds - margin))


def _failure_text(failed: Sequence[ModelOutcome]) -> str:
    listed = "".join(f"{{{outcome.id} due to error: {outcome.error}}}, " for outcome in failed)
    return f"{len(failed)} model(s) did not become available: {{{listed}}}"


def _waiting_text(outcomes: Sequence[ModelOutcome]) -> str:
    waiting = [
        f"model {outcome.name}: {outcome.detail or outcome.error}".rstrip(".")
        for outcome in outcomes
        if outcome.outcome is not Outcome.AVAILABLE
    ]
    if not waiting:
        return ""
    text = f"The new config is applied. Not AVAILABLE yet: {'; '.join(waiting)}."
    # A file's name may be any bytes, and stand in the text.
    return text.encode("utf-8", "replace").decode()
