"""Recorded requests as JSON lines: protobuf's own JSON of `PredictionLog`, with the names of the .proto file.

protobuf's writer takes 3 us for each number, which a log of images cannot afford, and writes the largest float so that
its own reader refuses it. The numbers of tensors are therefore written here, into the same JSON.

Source: ProtoJSON, https://protobuf.dev/programming-guides/json/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from google.protobuf import json_format

from hotserve.codecs.json_numbers import float_texts
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import PredictionLog, TensorProto
from hotserve.protos.pool import POOL
from hotserve.tensors import DType

_LARGEST_FLOAT: Final = float(np.finfo(np.float32).max)


def json_line(record: bytes) -> bytes:
    """A serialized PredictionLog as a line of JSON, with its line break."""
    log = PredictionLog.FromString(record)
    # First taken out of the message, then put into the document that is made of the rest.
    numbers = [(*place, _take_numbers(tensor)) for *place, tensor in _tensors(log)]
    document = json_format.MessageToDict(log, preserving_proto_field_name=True, descriptor_pool=POOL)
    for side, field, alias, taken in numbers:
        if taken:
            document["predict_log"][side][field][alias].update(taken)
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def parse_json_line(line: bytes) -> PredictionLog:
    """Reads a line.

    Raises:
        InvalidArgument: It is no PredictionLog.
    """
    wanted = "Expected a tensorflow.serving.PredictionLog in protobuf's JSON."
    try:
        document = json.loads(line)
        if not isinstance(document, dict):
            raise InvalidArgument(f"This is no object. {wanted}")
        return json_format.ParseDict(document, PredictionLog(), descriptor_pool=POOL)
    except (json_format.ParseError, ValueError) as error:  # json's error and that of UTF-8 are ValueErrors
        raise InvalidArgument(f"{error}. {wanted}") from error


def _tensors(log: PredictionLog) -> Iterator[tuple[str, str, str, TensorProto]]:
    """The tensors of a predict record, each with the names that lead to it."""
    if log.WhichOneof("log_type") != "predict_log":
        return
    for alias, tensor in log.predict_log.request.inputs.items():
        yield "request", "inputs", alias, tensor
    for alias, tensor in log.predict_log.response.outputs.items():
        yield "response", "outputs", alias, tensor


def _take_numbers(tensor: TensorProto) -> dict[str, list[Any]]:
    """Field -> its values as JSON has them; these are cleared in the message."""
    taken = {}
    for field, convert in _CONVERSIONS.items():
        values = getattr(tensor, field)
        if values:
            converted = convert(values)
            if converted is not None:
                taken[field] = converted
                tensor.ClearField(field)
    return taken


def _floats(values: Iterable[float]) -> list[float] | None:
    array = np.array(values, np.float32)
    if not np.isfinite(array).all():
        # NaN and the infinities are texts in protobuf's JSON: the slow way knows.
        return None
    shortest = np.array(float_texts(array, DType.FLOAT), np.float64)
    # Nine digits of the largest float are more than it, and readers refuse that.
    numbers: list[float] = shortest.clip(-_LARGEST_FLOAT, _LARGEST_FLOAT).tolist()
    return numbers


def _doubles(values: Iterable[float]) -> list[float] | None:
    array = np.array(values, np.float64)
    return array.tolist() if np.isfinite(array).all() else None


def _texts(values: Iterable[int]) -> list[str]:
    """64-bit integers are texts in protobuf's JSON, because JavaScript's numbers end at 2^53."""
    return list(map(str, values))


_CONVERSIONS: Final[Mapping[str, Callable[[Any], list[Any] | None]]] = MappingProxyType(
    {
        "float_val": _floats,
        "double_val": _doubles,
        "int_val": list,
        "int64_val": _texts,
        "scomplex_val": _floats,
        "dcomplex_val": _doubles,
        "bool_val": list,
        "half_val": list,
        "uint32_val": list,
        "uint64_val": _texts,
    }
)
