"""What clients send to a server, and what it has to answer: one workload for each model, wire and form of the body."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from digits import MODEL_FILE, Floats, pixels, session
from large_inputs import PICTURE_SHAPE, pictures, texts
from made_models import ANSWERS, made_model
from numpy.typing import NDArray
from open_inference import INFER_METHOD, V2_DATATYPES, encode_infer_request, read_infer_response

from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.demo import MODEL_NAME as DIGITS
from hotserve.protos import messages
from hotserve.tensors import DType

Arrays = Mapping[str, NDArray[Any]]
"""Name of an input -> what goes in, the rows in the first dimension."""

PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"

JSON, PROTOBUF, NPY = "application/json", "application/x-protobuf", "application/x-npy"

PICTURE = "picture"
HALF_PLUS_TWO = "half_plus_two"
SLOW = "slow"
CONVNET = "convnet"
TRANSFORMER = "transformer"

V2 = "-v2"
"""What the name of a workload ends with if its requests are those of the Open Inference Protocol."""

SAVED_MODEL = "_saved_model"
"""What the name of a workload ends with if a SavedModel answers it, whose numbers are not those of the ONNX model."""

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
    """How requests and answers are written: inputs, model -> request; answer -> array; model -> path."""

    content_type: str
    write: Callable[[Arrays, str], bytes]
    read: Callable[[bytes], Floats]
    path: Callable[[str], str]


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
        if form not in _OVER_GRPC:
            raise ValueError(f"{name} is a form of REST")
        form = _OVER_GRPC[form]
    model, pairs = make(rows)
    examples = [Example(form.write(inputs, model), answer) for inputs, answer in pairs]
    return Workload(form.path(model), form.content_type, examples, form.read)


def requests_of(name: str) -> Sequence[Arrays]:
    """What goes into the model of a workload, one row each."""
    make, _ = WORKLOADS[name]
    return [inputs for inputs, _ in make(1)[1]]


Made = tuple[str, Sequence[tuple[Arrays, Floats]]]
"""The model, and what goes in with what comes out."""


def _digits(rows: int) -> Made:
    return DIGITS, _answered(MODEL_FILE, [{"image": image} for image in pixels(rows)])


def _half_plus_two(rows: int) -> Made:
    # Three numbers of the tutorial for each row; the first request is the tutorial's own.
    values = np.tile(np.array([1, 2, 5], np.float32), rows)
    return HALF_PLUS_TWO, [({"x": values}, values / 2 + 2)]


def _picture(rows: int) -> Made:
    values = np.random.default_rng(_SEED).random((rows, *PICTURE_SHAPE), np.float32)
    return PICTURE, [({"image": values}, values[:, 0, 0])]


def _slow(rows: int) -> Made:
    values = np.array([7], np.float32)
    return SLOW, [({"x": values}, values)]


def _convnet(rows: int) -> Made:
    return CONVNET, _answered(_model_file(CONVNET), pictures(rows))


def _transformer(rows: int) -> Made:
    return TRANSFORMER, _answered(_model_file(TRANSFORMER), texts(rows))


def _saved_convnet(rows: int) -> Made:
    return CONVNET, _kept(CONVNET + SAVED_MODEL, pictures(rows), rows)


def _saved_transformer(rows: int) -> Made:
    return TRANSFORMER, _kept(TRANSFORMER + SAVED_MODEL, texts(rows), rows)


def _kept(name: str, requests: Sequence[Arrays], rows: int) -> Sequence[tuple[Arrays, Floats]]:
    """With the answers that were computed when the model was made, of one row each."""
    if rows != 1:
        raise ValueError(f"{name} has answers to one row only")
    answers = np.load(made_model(name) / ANSWERS)
    return [(inputs, answer[None]) for inputs, answer in zip(requests, answers, strict=True)]


def _model_file(name: str) -> Path:
    return made_model(name) / "1" / "model.onnx"


def _answered(model_file: Path, requests: Sequence[Arrays]) -> Sequence[tuple[Arrays, Floats]]:
    reference = session(model_file)
    return [(inputs, np.asarray(reference.run(None, dict(inputs))[0])) for inputs in requests]


def _write_json(inputs: Arrays, model: str) -> bytes:
    # With the spaces and all digits of each number: what `requests.post(url, json=...)` sends.
    return json.dumps({"instances": _instances(inputs)}).encode()


def _instances(inputs: Arrays) -> list[Any]:
    """Rows as the row form has them: the value of the only input, or a mapping with the value of each."""
    columns = {name: values.tolist() for name, values in inputs.items()}
    if len(columns) == 1:
        (instances,) = columns.values()
        return list(instances)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _read_json(body: bytes) -> Floats:
    return np.array(json.loads(body)["predictions"], np.float32)


def _write_message(inputs: Arrays, model: str) -> bytes:
    request = messages.PredictRequest()
    request.model_spec.name = model
    for name, values in inputs.items():
        dtype = DType.FLOAT if values.dtype == np.float32 else DType.INT64
        request.inputs[name].CopyFrom(encode_tensor(values, dtype))
    return bytes(request.SerializeToString())


def _read_message(message: bytes) -> Floats:
    outputs = messages.PredictResponse.FromString(message).outputs
    (name,) = outputs
    return np.asarray(decode_tensor(outputs[name]), np.float32)


def _write_npy(inputs: Arrays, model: str) -> bytes:
    file = io.BytesIO()
    (values,) = inputs.values()
    np.save(file, values)
    return file.getvalue()


def _read_npy(body: bytes) -> Floats:
    return np.asarray(np.load(io.BytesIO(body), allow_pickle=False), np.float32)


def _write_v2_json(inputs: Arrays, model: str) -> bytes:
    # One list of all values, row by row: what MLServer's own codec writes.
    parts = [
        {
            "name": name,
            "shape": values.shape,
            "datatype": V2_DATATYPES[values.dtype.name],
            "data": values.ravel().tolist(),
        }
        for name, values in inputs.items()
    ]
    return json.dumps({"inputs": parts}).encode()


def _read_v2_json(body: bytes) -> Floats:
    (output,) = json.loads(body)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def _write_v2_message(inputs: Arrays, model: str) -> bytes:
    return encode_infer_request(model, inputs)


def _read_v2_message(message: bytes) -> Floats:
    (output,) = read_infer_response(message).values()
    return np.asarray(output, np.float32)


def _predict_path(model: str) -> str:
    return f"/v1/models/{model}:predict"


_JSON = _Form(JSON, _write_json, _read_json, _predict_path)
_GRPC = _Form("application/grpc", _write_message, _read_message, lambda model: PREDICT_METHOD)
_PROTOBUF = _Form(PROTOBUF, _write_message, _read_message, _predict_path)
_NPY = _Form(NPY, _write_npy, _read_npy, _predict_path)
_V2_JSON = _Form(JSON, _write_v2_json, _read_v2_json, lambda model: f"/v2/models/{model}/infer")
_V2_GRPC = _Form("application/grpc", _write_v2_message, _read_v2_message, lambda model: INFER_METHOD)

_OVER_GRPC = {_JSON: _GRPC, _V2_JSON: _V2_GRPC}

WORKLOADS: Mapping[str, tuple[Callable[[int], Made], _Form]] = MappingProxyType(
    {
        "digits": (_digits, _JSON),
        "half_plus_two": (_half_plus_two, _JSON),
        "picture": (_picture, _JSON),
        "picture-protobuf": (_picture, _PROTOBUF),
        "picture-npy": (_picture, _NPY),
        "slow": (_slow, _JSON),
        "convnet": (_convnet, _JSON),
        "transformer": (_transformer, _JSON),
        "convnet_saved_model": (_saved_convnet, _JSON),
        "transformer_saved_model": (_saved_transformer, _JSON),
        "digits-v2": (_digits, _V2_JSON),
        "half_plus_two-v2": (_half_plus_two, _V2_JSON),
        "convnet-v2": (_convnet, _V2_JSON),
        "transformer-v2": (_transformer, _V2_JSON),
    }
)
"""By name: what makes it, and the form of its bodies over REST."""
