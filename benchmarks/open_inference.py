"""The messages of the Open Inference Protocol over gRPC, as far as clients and servers of `ModelInfer` need them.

Needs nothing but numpy and protobuf, so that it can be imported wherever a peer is installed.

Source: the protocol's `open_inference_grpc.proto`; numbers and names of fields as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

INFER_METHOD = "/inference.GRPCInferenceService/ModelInfer"

V2_DATATYPES = {"float32": "FP32", "int64": "INT64"}
"""Name of numpy's dtype -> that of the protocol."""

_DTYPES = {"FP32": np.float32, "INT64": np.int64}

_Field = descriptor_pb2.FieldDescriptorProto
_TENSOR = {
    "name": (1, _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
    "datatype": (2, _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
    "shape": (3, _Field.TYPE_INT64, _Field.LABEL_REPEATED),
}
_TENSORS = (5, _Field.TYPE_MESSAGE, _Field.LABEL_REPEATED)
_MESSAGES = {
    "Tensor": _TENSOR,
    "ModelInferRequest": {
        "model_name": (1, _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
        "inputs": _TENSORS,
        "raw_input_contents": (7, _Field.TYPE_BYTES, _Field.LABEL_REPEATED),
    },
    "ModelInferResponse": {
        "outputs": _TENSORS,
        "raw_output_contents": (6, _Field.TYPE_BYTES, _Field.LABEL_REPEATED),
    },
}
"""Message -> field -> number, type, label."""


def encode_infer_request(model: str, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """Writes a ModelInferRequest, its tensors as raw bytes.

    Args:
        model: Its name.
        inputs: Name -> array of float32 or int64.
    """
    request = _REQUEST(model_name=model)
    for name, values in inputs.items():
        request.inputs.add(name=name, datatype=V2_DATATYPES[values.dtype.name], shape=values.shape)
        request.raw_input_contents.append(values.tobytes())
    return bytes(request.SerializeToString())


def read_infer_request(message: bytes) -> Mapping[str, NDArray[Any]]:
    """Reads a ModelInferRequest whose tensors are raw bytes: name -> array.

    Raises:
        ValueError: It is none.
        KeyError: A type is neither FP32 nor INT64.
    """
    request = _REQUEST.FromString(message)
    return {
        part.name: np.frombuffer(raw, _DTYPES[part.datatype]).reshape(tuple(part.shape))
        for part, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }


def infer_response(output: NDArray[np.float32]) -> Any:
    """A ModelInferResponse with one output, as raw bytes; a message of protobuf."""
    response = _RESPONSE()
    response.outputs.add(name="output", datatype=V2_DATATYPES[output.dtype.name], shape=output.shape)
    response.raw_output_contents.append(output.tobytes())
    return response


def read_infer_response(message: bytes) -> Mapping[str, NDArray[Any]]:
    """Reads a ModelInferResponse whose tensors are raw bytes: name -> array.

    Raises:
        ValueError: It is none.
        KeyError: A type is neither FP32 nor INT64.
    """
    response = _RESPONSE.FromString(message)
    return {
        output.name: np.frombuffer(raw, _DTYPES[output.datatype]).reshape(tuple(output.shape))
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def _message(name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package="inference", syntax="proto3")
    for message, fields in _MESSAGES.items():
        kind = file.message_type.add(name=message)
        for field, (number, type_, label) in fields.items():
            type_name = ".inference.Tensor" if type_ == _Field.TYPE_MESSAGE else None
            kind.field.add(name=field, number=number, type=type_, label=label, type_name=type_name)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))


_REQUEST, _RESPONSE = _message("ModelInferRequest"), _message("ModelInferResponse")
