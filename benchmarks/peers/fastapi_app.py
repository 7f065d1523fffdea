"""What people write when they have no model server: FastAPI in front of ONNX Runtime.

Two routes, because there are two schools. `/predict/typed` declares its body and answer with pydantic, as the model has
them, and runs in FastAPI's thread pool, as FastAPI's documentation has it for work that blocks. `/predict/plain` reads
the body with the standard library and runs the model on the event loop: about as fast as it gets without leaving
FastAPI. Both take `{"instances": [...]}` and answer `{"predictions": [...]}`.

    MODEL_FILE=model.onnx uvicorn fastapi_app:app --loop uvloop --http httptools --no-access-log
"""

# Without `from __future__ import annotations`: pydantic is to see the types that are made here.

from typing import Any

import onnxruntime
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, create_model
from served_model import ServedModel

_model = ServedModel()


def _nested(number: type, dimensions: int) -> Any:
    """The type of an array in JSON: lists of lists of numbers."""
    kind: Any = number
    for _ in range(dimensions):
        kind = list[kind]
    return kind


def _row_type() -> Any:
    """The type of a row: the value of the only input, or a model with the value of each."""
    values = {name: _nested(_model.numbers[name], rank - 1) for name, rank in _model.ranks.items()}
    if len(values) == 1:
        (value,) = values.values()
        return value
    return create_model("Row", **{name: (value, ...) for name, value in values.items()})


_Row = _row_type()
_Prediction = _nested(float, _model.output_rank - 1)


class PredictRequest(BaseModel):
    """Rows as the model takes them."""

    instances: list[_Row]


class PredictResponse(BaseModel):
    """What the model says to each."""

    predictions: list[_Prediction]


app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Answers as soon as the model is loaded."""
    return {"status": "ready"}


@app.post("/predict/typed")
def predict_typed(request: PredictRequest) -> PredictResponse:
    """Checks and converts through pydantic."""
    instances = request.instances
    if len(_model.ranks) > 1:
        instances = [row.model_dump() for row in instances]
    return PredictResponse(predictions=_model.predict(instances))


@app.post("/predict/plain")
async def predict_plain(request: Request) -> dict[str, list[Any]]:
    """Leaves the checks to numpy and ONNX Runtime."""
    try:
        return {"predictions": _model.predict((await request.json())["instances"])}
    except (ValueError, TypeError, KeyError, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument) as error:
        raise HTTPException(400, f'expected {{"instances": [rows]}}: {error}') from error
