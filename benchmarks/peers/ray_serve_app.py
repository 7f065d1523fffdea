"""Ray Serve in front of ONNX Runtime: a proxy process for HTTP and gRPC, and replicas that run the model.

MODEL_FILE=model.onnx WORKERS=1 python ray_serve_app.py 8000 9000

serves JSON on the first port and the Open Inference Protocol on the second, from a local cluster.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from typing import Any

import ray
from open_inference import infer_response, read_infer_request
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

    async def ModelInfer(self, request: bytes) -> Any:  # noqa: N802 - as the protocol calls it
        """A ModelInferRequest to a ModelInferResponse; what is wrong with it is an error of the call."""
        return infer_response(self._model.run(read_infer_request(request)))


def main() -> None:
    """Serves until SIGTERM."""
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=folder, logging_level="warning")
        serve.start(
            http_options={"host": "127.0.0.1", "port": int(sys.argv[1])},
            grpc_options={
                "port": int(sys.argv[2]),
                "grpc_servicer_functions": ["open_inference_service.add_to_server"],
            },
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
