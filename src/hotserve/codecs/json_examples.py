"""The JSON body of a classify or regress request: examples, as objects of features by name.

Two ways, one result, as in `json_tensor`: a list of one kind of value is taken as a whole; any other goes value by
value and finds the words for what is wrong.

Source: TensorFlow Serving `util/json_tensor.cc`, FillClassifyRegressRequestFromJson, AddValueToFeature;
`g3doc/api_rest.md`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from hotserve.codecs.json_base64 import base64_text, decode_base64
from hotserve.codecs.json_debug import debug_string
from hotserve.codecs.json_value import JsonObject, JsonValue, is_integer, members_of, printable, text_bytes, type_name
from hotserve.codecs.tf_example import example_vector
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import Example, Feature
from hotserve.tensors import Array

KINDS_IN_JSON: Final = "In JSON, 1 is an int64, 1.0 is a float, and a string or a base64 object is bytes."

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1


class _Kind(StrEnum):
    """What a feature holds, as error texts name it."""

    BYTES = "bytes"
    FLOAT = "float"
    INT64 = "int64"


def decode_examples(document: JsonObject) -> Array:
    """Reads the examples of a classify or regress request.

    A number with a fraction or an exponent is a float, one without is an int64, true and false are 1 and 0, a string
    or a base64 object is bytes. A feature is one value or a flat list of values of the same kind: an integer among
    floats is not converted, as in the original.

    Args:
        document: The request body. `examples` is a list with one object of features by name for each example;
            `context`, which may be missing, is an object of features that all examples share.

    Returns:
        string [n]: the examples, serialized, each with the context's features before its own.

    Raises:
        InvalidArgument: The body does not have this form, or a value has no place in a feature.
    """
    context = _located("context", document["context"]) if "context" in document else b""
    if "examples" not in document:
        # The original says classify to regress, too.
        raise InvalidArgument(
            f"JSON Value: {debug_string(document)} When method is classify, key 'examples' is expected and was not"
            " found. Expected {\"examples\": [{\"feature\": value, ...}, ...]}; 'instances' and 'inputs' belong to"
            " predict requests."
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise InvalidArgument(f"JSON Value: {debug_string(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise InvalidArgument(f"JSON Value: {debug_string(document)} 'examples' value is an empty array")
    return example_vector([context + _located(f"examples[{i}]", example) for i, example in enumerate(examples)])


def _located(where: str, value: JsonValue) -> bytes:
    try:
        return _serialized(value)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.message} Found in {where}.") from error


def _serialized(value: JsonValue) -> bytes:
    if not isinstance(value, dict):
        raise InvalidArgument(
            f"Example must be JSON object but got JSON {type_name(value)}. Expected features by name, such as"
            ' {"x": 1.0}.'
        )
    # The original reads names as C strings; of those that are the same then, the last one counts, here alone.
    members = {printable(name.partition("\0")[0]): content for name, content in members_of(value)}
    example = Example()
    features = example.features.feature
    for name, content in members.items():
        # Looking a feature up makes it: one without values is there, too.
        _fill(features[name], name, content if isinstance(content, list) else [content])
    return example.SerializeToString()


def _fill(feature: Feature, name: str, values: list[Any]) -> None:
    types = set(map(type, values))
    if types == {float}:
        feature.float_list.value.extend(values)
    elif types == {str}:
        feature.bytes_list.value.extend(map(text_bytes, values))
    elif types == {int} and min(values) >= _INT64_MIN and max(values) <= _INT64_MAX:
        feature.int64_list.value.extend(values)
    elif values:
        _fill_carefully(feature, name, values)


def _fill_carefully(feature: Feature, name: str, values: list[Any]) -> None:
    kind = _kind(name, values[0])
    elements: list[Any] = []
    for i, value in enumerate(values):
        if _kind(name, value) is not kind:
            raise InvalidArgument(
                f"Unexpected element type in feature: {name} expecting type: {kind}. Value 0 is {kind}, which sets the"
                f" type of all, and value {i} is {_kind(name, value)}. {KINDS_IN_JSON}"
            )
        elements.append(_element(name, value))
    match kind:
        case _Kind.BYTES:
            feature.bytes_list.value.extend(elements)
        case _Kind.FLOAT:
            feature.float_list.value.extend(elements)
        case _Kind.INT64:
            feature.int64_list.value.extend(elements)


def _kind(name: str, value: JsonValue) -> _Kind:
    match value:
        case bool():
            return _Kind.INT64
        case int() | float():
            return _Kind.INT64 if is_integer(value) else _Kind.FLOAT
        case str():
            return _Kind.BYTES
        case dict() if base64_text(value) is not None:
            return _Kind.BYTES
        case _:
            raise InvalidArgument(
                f"Feature: {name} has element with unexpected JSON type: {type_name(value)}. Expected a number, a"
                ' string, true, false or {"b64": "..."}, or a flat list of values of one of these kinds.'
            )


def _element(name: str, value: Any) -> bytes | int | float:
    """The value as its list in a `Feature` takes it; its kind has been found before."""
    match value:
        case str():
            return text_bytes(value)
        case dict():
            return _decoded(name, value)
        case int() if is_integer(value) and value > _INT64_MAX:
            raise InvalidArgument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported. The largest is {_INT64_MAX}, and"
                f" {value} came."
            )
        case bool():
            return int(value)
        case int() if is_integer(value):
            return value
        case _:
            return float(value)


def _decoded(name: str, value: JsonObject) -> bytes:
    try:
        return decode_base64(base64_text(value) or "")
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.message} a value of feature {name}.") from error
