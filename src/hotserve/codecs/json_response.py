"""JSON answers: predictions and errors.

Source: TensorFlow Serving `util/json_tensor.cc`, MakeJsonFromTensors and MakeJsonFromStatus. The layout is that of
its row format; columns, which it spreads over a line for each number, are written without line breaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hotserve.codecs import compiled
from hotserve.codecs.compiled import LETTERS
from hotserve.codecs.json_base64 import base64_object
from hotserve.codecs.json_lists import PIECE_ELEMENTS, WRITTEN, nested, number_lists, number_pieces
from hotserve.codecs.json_tensor import MAX_RANK
from hotserve.codecs.json_text import quoted
from hotserve.codecs.json_value import printable
from hotserve.errors import InvalidArgument
from hotserve.tensors import Array, DType, dtype_of_array

_BYTES_SUFFIX: Final = "_bytes"


def encode_predictions(outputs: Mapping[str, Array], row_format: bool) -> bytes:
    """Writes the body that answers a predict request.

    Numbers are written as `json_numbers` says, NaN and Infinity bare. Strings are written as text; those of an output
    whose name ends with `_bytes` as base64 objects. So is a string that is no UTF-8, whatever the name: the original
    writes its bytes into the JSON, which few parsers take, and a base64 object loses nothing and is what a request
    would hold.

    Args:
        outputs: Output alias -> array. In the row format each has the rows as its first dimension.
        row_format: Whether to write `predictions`, one value for each row, or `outputs`, one for each alias.

    Returns:
        UTF-8 JSON. A single output is written without its name.

    Raises:
        InvalidArgument: There is no output, JSON has no form for the dtype of one, or rows are asked for and an
            output has none, or not as many as the others.
    """
    if not outputs:
        raise InvalidArgument("Cannot convert empty tensor map to JSON")
    if len(outputs) == 1:
        (array,) = outputs.values()
        code = LETTERS.get(array.dtype)
        if code is not None and compiled.IS_USED and 0 < array.ndim <= MAX_RANK and 0 < array.size <= PIECE_ELEMENTS:
            assert compiled.EXTENSION is not None
            return compiled.EXTENSION.answer_of_one(array.tobytes(), array.shape, code, row_format)
        if array.size > PIECE_ELEMENTS and array.dtype.kind in "fiub" and array.itemsize <= 8:
            return _many_numbers(array, row_format)
    text = _predictions(outputs) if row_format else _outputs(outputs)
    return text.encode()


def encode_rows(
    outputs: Mapping[str, Array], row_format: bool, starts: Sequence[int], counts: Sequence[int]
) -> list[bytes]:
    """Writes the bodies that answer several requests, whose rows stand in the same arrays.

    Args:
        outputs: Output alias -> array, each with the rows as its first dimension.
        row_format: As in `encode_predictions`.
        starts: Where the rows of each request begin.
        counts: How many it has, at least one.

    Raises:
        InvalidArgument: As `encode_predictions`.
    """
    if len(outputs) == 1 and compiled.IS_USED:
        (array,) = outputs.values()
        code = LETTERS.get(array.dtype)
        if code is not None and 0 < array.ndim <= MAX_RANK and 0 < array.size <= PIECE_ELEMENTS:
            assert compiled.EXTENSION is not None
            return compiled.EXTENSION.answers_of_rows(
                array.tobytes(), array.shape, code, row_format, list(starts), list(counts)
            )
    return [
        encode_predictions({name: array[start : start + count] for name, array in outputs.items()}, row_format)
        for start, count in zip(starts, counts, strict=True)
    ]


def encode_error(message: str) -> bytes:
    """Writes the body of an error response."""
    return f'{{\n    "error": {quoted(printable(message))}\n}}'.encode()


def _many_numbers(array: Array, row_format: bool) -> bytes:
    """One large output, in pieces: each copy of all of the text would hold the GIL for long."""
    *pieces, end = (piece.encode() for piece in number_pieces(array, dtype_of_array(array)))
    if row_format:
        return b"".join((b'{\n    "predictions": ', *pieces, b"\n    ]\n}"))
    return b"".join((b'{\n    "outputs": ', *pieces, end, b"\n}"))


def _predictions(outputs: Mapping[str, Array]) -> str:
    rows: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise InvalidArgument(f"Tensor name: {name} has no shape information ")
        if rows is not None and len(array) != rows:
            raise InvalidArgument(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)
    # An element stands in the answer's object, the list of rows, perhaps the row's object, and its own lists.
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        listed = _texts(name, array, by_row=False, around=1)[0]
        return f'{{\n    "predictions": {listed[:-1]}\n    ]\n}}' if rows else f'{{\n    "predictions": {listed}\n}}'
    columns = {name: _texts(name, array, by_row=True, around=3) for name, array in outputs.items()}
    if not rows:
        return '{\n    "predictions": []\n}'
    names = [quoted(name) for name in columns]
    objects = (
        ",\n".join(f"            {name}: {value}" for name, value in zip(names, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    )
    listed = ",\n".join(f"        {{\n{members}\n        }}" for members in objects)
    return f'{{\n    "predictions": [\n{listed}\n    ]\n}}'


def _outputs(outputs: Mapping[str, Array]) -> str:
    values = {name: _texts(name, array, by_row=False)[0] for name, array in outputs.items()}
    if len(values) == 1:
        (value,) = values.values()
        return f'{{\n    "outputs": {value}\n}}'
    members = ",\n".join(f"        {quoted(name)}: {value}" for name, value in values.items())
    return f'{{\n    "outputs": {{\n{members}\n    }}\n}}'


def _texts(name: str, array: Array, by_row: bool, around: int | None = None) -> list[str]:
    """The text of a whole output, or of each of its rows, lists and all.

    Args:
        name: The output.
        array: Its values.
        by_row: Whether each value of the first dimension is a text of its own.
        around: How many objects and lists stand around each of these texts; None for no line breaks.
    """
    try:
        dtype = dtype_of_array(array)
    except KeyError as error:
        raise InvalidArgument(f"Failed to write JSON value for tensor type: {array.dtype}") from error
    if dtype in WRITTEN:
        return number_lists(array, dtype, by_row)
    if dtype is DType.STRING:
        level = None if around is None else around + array.ndim - by_row
        return nested(_string_texts(name, array, level), array.shape, by_row)
    raise InvalidArgument(f"Failed to write JSON value for tensor type: {dtype.label}")


def _string_texts(name: str, array: Array, level: int | None) -> list[str]:
    elements: list[Any] = array.ravel().tolist()
    if name.endswith(_BYTES_SUFFIX):
        return [_base64(_bytes(element), level) for element in elements]
    return [_string(_bytes(element), level) for element in elements]


def _bytes(element: object) -> bytes:
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        return element.encode("utf-8", "surrogatepass")
    raise InvalidArgument(
        f"Failed to write JSON value for tensor type: string. Expected elements of type bytes, but the model gave "
        f"one of type {type(element).__name__}"
    )


def _string(data: bytes, level: int | None) -> str:
    try:
        return quoted(data.decode())
    except UnicodeDecodeError:
        return _base64(data, level)


def _base64(data: bytes, level: int | None) -> str:
    text = base64_object(data)
    if level is None:
        return text
    indent = "    " * level
    return f"{{\n{indent}    {text[1:-1]}\n{indent}}}"
