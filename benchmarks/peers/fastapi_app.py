"""What people write when they have no model server: FastAPI in front of ONNX Runtime.

Two routes, because there are two schools. `/predict/typed` declares its body and answer with pydantic and runs in
FastAPI's thread pool, as FastAPI's documentation has it for work that blocks. `/predict/plain` reads the body with the
standard library and runs the model, which takes a fraction of a millisecond, on the event loop: about as fast as it
gets without leaving FastAPI. Both take `{"instances": [...]}` and answer `{"predictions": [...]}`.

    MODEL_FILE=model.onnx uvicorn fastapi_app:app --loop uvloop --http httptools --no-access-log
"""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = int(os.environ.get("INTRA_OP_THREADS", "0"))
_session = onnxruntime.InferenceSession(os.environ["MODEL_FILE"], _options, providers=["CPUExecutionProvider"])
_input_name = _session.get_inputs()[0].name

app = FastAPI()


class PredictRequest(BaseModel):
    """Pictures: [rows, 28, 28, 1], from 0 to 1."""

    instances: list[list[list[list[float]]]]


class PredictResponse(BaseModel):
    """Probabilities: [rows, 10]."""

    predictions: list[list[float]]


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Answers as soon as the model is loaded."""
    return {"status": "ready"}


@app.post("/predict/typed")
def predict_typed(request: PredictRequest) -> PredictResponse:
    """Checks and converts through pydantic."""
    return PredictResponse(predictions=_run(np.array(request.instances, np.float32)))


@app.post("/predict/plain")
async def predict_plain(request: Request) -> dict[str, list[list[float]]]:
    """Leaves the checks to numpy and ONNX Runtime."""
    try:
        instances = (await request.json())["instances"]
        return {"predictions": _run(np.array(instances, np.float32))}
    except (ValueError, TypeError, KeyError, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument) as error:
        raise HTTPException(400, f'expected {{"instances": [rows, 28, 28, 1] numbers}}: {error}') from error


def _run(image: np.ndarray) -> list[list[float]]:
    probabilities: list[list[float]] = _session.run(None, {_input_name: image})[0].tolist()
    return probabilities
