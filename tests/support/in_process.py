"""Everything between the wires and the servables in one process, on toy models, without a network."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hotserve.api.asgi import AsgiApp
from hotserve.api.exchange import GrpcRequest, RestRequest, RestResponse
from hotserve.api.grpc_reload import GrpcReload
from hotserve.api.grpc_services import GrpcServices
from hotserve.api.health_service import HealthService
from hotserve.api.rest import RestApi
from hotserve.batching.lane import QueueBounds
from hotserve.batching.options import ALONE, BatchRules
from hotserve.batching.plans import BatchPlans, VersionPlan
from hotserve.batching.scheduler import EngineThreads
from hotserve.config.model_config import ModelConfig
from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.core.manager import Manager
from hotserve.core.servable import Servable
from hotserve.core.source import AspiredVersion
from hotserve.errors import ServingError
from hotserve.handlers.health import Health
from hotserve.handlers.predict import Predict
from hotserve.handlers.reload_config import ConfigReloader
from hotserve.observability.metrics import Metrics
from hotserve.sources.static import StaticSource
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec
from hotserve.testing import FakeSource

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"

BASE_PATH = Path("/models")
PATIENCE = 30.0
"""Seconds until a test gives up; nothing takes that long unless it fails."""

Run = Callable[[str, Mapping[str, Array]], Mapping[str, Array]]


class ToyServable:
    """Signatures, and one function that answers for all of them."""

    def __init__(self, signatures: Mapping[str, Signature], run: Run) -> None:
        self._signatures = dict(signatures)
        self._run = run
        self.runs = 0
        self.unloaded = threading.Event()

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._signatures

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.runs += 1
        answer = self._run(signature_name, inputs)
        return {name: answer[name] for name in outputs}

    def unload(self) -> None:
        self.unloaded.set()


def adder(number: float) -> ToyServable:
    """`x`: float [?] to `y`, which is `x + number`."""
    x = TensorSpec(DType.FLOAT, (None,), "x:0")
    y = TensorSpec(DType.FLOAT, (None,), "y:0")
    return ToyServable(
        {DEFAULT_SIGNATURE: Signature({"x": x}, {"y": y})},
        lambda _, inputs: {"y": np.asarray(inputs["x"] + np.float32(number), np.float32)},
    )


def failing(error: Exception) -> ToyServable:
    """`x`: float [?]; every run raises `error`."""

    def run(signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        raise error

    x = TensorSpec(DType.FLOAT, (None,), "x:0")
    return ToyServable({DEFAULT_SIGNATURE: Signature({"x": x}, {"y": x})}, run)


class Gate:
    """Holds the runs of a servable back until `open`.

    Attributes:
        servable: `x`: float [?] to `y`, the same.
    """

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered = threading.Semaphore(0)
        x = TensorSpec(DType.FLOAT, (None,), "x:0")
        self.servable = ToyServable({DEFAULT_SIGNATURE: Signature({"x": x}, {"y": x})}, self._run)

    def open(self) -> None:
        self._open.set()

    def wait_entered(self) -> None:
        """Waits until one more run has begun."""
        assert self._entered.acquire(timeout=PATIENCE)

    def _run(self, signature_name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self._entered.release()
        assert self._open.wait(PATIENCE)
        return {"y": inputs["x"]}


@dataclass(frozen=True)
class GrpcAnswer:
    """What a call came to: bytes, or an error."""

    message: bytes
    error: ServingError | None


class InProcess:
    """Both APIs over a manager whose models are given as objects; a context manager."""

    def __init__(
        self,
        models: Mapping[str, Mapping[int, Servable]],
        *,
        labels: Mapping[str, Mapping[str, int]] | None = None,
        timeout_seconds: float | None = PATIENCE,
        max_message_bytes: int = 1 << 20,
        engine_threads: int = 2,
        rules: BatchRules = ALONE,
        clock: Callable[[], float] = time.perf_counter,
        bounds: QueueBounds | None = None,
    ) -> None:
        self._models = models
        resolver = Labels()
        for name, numbers in (labels or {}).items():
            resolver.configure(name, numbers)
        self.manager = Manager(lambda name: self, labels=resolver)
        self.source = FakeSource(self.manager, BASE_PATH)
        self.problems: dict[str, str] = {}
        self.metrics = Metrics()
        self.engine = EngineThreads(
            engine_threads, clock, plans=BatchPlans(VersionPlan(otherwise=rules)), metrics=self.metrics, bounds=bounds
        )
        self.health = Health(self.manager, list(models), lambda: self.problems)
        health_service = HealthService(self.health, self.manager.events)
        predict = Predict(self.engine)
        self.rest_api = RestApi(
            self.manager,
            predict,
            self.health,
            self.metrics,
            timeout_seconds=timeout_seconds,
            max_message_bytes=max_message_bytes,
            gatherer=self.engine,
        )
        versions = {
            name: [AspiredVersion(ServableId(name, number), BASE_PATH / name / str(number)) for number in numbers]
            for name, numbers in models.items()
        }
        configs = [ModelConfig(name, BASE_PATH / name, version_labels=(labels or {}).get(name, {})) for name in models]
        self.reloader = ConfigReloader(
            configs,
            {},
            lambda model: self,
            self.manager,
            StaticSource(self.manager, versions),
            self.health,
            lambda models: health_service.notify(),
        )
        reload = GrpcReload(self.reloader, self.metrics)
        self.grpc_services = GrpcServices(
            self.manager, predict, health_service, self.metrics, reload.reload_config, gatherer=self.engine
        )
        self.health_service = health_service
        self.app = AsgiApp(self.rest_api, self.grpc_services, max_message_bytes, lambda: self.health.stopping)

    def load(self, path: Path) -> Servable:
        """As a loader does: the servable, or the error, that the test gave for this version."""
        servable = self._models[str(path.parent.relative_to(BASE_PATH))][int(path.name)]
        if isinstance(servable, BaseException):
            raise servable
        return servable

    def serve(self, name: str, *versions: int) -> None:
        """Aspires these versions of a model, and waits until that is done."""
        self.source.aspire(name, *versions)
        assert self.manager.wait_settled([name], PATIENCE)

    def rest(self, method: str, path: str, body: Any = b"", **headers: str) -> RestResponse:
        """One REST exchange; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return asyncio.run(self.rest_api.handle(RestRequest(method, path, names, data)))

    def predict(self, path: str, body: Any) -> tuple[int, Any]:
        """The status and the document that answer a POST."""
        response = self.rest("POST", path, body)
        return response.status, json.loads(response.body)

    def call(self, path: str, message: Any, timeout_seconds: float | None = None) -> GrpcAnswer:
        """One unary call."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            return GrpcAnswer(asyncio.run(self.grpc_services.call(GrpcRequest(path, data, timeout_seconds))), None)
        except ServingError as error:
            return GrpcAnswer(b"", error)

    def __enter__(self) -> InProcess:
        for name, versions in self._models.items():
            self.serve(name, *versions)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.manager.close(PATIENCE)
        self.engine.close()


def error_text(response: RestResponse) -> str:
    """The message of an error response, which has the exact form of the contract."""
    document = json.loads(response.body)
    assert list(document) == ["error"]
    text: str = document["error"]
    assert response.content_type == "application/json"
    assert response.body.startswith(b'{\n    "error": "')
    assert response.body.endswith(b'"\n}')
    return text
