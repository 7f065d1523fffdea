"""Recorded requests as REST requests, and recorded and new answers as arrays that can be compared.

Nothing is lost on the way: numbers are written with all their digits, and strings as base64 objects. What JSON cannot
express is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hotserve.codecs.json_base64 import base64_text, decode_base64
from hotserve.codecs.json_value import JsonObject
from hotserve.codecs.tensor_proto import decode_tensor
from hotserve.codecs.tf_example import examples_of
from hotserve.errors import InvalidArgument, Unimplemented
from hotserve.protos.messages import Example, Feature, Input, PredictionLog
from hotserve.tensors import Array

LABELS: Final = "labels"
SCORES: Final = "scores"
VALUES: Final = "values"
"""What the parts of a classify and of a regress answer are called here."""


@dataclass(frozen=True, slots=True)
class RestCall:
    """A request as REST has it.

    Attributes:
        verb: `predict`, `classify` or `regress`.
        body: JSON.
    """

    verb: str
    body: bytes


def rest_call(log: PredictionLog) -> RestCall:
    """Makes the REST request that asks the same as a recorded request.

    Raises:
        InvalidArgument: An input cannot be read, or is of a dtype or shape that JSON has no form for.
        Unimplemented: REST has no such kind of request.
    """
    match log.WhichOneof("log_type"):
        case "predict_log":
            request = log.predict_log.request
            inputs = {alias: json_of(alias, decode_tensor(proto)) for alias, proto in request.inputs.items()}
            return RestCall("predict", _body(request.model_spec.signature_name, {"inputs": inputs}))
        case "classify_log":
            classify = log.classify_log.request
            return RestCall("classify", _body(classify.model_spec.signature_name, _examples(classify.input)))
        case "regress_log":
            regress = log.regress_log.request
            return RestCall("regress", _body(regress.model_spec.signature_name, _examples(regress.input)))
        case kind:
            raise Unimplemented(f"{kind or 'a record without a request'} cannot be sent over REST")


def recorded_answer(log: PredictionLog) -> dict[str, Array]:
    """The answer of a record; none of its parts for a record of a request alone.

    Returns:
        For predict, output alias -> array. For classify `labels` and `scores`: [examples, classes]; for regress
        `values`: [examples].
    """
    match log.WhichOneof("log_type"):
        case "predict_log":
            return {alias: decode_tensor(proto) for alias, proto in log.predict_log.response.outputs.items()}
        case "classify_log":
            rows = [row.classes for row in log.classify_log.response.result.classifications]
            labels = [[c.label.encode() for c in row] for row in rows]
            return {LABELS: _strings(labels), SCORES: np.array([[c.score for c in row] for row in rows], np.float32)}
        case "regress_log":
            values = [entry.value for entry in log.regress_log.response.result.regressions]
            return {VALUES: np.array(values, np.float32)}
        case _:
            return {}


def answer_like(recorded: Mapping[str, Array], document: JsonObject) -> dict[str, Array]:
    """Reads a REST answer into arrays of the same names and dtypes as those of the record.

    Args:
        recorded: As `recorded_answer` gives it.
        document: The body of the answer to what `rest_call` made.

    Returns:
        Name -> array, for those names of `recorded` that the answer has; more are left out.

    Raises:
        InvalidArgument: The answer has no such form.
    """
    if "results" in document:
        return _results_like(recorded, document["results"])
    if "outputs" not in document:
        raise InvalidArgument(f"Expected the key outputs or results in the answer, and {list(document)} came.")
    outputs = document["outputs"]
    if not isinstance(outputs, dict) or base64_text(outputs) is not None:
        # The only output of a signature comes without its name.
        outputs = dict.fromkeys(recorded, outputs) if len(recorded) == 1 else {}
    return {alias: _array(alias, outputs[alias], array.dtype) for alias, array in recorded.items() if alias in outputs}


def _results_like(recorded: Mapping[str, Array], results: Any) -> dict[str, Array]:
    if VALUES in recorded:
        return {VALUES: _array(VALUES, results, np.dtype(np.float32))}
    try:
        return {
            LABELS: _strings([[pair[0] for pair in row] for row in results]),
            SCORES: _array(SCORES, [[pair[1] for pair in row] for row in results], np.dtype(np.float32)),
        }
    except (TypeError, IndexError, KeyError) as error:
        raise InvalidArgument("Expected lists of pairs of label and score in the answer to classify.") from error


def _body(signature_name: str, content: Mapping[str, Any]) -> bytes:
    named = {"signature_name": signature_name} if signature_name else {}
    return json.dumps({**named, **content}).encode()


def json_of(alias: str, array: Array) -> Any:
    """An array as JSON says it in a request: lists of numbers, or of base64 objects for strings.

    Args:
        alias: The input's name, for the error.
        array: Any shape.

    Raises:
        InvalidArgument: JSON has no form for it.
    """
    if array.size == 0 and array.ndim > 1:
        raise InvalidArgument(f"input {alias} has no elements and more than one dimension, which JSON cannot tell")
    if array.dtype.kind == "O":
        return _base64_objects(array.tolist())
    if array.dtype.kind in "biuf":
        return array.tolist()
    if array.dtype.kind == "V":  # the types of ml_dtypes
        return array.astype(np.float64).tolist()
    raise InvalidArgument(f"input {alias} is of type {array.dtype}, which JSON has no form for")


def _base64_objects(value: Any) -> Any:
    if isinstance(value, list):
        return [_base64_objects(item) for item in value]
    return {"b64": base64.b64encode(value).decode()}


def _examples(message: Input) -> dict[str, Any]:
    examples = [Example.FromString(data) for data in examples_of(message)]
    return {
        "examples": [
            {name: _feature(feature) for name, feature in example.features.feature.items()} for example in examples
        ]
    }


def _feature(feature: Feature) -> list[Any]:
    match feature.WhichOneof("kind"):
        case "bytes_list":
            return [_base64_objects(value) for value in feature.bytes_list.value]
        case "float_list":
            return list(feature.float_list.value)
        case "int64_list":
            return list(feature.int64_list.value)
        case _:
            return []


def _array(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "O":
        return _strings(value)
    try:
        return np.array(value, np.float64 if dtype.kind == "V" else dtype).astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"{name} of the answer cannot be read as {dtype}: {error}.") from error


def _strings(value: Any) -> Array:
    """An array of bytes from nested lists of bytes, texts and base64 objects."""
    shape: list[int] = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    leaves: list[bytes] = []
    _collect(value, leaves)
    array = np.empty(len(leaves), object)
    array[:] = leaves
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise InvalidArgument("Expected lists of equal lengths in the answer.") from error


def _collect(value: Any, leaves: list[bytes]) -> None:
    if isinstance(value, list):
        for item in value:
            _collect(item, leaves)
        return
    text = base64_text(value)
    if text is not None:
        leaves.append(decode_base64(text))
    elif isinstance(value, str | bytes):
        leaves.append(value.encode() if isinstance(value, str) else value)
    else:
        raise InvalidArgument(f"Expected a string in the answer, and {value!r} came.")
