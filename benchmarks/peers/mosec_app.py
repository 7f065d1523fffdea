"""mosec in front of ONNX Runtime: an HTTP server in Rust, and Python processes that run the model.

MODEL_FILE=model.onnx WORKERS=1 MAX_BATCH_SIZE=16 python mosec_app.py --address=127.0.0.1 --port=8000
"""

from __future__ import annotations

import os
from typing import Any

from mosec import Server, ValidationError, Worker
from served_model import ServedModel

MAX_BATCH_SIZE = int(os.environ.get("MAX_BATCH_SIZE", "1"))


class Model(Worker):
    """Runs the model; its process reads and writes JSON as well."""

    def __init__(self) -> None:
        super().__init__()
        self._model = ServedModel()

    def forward(self, data: Any) -> Any:
        """`{"instances": [...]}` to `{"predictions": [...]}`; a list of each where requests may share a run."""
        documents = data if MAX_BATCH_SIZE > 1 else [data]
        try:
            rows = [document["instances"] for document in documents]
            predictions = self._model.predict([row for instances in rows for row in instances])
        except (ValueError, TypeError, KeyError) as error:
            raise ValidationError(f'expected {{"instances": [rows]}}: {error}') from error
        answers = []
        start = 0
        for instances in rows:
            answers.append({"predictions": predictions[start : start + len(instances)]})
            start += len(instances)
        return answers if MAX_BATCH_SIZE > 1 else answers[0]


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Model,
        num=int(os.environ.get("WORKERS", "1")),
        max_batch_size=MAX_BATCH_SIZE,
        max_wait_time=int(os.environ.get("MAX_WAIT_MS", "0")),
    )
    server.run()
