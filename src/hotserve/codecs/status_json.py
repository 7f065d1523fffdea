"""The JSON of the REST API's status and metadata: protobuf messages, laid out as TensorFlow Serving's C++ prints them.

Every field is printed, also one that is zero, in the order of field numbers, one space an indent; a message that is not
set is left out.

Source: ToJsonString in tensorflow_serving/model_servers/get_model_status_impl.cc and the metadata handler of
    http_rest_api_handler.cc.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from hotserve.protos.messages import GetModelStatusResponse, ModelSpec, SignatureDefMap
from hotserve.protos.pool import POOL


def encode_status(response: GetModelStatusResponse) -> bytes:
    """The body for `GET /v1/models/NAME`: the states of versions, as listed in `response`."""
    return _message_json(response).encode()


def encode_metadata(model_name: str, version: int, signature_defs: SignatureDefMap) -> bytes:
    """The body for `GET /v1/models/NAME/metadata`: the signatures of one version.

    The original joins two printed messages by hand; so the brackets outside of them have an indent of their own.

    Args:
        model_name: The model that answers.
        version: The version that answers, also if the request named none.
        signature_defs: All its signatures.
    """
    spec = ModelSpec(name=model_name)
    spec.version.value = version
    model_spec = _message_json(spec)
    metadata = _message_json(signature_defs)
    return f'{{\n"model_spec":{model_spec},\n"metadata": {{"signature_def": {metadata}}}\n}}\n'.encode()


def encode_engines(model_name: str, version: int, engines: Mapping[str, Mapping[str, object]]) -> bytes:
    """What runs the signatures of a version; a route of hotserve's own.

    Args:
        model_name: The model.
        version: The version's number.
        engines: As `core.servable.engine_report`.
    """
    document = {"model_spec": {"name": model_name, "version": str(version)}, "engines": dict(sorted(engines.items()))}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _message_json(message: Message) -> str:
    document = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, descriptor_pool=POOL
    )
    descriptor = POOL.FindMessageTypeByName(message.DESCRIPTOR.full_name)
    text = json.dumps(_in_field_order(document, descriptor), indent=1, ensure_ascii=False)
    # As protobuf's C++ printer has it: JSON that is safe inside HTML. They occur in strings only.
    return text.replace("<", "\\u003c").replace(">", "\\u003e") + "\n"


def _in_field_order(document: Any, message: Descriptor) -> Any:
    """`document`, the fields in the order of their numbers; MessageToDict puts those that are zero last."""
    if not isinstance(document, dict):  # a well-known type with a JSON of its own
        return document
    fields = sorted(message.fields, key=lambda field: field.number)
    return {field.name: _value_in_order(document[field.name], field) for field in fields if field.name in document}


def _value_in_order(value: Any, field: FieldDescriptor) -> Any:
    if field.message_type is None:
        return value
    if field.message_type.GetOptions().map_entry:
        return {key: _value_in_order(value[key], field.message_type.fields_by_name["value"]) for key in sorted(value)}
    if isinstance(value, list):
        return [_in_field_order(item, field.message_type) for item in value]
    return _in_field_order(value, field.message_type)
