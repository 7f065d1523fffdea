"""The metrics of engines: what serves each signature, what was found out about it, and what went to TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hotserve.observability.instruments import CommonGauge, Counter
from hotserve.observability.metrics import Metrics
from hotserve.platforms.engines.engine import TENSORFLOW
from hotserve.platforms.engines.observer import UNVERIFIED, EngineObserver

if TYPE_CHECKING:
    from hotserve.platforms.engines.choice import Choice
    from hotserve.platforms.engines.findings import Examination


class EngineMetrics:
    """The metrics of all models."""

    def __init__(self, metrics: Metrics) -> None:
        """Adds them to those of the server."""
        of_signature = ("model_name", "version", "signature", "engine")
        self.info = CommonGauge("hotserve_engine_info", of_signature)
        self.verified = CommonGauge("hotserve_engine_verified", of_signature)
        self.seconds = CommonGauge("hotserve_engine_run_seconds", (*of_signature, "rows"))
        self.difference = CommonGauge("hotserve_engine_largest_difference", of_signature)
        self.examinations = Counter("hotserve_engine_examinations_total", ("model_name", "result"))
        self.fall_backs = Counter(
            "hotserve_engine_fall_backs_total", ("model_name", "version", "signature", "engine", "reason")
        )
        metrics.add_group((self.info, self.verified, self.seconds, self.difference, self.examinations, self.fall_backs))

    def of_model(self, name: str) -> EngineObserver:
        """What tells of one model."""
        return _ModelMetrics(self, name)


class _ModelMetrics:
    """See `EngineObserver`."""

    def __init__(self, metrics: EngineMetrics, model: str) -> None:
        self._metrics = metrics
        self._model = model
        self._engines: dict[tuple[str, str], str] = {}

    def examined(self, path: Path, result: str, seconds: float) -> None:
        self._metrics.examinations.add(self._model, result)

    def chosen(self, path: Path, choices: Mapping[str, Choice], examination: Examination) -> None:
        metrics, version = self._metrics, _version(path)
        self._forget(version)
        for name, choice in choices.items():
            self._engines[version, name] = choice.engine
            metrics.info.set(1, self._model, version, name, choice.engine)
            metrics.verified.set(choice.reason != UNVERIFIED, self._model, version, name, choice.engine)
            found = examination.signatures.get(name)
            if found is None:
                continue
            for rows, seconds in found.seconds.items():
                metrics.seconds.set(seconds, self._model, version, name, TENSORFLOW, str(rows))
            for engine, finding in found.engines.items():
                if finding.agrees or finding.differs:
                    metrics.difference.set(finding.absolute, self._model, version, name, engine)
                for rows, seconds in finding.seconds.items():
                    metrics.seconds.set(seconds, self._model, version, name, engine, str(rows))

    def fell_back(self, path: Path, signature_name: str, reason: str) -> None:
        version = _version(path)
        engine = self._engines.get((version, signature_name), "")
        self._metrics.fall_backs.add(self._model, version, signature_name, engine, reason)

    def unloaded(self, path: Path) -> None:
        version = _version(path)
        self._forget(version)
        for key in [key for key in self._engines if key[0] == version]:
            del self._engines[key]

    def _forget(self, version: str) -> None:
        metrics = self._metrics
        for instrument in (metrics.info, metrics.verified, metrics.seconds, metrics.difference):
            instrument.drop({"model_name": self._model, "version": version})


def _version(path: Path) -> str:
    """The version's number, as other metrics have it."""
    return str(int(path.name)) if path.name.isdecimal() else path.name
