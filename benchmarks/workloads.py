"""What clients send to a server, and what it has to answer: one workload for each model, wire and form of the body."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from digits import Floats, pixels, session

from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.demo import MODEL_NAME as DIGITS
from hotserve.protos import messages
from hotserve.tensors import DType

PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"

JSON, PROTOBUF, NPY = "application/json", "application/x-protobuf", "application/x-npy"

PICTURE = "picture"
HALF_PLUS_TWO = "half_plus_two"
SLOW = "slow"

_SEED = 224


@dataclass(frozen=True, slots=True)
class Example:
    """One request and its answer.

    Attributes:
        request: The body of an HTTP request, or a serialized PredictRequest.
        answer: What the model says to it; its only output.
    """

    request: bytes
    answer: Floats


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one kind.

    Attributes:
        path: What to post to, or the full name of the method.
        content_type: Of the body of an HTTP request.
        examples: What is sent, in turns.
        read: Answer -> array; raises ValueError, KeyError or TypeError for what is none.
    """

    path: str
    content_type: str
    examples: Sequence[Example]
    read: Callable[[bytes], Floats]


@dataclass(frozen=True, slots=True)
class _Form:
    """How requests and answers are written: array, model, input -> request; answer -> array."""

    content_type: str
    write: Callable[[Floats, str, str], bytes]
    read: Callable[[bytes], Floats]


def workload(name: str, wire: str, rows: int = 1) -> Workload:
    """Makes requests and the right answers to them.

    Args:
        name: One of `WORKLOADS`.
        wire: `rest` or `grpc`.
        rows: Rows in each request, where the workload has them to choose.

    Raises:
        ValueError: The workload does not have this wire.
    """
    make, form = WORKLOADS[name]
    if wire == "grpc":
        if form is not _JSON:
            raise ValueError(f"{name} is a form of REST")
        form = _GRPC
    model, input_name, pairs = make(rows)
    path = PREDICT_METHOD if wire == "grpc" else f"/v1/models/{model}:predict"
    examples = [Example(form.write(request, model, input_name), answer) for request, answer in pairs]
    return Workload(path, form.content_type, examples, form.read)


Made = tuple[str, str, Sequence[tuple[Floats, Floats]]]
"""The model, its input, and what goes in with what comes out."""


def _digits(rows: int) -> Made:
    reference = session()
    return DIGITS, "image", [(image, np.asarray(reference.run(None, {"image": image})[0])) for image in pixels(rows)]


def _half_plus_two(rows: int) -> Made:
    # Three numbers of the tutorial for each row; the first request is the tutorial's own.
    values = np.tile(np.array([1, 2, 5], np.float32), rows)
    return HALF_PLUS_TWO, "x", [(values, values / 2 + 2)]


def _picture(rows: int) -> Made:
    values = np.random.default_rng(_SEED).random((rows, 224, 224, 3), np.float32)
    return PICTURE, "image", [(values, values[:, 0, 0])]


def _slow(rows: int) -> Made:
    values = np.array([7], np.float32)
    return SLOW, "x", [(values, values)]


def _write_json(values: Floats, model: str, input_name: str) -> bytes:
    # With the spaces and all digits of each number: what `requests.post(url, json=...)` sends.
    return json.dumps({"instances": values.tolist()}).encode()


def _read_json(body: bytes) -> Floats:
    return np.array(json.loads(body)["predictions"], np.float32)


def _write_message(values: Floats, model: str, input_name: str) -> bytes:
    request = messages.PredictRequest()
    request.model_spec.name = model
    request.inputs[input_name].CopyFrom(encode_tensor(values, DType.FLOAT))
    return bytes(request.SerializeToString())


def _read_message(message: bytes) -> Floats:
    outputs = messages.PredictResponse.FromString(message).outputs
    (name,) = outputs
    return np.asarray(decode_tensor(outputs[name]), np.float32)


def _write_npy(values: Floats, model: str, input_name: str) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _read_npy(body: bytes) -> Floats:
    return np.asarray(np.load(io.BytesIO(body), allow_pickle=False), np.float32)


_JSON = _Form(JSON, _write_json, _read_json)
_GRPC = _Form("application/grpc", _write_message, _read_message)
_PROTOBUF = _Form(PROTOBUF, _write_message, _read_message)
_NPY = _Form(NPY, _write_npy, _read_npy)

WORKLOADS: Mapping[str, tuple[Callable[[int], Made], _Form]] = MappingProxyType(
    {
        "digits": (_digits, _JSON),
        "half_plus_two": (_half_plus_two, _JSON),
        "picture": (_picture, _JSON),
        "picture-protobuf": (_picture, _PROTOBUF),
        "picture-npy": (_picture, _NPY),
        "slow": (_slow, _JSON),
    }
)
"""By name: what makes it, and the form of its bodies over REST."""
