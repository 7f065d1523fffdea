"""BentoML in front of ONNX Runtime.

MODEL_FILE=model.onnx WORKERS=1 bentoml serve bentoml_app:Model --port=8000
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
from served_model import ServedModel


@bentoml.service(
    workers=int(os.environ.get("WORKERS", "1")),
    logging={"access": {"enabled": False}},
    traffic={"timeout": 60},
)
class Model:
    """One worker process."""

    def __init__(self) -> None:
        self._model = ServedModel()

    @bentoml.api(route="/predict")
    def predict(self, instances: list[Any]) -> dict[str, list[Any]]:
        """`{"instances": [...]}` to `{"predictions": [...]}`."""
        try:
            return {"predictions": self._model.predict(instances)}
        except (ValueError, TypeError, KeyError) as error:
            raise bentoml.exceptions.BadInput(f'expected {{"instances": [rows]}}: {error}') from error
