"""The JSON body of a predict request.

Source: TensorFlow Serving `util/json_tensor.cc`, FillPredictRequestFromJson; `g3doc/api_rest.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hotserve.codecs.json_base64 import base64_text
from hotserve.codecs.json_debug import debug_string
from hotserve.codecs.json_tensor import MAX_RANK, array_of, read_array, read_elements, regular_array
from hotserve.codecs.json_value import JsonObject, JsonValue, printable
from hotserve.errors import InvalidArgument, ServingError
from hotserve.tensors import Array, DType, Signature, TensorSpec, shape_text


@dataclass(slots=True)
class PredictInputs:
    """What a predict request asks for. Nobody changes it; to be frozen would take three times as long, in each request.

    Attributes:
        inputs: Input alias -> array of the declared dtype. In the row format all have the same first dimension.
        row_format: Whether the request lists `instances` (and the answer `predictions`) rather than giving
            `inputs` by name (and getting `outputs`).
    """

    inputs: Mapping[str, Array]
    row_format: bool


def signature_name(document: JsonObject) -> str:
    """The signature that a request names; "" for the default one.

    Raises:
        InvalidArgument: The name is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgument(
            f"JSON Value: {debug_string(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return printable(name)


def decode_predict(document: JsonObject, signature: Signature, signature_name: str) -> PredictInputs:
    """Reads the tensors of a predict request.

    Args:
        document: The request body. `instances` is a list with one value, or one object of values by input name, for
            each row; `inputs` is the value of the only input, or an object of values by input name.
        signature: Which inputs there are, and their dtypes. Shapes are not compared with it.
        signature_name: The name as the request gave it, for messages.

    Returns:
        Every input of the signature.

    Raises:
        InvalidArgument: The body does not have this form, or a value does not fit (see `json_tensor.read_array`);
            in the row format that includes dtypes that JSON cannot express.
        Unimplemented: In the columnar format, JSON has no form for the dtype of an input.
    """
    if not signature.inputs:
        raise InvalidArgument(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    if "instances" in document:
        return PredictInputs(_from_instances(document, signature.inputs), row_format=True)
    if "inputs" in document:
        return PredictInputs(_from_inputs(document["inputs"], signature.inputs), row_format=False)
    raise InvalidArgument("Missing 'inputs' or 'instances' key")


def _from_inputs(value: JsonValue, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    if not isinstance(value, dict) or base64_text(value) is not None:
        if len(specs) > 1:
            raise InvalidArgument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {name: read_array(value, spec.dtype) for name, spec in specs.items()}
    for name in specs:
        if name not in value:
            raise InvalidArgument(f"Missing named input: {name} in 'inputs' object.")
    return {name: read_array(value[name], spec.dtype) for name, spec in specs.items()}


def _from_instances(document: JsonObject, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    rows = document["instances"]
    if "inputs" in document:
        raise InvalidArgument(
            f"JSON Value: {debug_string(document)} Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist "
        )
    if not isinstance(rows, list):
        raise InvalidArgument(f"JSON Value: {debug_string(document)} Expecting 'instances' to be an list/array")
    if not rows:
        raise InvalidArgument(f"JSON Value: {debug_string(document)} No values in 'instances' array")
    named = _is_named(rows[0])
    if not named and len(specs) > 1:
        raise InvalidArgument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    regular = _regular_rows(rows, specs, named)
    if regular is not None:
        return regular
    return _named_rows(rows, specs) if named else _plain_rows(rows, specs)


def _is_named(row: JsonValue) -> bool:
    """Whether a row gives values by input name. A base64 object is a value."""
    return isinstance(row, dict) and base64_text(row) is None


def _regular_rows(rows: list[JsonValue], specs: Mapping[str, TensorSpec], named: bool) -> dict[str, Array] | None:
    """The tensors, where all rows are alike and can be read at once; None where they need a closer look."""
    arrays: dict[str, Array] = {}
    if named and not all(isinstance(row, dict) and row.keys() == specs.keys() for row in rows):
        return None
    for name, spec in specs.items():
        values = [row[name] for row in rows if isinstance(row, dict)] if named else rows
        stacked = regular_array(values, spec.dtype)
        if stacked is None:
            return None
        arrays[name] = stacked
    return arrays


def _plain_rows(rows: list[JsonValue], specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    ((name, spec),) = specs.items()
    column = _Column(spec.dtype)
    for i, row in enumerate(rows):
        if _is_named(row):
            raise InvalidArgument(f"Expecting value/list but got object at item {i} of input list")
        try:
            column.add(row)
        except ServingError as error:
            raise InvalidArgument(f"Failed to process element: {i} of 'instances' list. Error: {error}") from error
    return {name: column.stacked()}


def _named_rows(rows: list[JsonValue], specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    columns = {name: _Column(spec.dtype) for name, spec in specs.items()}
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not _is_named(row):
            raise InvalidArgument(f"Expecting object but got list at item {i} of input list")
        members: JsonObject = {}
        for key, value in row.items():
            # The original reads names as C strings.
            members.setdefault(key.partition("\0")[0], value)
        for name, value in members.items():
            try:
                _column(columns, name).add(value)
            except ServingError as error:
                raise InvalidArgument(
                    f"Failed to process element: {i} key: {printable(name)} of 'instances' list. Error: {error}"
                ) from error
        if members.keys() != columns.keys():
            raise InvalidArgument(
                f"Failed to process element: {i} of 'instances' list. JSON object: {debug_string(row)} keys must "
                f"be equal to: {','.join(sorted(columns))}"
            )
    return {name: column.stacked() for name, column in columns.items()}


class _Column:
    """The values of one input, row by row."""

    def __init__(self, dtype: DType) -> None:
        self._dtype = dtype
        self._rows = 0
        self._shape: tuple[int, ...] = ()
        self._leaves: list[Any] = []

    def add(self, value: JsonValue) -> None:
        """Adds a row; the first one sets the shape of all."""
        row = read_elements(value, self._dtype, MAX_RANK - 1)
        if self._rows == 0:
            self._shape = row.shape
        elif len(row.leaves) * self._rows != len(self._leaves):
            raise InvalidArgument(
                f"Expecting tensor size: {len(self._leaves) // self._rows} but got: {len(row.leaves)}"
            )
        elif row.shape != self._shape:
            raise InvalidArgument(f"Expecting shape {shape_text(self._shape)} but got: {shape_text(row.shape)}")
        self._leaves += row.leaves
        self._rows += 1

    def stacked(self) -> Array:
        """All rows as one array, with a dimension for the rows in front."""
        return array_of(self._leaves, self._dtype, (self._rows, *self._shape))


def _column(columns: Mapping[str, _Column], name: str) -> _Column:
    column = columns.get(name)
    if column is None:
        raise InvalidArgument(f"JSON object: does not have named input: {printable(name)}")
    return column
