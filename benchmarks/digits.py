"""The bundled digit model without a server, and the bundled digits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hotserve.demo import MODEL_BASE_PATH, sample

MODEL_FILE = MODEL_BASE_PATH / "1" / "model.onnx"

INTRA_OP_THREADS = 1
"""Threads of one run of the model, wherever it runs here: what hotserve gives an ONNX model unless told otherwise."""

Floats = NDArray[np.float32]


def session(model_file: Path = MODEL_FILE) -> onnxruntime.InferenceSession:
    """A model, the bundled one unless said otherwise, in ONNX Runtime, without a server around it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = INTRA_OP_THREADS
    return onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])


def pixels(rows: int = 1) -> Sequence[Floats]:
    """The bundled digits, `rows` of them in each array: [rows, 28, 28, 1], from 0 to 1."""
    images = np.asarray(sample().images[..., np.newaxis] / 255, np.float32)
    return [images[i : i + rows] for i in range(0, len(images) - rows + 1, rows)]
