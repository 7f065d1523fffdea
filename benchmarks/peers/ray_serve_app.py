"""Ray Serve in front of ONNX Runtime: a proxy process for HTTP, and replicas that run the model, on a local cluster.

MODEL_FILE=model.onnx WORKERS=1 python ray_serve_app.py 8000
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from typing import Any

import ray
from ray import serve
from served_model import ServedModel
from starlette.requests import Request
from starlette.responses import JSONResponse

WORKERS = int(os.environ.get("WORKERS", "1"))


@serve.deployment(
    num_replicas=WORKERS,
    max_ongoing_requests=64,
    ray_actor_options={"num_cpus": 0},
    logging_config={"enable_access_log": False, "log_level": "WARNING"},
)
class Model:
    """One replica."""

    def __init__(self) -> None:
        self._model = ServedModel()

    async def __call__(self, request: Request) -> dict[str, Any] | JSONResponse:
        """`{"instances": [...]}` to `{"predictions": [...]}`."""
        try:
            return {"predictions": self._model.predict((await request.json())["instances"])}
        except (ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": f'expected {{"instances": [rows]}}: {error}'}, status_code=400)


def main() -> None:
    """Serves until SIGTERM."""
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=folder, logging_level="warning")
        serve.start(
            http_options={"host": "127.0.0.1", "port": int(sys.argv[1])},
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )
        serve.run(Model.bind(), route_prefix="/predict")
        # After Ray has installed its own handlers.
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        stop.wait()
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
