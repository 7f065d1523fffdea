"""The requests of the digit benches, on either wire, and the right answers to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.demo import MODEL_BASE_PATH, MODEL_NAME, sample
from hotserve.protos import messages
from hotserve.tensors import DType

MODEL_FILE = MODEL_BASE_PATH / "1" / "model.onnx"

INTRA_OP_THREADS = 1
"""Threads of one run of the model, wherever it runs here: what hotserve gives an ONNX model unless told otherwise."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Example:
    """One request and its answer.

    Attributes:
        request: The body of an HTTP request, or a serialized PredictRequest.
        probabilities: [rows, 10], what the model says to it.
    """

    request: bytes
    probabilities: Floats


@dataclass(frozen=True, slots=True)
class Wire:
    """How requests and answers are written.

    Attributes:
        write: [rows, 28, 28, 1] pixels -> request.
        read: Answer -> [rows, 10] probabilities; raises ValueError, KeyError or TypeError for what is none.
    """

    write: Callable[[Floats], bytes]
    read: Callable[[bytes], Floats]


def session() -> onnxruntime.InferenceSession:
    """The bundled model in ONNX Runtime, without a server around it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = INTRA_OP_THREADS
    return onnxruntime.InferenceSession(str(MODEL_FILE), options, providers=["CPUExecutionProvider"])


def pixels(rows: int = 1) -> Sequence[Floats]:
    """The bundled digits, `rows` of them in each array: [rows, 28, 28, 1], from 0 to 1."""
    images = np.asarray(sample().images[..., np.newaxis] / 255, np.float32)
    return [images[i : i + rows] for i in range(0, len(images) - rows + 1, rows)]


def examples(wire: Wire, rows: int = 1) -> Sequence[Example]:
    """Requests with the bundled digits, and what ONNX Runtime alone answers to them."""
    reference = session()
    return [Example(wire.write(image), np.asarray(reference.run(None, {"image": image})[0])) for image in pixels(rows)]


def _write_rest(image: Floats) -> bytes:
    # With the spaces and all digits of each number: what `requests.post(url, json=...)` sends.
    return json.dumps({"instances": image.tolist()}).encode()


def _read_rest(body: bytes) -> Floats:
    return np.array(json.loads(body)["predictions"], np.float32)


def _write_grpc(image: Floats) -> bytes:
    request = messages.PredictRequest()
    request.model_spec.name = MODEL_NAME
    request.inputs["image"].CopyFrom(encode_tensor(image, DType.FLOAT))
    return bytes(request.SerializeToString())


def _read_grpc(message: bytes) -> Floats:
    response = messages.PredictResponse.FromString(message)
    return np.asarray(decode_tensor(response.outputs["probabilities"]), np.float32)


WIRES: Mapping[str, Wire] = MappingProxyType(
    {"rest": Wire(_write_rest, _read_rest), "grpc": Wire(_write_grpc, _read_grpc)}
)
