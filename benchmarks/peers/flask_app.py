"""Flask in front of ONNX Runtime, under gunicorn.

MODEL_FILE=model.onnx gunicorn flask_app:app --worker-class=gthread --threads=4 --workers=1
"""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from served_model import ServedModel

app = Flask(__name__)
model = ServedModel()


@app.get("/readyz")
def ready() -> dict[str, str]:
    """Answers as soon as the model is loaded."""
    return {"status": "ready"}


@app.post("/predict")
def predict() -> dict[str, list[Any]] | tuple[dict[str, str], int]:
    """`{"instances": [...]}` to `{"predictions": [...]}`."""
    try:
        return {"predictions": model.predict(request.get_json()["instances"])}
    except (ValueError, TypeError, KeyError) as error:
        return {"error": f'expected {{"instances": [rows]}}: {error}'}, 400
