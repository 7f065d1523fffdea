"""Whether a server answers a request in the same way each time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from hotserve.api.predict_formats import NPY, NPZ, PROTOBUF
from hotserve.cli.comparison import Tolerance, differences
from hotserve.codecs.npy import ZIP_MAGIC, read_npy, read_npz
from hotserve.codecs.tensor_proto import decode_tensor
from hotserve.errors import ServingError
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.model import PREDICTION_SERVICE
from hotserve.protos.messages import PredictResponse
from hotserve.tensors import Array

_REMEMBERED = 256
_MAX_BYTES = 1 << 30


class SameAnswers:
    """Compares every answer with the first one to the same request. Can be handed to other processes."""

    def __init__(self, request: Request, tolerance: Tolerance) -> None:
        """Knows no answer yet.

        Args:
            request: One of the requests: it tells in which form answers come.
            tolerance: How far apart floating-point numbers may be; batches of other sizes round otherwise.
        """
        self._read = _reader(request)
        self._tolerance = tolerance
        self._first: dict[int, bytes] = {}
        self._same: dict[int, set[bytes]] = {}

    def __call__(self, number: int, body: bytes) -> str:
        """What is different about an answer to request `number`; empty for the first one, and if nothing is."""
        first = self._first.setdefault(number, body)
        same = self._same.setdefault(number, {first})
        if body in same:
            return ""
        try:
            found = self._difference(first, body)
        except (ServingError, DecodeError, ValueError) as error:
            found = f"{body[:100]!r} cannot be read: {error}"
        if not found and len(same) < _REMEMBERED:
            same.add(body)
        return found

    def _difference(self, first: bytes, body: bytes) -> str:
        if self._read is None:
            return _json_difference(json.loads(first), json.loads(body), self._tolerance, "the answer")
        was, now = self._read(first), self._read(body)
        if was.keys() != now.keys():
            return f"outputs are {', '.join(sorted(now))}; first were {', '.join(sorted(was))}"
        return "; ".join(f"{found.output} {found.text}" for found in differences(was, now, self._tolerance))


def _reader(request: Request) -> Callable[[bytes], Mapping[str, Array]] | None:
    """What reads answers as arrays; None where they are JSON."""
    if request.path == f"{PREDICTION_SERVICE}/Predict" or request.content_type == PROTOBUF:
        return _read_message
    if request.path.startswith(PREDICTION_SERVICE):
        return _read_whole
    return _read_numpy if request.content_type in (NPY, NPZ) else None


def _read_message(body: bytes) -> Mapping[str, Array]:
    return {alias: decode_tensor(proto) for alias, proto in PredictResponse.FromString(body).outputs.items()}


def _read_numpy(body: bytes) -> Mapping[str, Array]:
    return read_npz(body, _MAX_BYTES) if body.startswith(ZIP_MAGIC) else {"the only output": read_npy(body)}


def _read_whole(body: bytes) -> Mapping[str, Array]:
    """Answers of other methods have no arrays: their bytes are compared."""
    raise ValueError("its bytes are not those of the first answer")


def _json_difference(was: Any, now: Any, tolerance: Tolerance, place: str) -> str:
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        found = (
            _json_difference(a, b, tolerance, f"{place}[{i}]") for i, (a, b) in enumerate(zip(was, now, strict=True))
        )
        return next(filter(None, found), "")
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        found = (_json_difference(was[key], now[key], tolerance, f"{place}.{key}") for key in was)
        return next(filter(None, found), "")
    if was == now or (isinstance(was, float) and isinstance(now, float) and _is_close(was, now, tolerance)):
        return ""
    return f"{place} is {str(now)[:60]}, first was {str(was)[:60]}"


def _is_close(was: float, now: float, tolerance: Tolerance) -> bool:
    if math.isnan(was) or math.isnan(now):
        return math.isnan(was) and math.isnan(now)
    return abs(now - was) <= tolerance.absolute + tolerance.relative * abs(was)
