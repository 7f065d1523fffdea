"""LitServe in front of ONNX Runtime: FastAPI processes that answer, and others that run the model.

MODEL_FILE=model.onnx WORKERS=1 python litserve_app.py 8000
"""

from __future__ import annotations

import os
import sys
from typing import Any

import litserve
from served_model import ServedModel


class Model(litserve.LitAPI):
    """Reads, runs and writes; LitServe calls the methods in this order."""

    def setup(self, device: str) -> None:
        self._model = ServedModel()

    # Without a type: LitServe makes of one what FastAPI is to read from the query.
    def decode_request(self, request, **kwargs: Any) -> Any:
        return self._model.arrays(request["instances"])

    def predict(self, x: Any, **kwargs: Any) -> Any:
        return self._model.run(x)

    def encode_response(self, output: Any, **kwargs: Any) -> Any:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    workers = int(os.environ.get("WORKERS", "1"))
    server = litserve.LitServer(
        Model(api_path="/predict"),
        accelerator="cpu",
        workers_per_device=workers,
        fast_queue=bool(int(os.environ.get("FAST_QUEUE", "1"))),
        healthcheck_path="/readyz",
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=workers,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
