"""Inputs and records as requests of either API, in the forms that predict requests may have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from hotserve.api.exchange import JSON
from hotserve.api.predict_formats import NPY, NPZ, PROTOBUF, SIGNATURE_HEADER
from hotserve.codecs.json_replay import json_of, rest_call
from hotserve.codecs.npy import as_declared, write_npy, write_npz
from hotserve.codecs.tensor_proto import decode_tensor, serialize_tensor
from hotserve.errors import InvalidArgument
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.model import PREDICTION_SERVICE, Model
from hotserve.loadgen.target import Target, Wire
from hotserve.protos.messages import PredictionLog, PredictRequest
from hotserve.tensors import DEFAULT_SIGNATURE, NUMPY_OF, Array, DType, Signature, dtype_of_array


class Format(Enum):
    """The forms of predict requests over REST."""

    JSON = "json"
    PROTOBUF = "protobuf"
    NPY = "npy"


_METHODS: Final = {
    "predict_log": "Predict",
    "classify_log": "Classify",
    "regress_log": "Regress",
    "multi_inference_log": "MultiInference",
}


@dataclass(frozen=True, slots=True)
class RequestMaker:
    """Makes requests.

    Attributes:
        target: The server; its wire decides on the API.
        model: The model.
        form: The form of predict requests over REST.
    """

    target: Target
    model: Model
    form: Format = Format.JSON

    def of_inputs(self, inputs: Mapping[str, Array], signature_name: str, signature: Signature | None) -> Request:
        """A predict request.

        Args:
            inputs: Input -> array.
            signature_name: Which signature; empty for the default one.
            signature: The same; None where it is not known, and arrays are of the dtypes that they have.

        Raises:
            InvalidArgument: The form cannot carry an array.
        """
        if self.target.wire is Wire.GRPC or self.form is Format.PROTOBUF:
            message = self._message(inputs, signature_name, signature)
            if self.target.wire is Wire.GRPC:
                return Request(f"{PREDICTION_SERVICE}/Predict", message)
            return Request(self._path("predict"), message, PROTOBUF)
        if self.form is Format.NPY:
            headers = ((SIGNATURE_HEADER, signature_name),) if signature_name else ()
            if len(inputs) == 1:
                return Request(self._path("predict"), write_npy(next(iter(inputs.values()))), NPY, headers)
            return Request(self._path("predict"), write_npz(inputs), NPZ, headers)
        named = {"signature_name": signature_name} if signature_name else {}
        return self.of_json(json.dumps({**named, **_tensors(inputs)}).encode())

    def of_json(self, body: bytes, verb: str = "predict") -> Request:
        """A request over REST whose body is JSON already."""
        return Request(self._path(verb), body, JSON)

    def of_message(self, message: PredictRequest) -> Request:
        """A predict request that is a message already; it asks the model of this maker, whatever it names.

        Raises:
            InvalidArgument: A tensor cannot be read, or not be said in the form.
        """
        signature_name = message.model_spec.signature_name
        if self.target.wire is Wire.REST and self.form is Format.NPY:
            inputs = {alias: decode_tensor(proto) for alias, proto in message.inputs.items()}
            return self.of_inputs(inputs, signature_name, None)
        log = PredictionLog()
        log.predict_log.request.CopyFrom(message)
        return self.of_log(log)

    def of_log(self, log: PredictionLog) -> Request:
        """The request of a record; it asks the model of this maker, whatever the record names.

        Raises:
            ServingError: The API has no such request, or it cannot be said in the form.
        """
        kind = log.WhichOneof("log_type")
        if self.target.wire is Wire.REST and self.form is Format.JSON:
            call = rest_call(log)
            return self.of_json(call.body, call.verb)
        if kind not in _METHODS:
            raise InvalidArgument(f"{kind or 'a record without a request'} cannot be sent.")
        message = getattr(log, kind).request
        specs = [task.model_spec for task in message.tasks] if kind == "multi_inference_log" else [message.model_spec]
        for spec in specs:
            spec.CopyFrom(self.model.spec(spec.signature_name))
        if self.target.wire is Wire.GRPC:
            return Request(f"{PREDICTION_SERVICE}/{_METHODS[kind]}", message.SerializeToString())
        if kind != "predict_log":
            raise InvalidArgument(f"{kind} has no form but JSON over REST. Leave --format out, or use gRPC.")
        if self.form is Format.NPY:
            return self.of_message(message)
        return Request(self._path("predict"), message.SerializeToString(), PROTOBUF)

    def _path(self, verb: str) -> str:
        return f"{self.model.path(self.target.prefix)}:{verb}"

    def _message(self, inputs: Mapping[str, Array], signature_name: str, signature: Signature | None) -> bytes:
        request = PredictRequest(model_spec=self.model.spec(signature_name))
        for alias, array in inputs.items():
            request.inputs[alias].MergeFromString(serialize_tensor(array, _dtype(alias, array, signature)))
        return bytes(request.SerializeToString())


def check_inputs(inputs: Mapping[str, Array] | Array, signature: Signature, name: str) -> dict[str, Array]:
    """Gives arrays the names and the dtypes of a signature's inputs.

    Args:
        inputs: Input -> array, or one array for the only input.
        signature: The signature.
        name: Its name.

    Raises:
        InvalidArgument: The names are not those of the signature, or a dtype is of another kind.
    """
    expected = f"Expected the inputs of signature {name or DEFAULT_SIGNATURE}: {signature.describe_inputs()}."
    if not isinstance(inputs, Mapping):
        if len(signature.inputs) != 1:
            raise InvalidArgument(f"The data is one array without a name. {expected} Give all of them in an .npz file.")
        inputs = dict.fromkeys(signature.inputs, inputs)
    wanted = signature.inputs.keys() - signature.defaults.keys()
    if not wanted <= inputs.keys() or not inputs.keys() <= signature.inputs.keys():
        raise InvalidArgument(f"The data has {', '.join(sorted(inputs)) or 'no arrays'}. {expected}")
    return {alias: _cast(alias, array, signature, expected) for alias, array in inputs.items()}


def _cast(alias: str, array: Array, signature: Signature, expected: str) -> Array:
    spec = signature.inputs[alias]
    try:
        if spec.dtype is DType.STRING and array.dtype == object:
            return array
        return as_declared(array, spec.dtype).astype(NUMPY_OF[spec.dtype], casting="same_kind")
    except (KeyError, TypeError) as error:
        raise InvalidArgument(f"The data has {alias} of type {array.dtype}. {expected}") from error


def _dtype(alias: str, array: Array, signature: Signature | None) -> DType:
    if signature is not None and alias in signature.inputs:
        return signature.inputs[alias].dtype
    return dtype_of_array(array)


def _tensors(inputs: Mapping[str, Array]) -> dict[str, Any]:
    """The row format, which most clients use, where all inputs have the same number of rows; else the columnar one."""
    columns = {alias: json_of(alias, array) for alias, array in inputs.items()}
    rows = {len(array) if array.ndim else -1 for array in inputs.values()}
    if len(rows) != 1 or min(rows) < 1:
        return {"inputs": columns}
    if len(columns) == 1:
        return {"instances": next(iter(columns.values()))}
    return {"instances": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}
