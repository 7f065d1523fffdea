from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from hotserve.protos.pool import DESCRIPTOR_SET, POOL, message_class

# What registers TensorFlow's own definitions in the default pool.
THEIR_MODULES = (
    "grpc_health.v1.health_pb2",
    "grpc_reflection.v1alpha.reflection_pb2",
    "tensorflow.core.example.example_pb2",
    "tensorflow.core.protobuf.config_pb2",
    "tensorflow.core.protobuf.error_codes_pb2",
    "tensorflow.core.protobuf.saved_model_pb2",
    "tensorflow_serving.apis.model_service_pb2",
    "tensorflow_serving.apis.prediction_log_pb2",
    "tensorflow_serving.apis.prediction_service_pb2",
    "tensorflow_serving.config.model_server_config_pb2",
    "tensorflow_serving.config.platform_config_pb2",
)

# Of these, the .proto files have the fields that are read here; the others are unknown fields.
PARTIAL = {
    "grpc.health.v1.Health",
    "tensorflow.FunctionDef",
    "tensorflow.FunctionDefLibrary",
    "tensorflow.GraphDef",
    "tensorflow.MetaGraphDef",
    "tensorflow.MetaGraphDef.MetaInfoDef",
    "tensorflow.NodeDef",
    "tensorflow.OpDef",
    "tensorflow.OpDef.ArgDef",
    "tensorflow.RunOptions",
    "tensorflow.RunMetadata",
}

# Our own fields: the original passes them over on the wire, and refuses them in a config file.
OURS = {"tensorflow.serving.ModelConfig": {10001}}

# Configuration of the C++ server that no Python package carries.
NOT_PUBLISHED = {
    "tensorflow.serving.PrometheusConfig",
    "tensorflow.serving.MonitoringConfig",
    "tensorflow.serving.SSLConfig",
    "tensorflow.serving.BatchingParameters",
    "tensorflow.serving.ModelWarmupOptions",
    "tensorflow.serving.SessionBundleConfig",
    "tensorflow.serving.SavedModelBundleSourceAdapterConfig",
    "tensorflow.serving.ThreadPoolFactoryConfig",
    "tensorflow.serving.SessionOverrides",
    "tensorflow.serving.SavedModelConfig",
}


def _files() -> Iterator[descriptor_pb2.FileDescriptorProto]:
    yield from descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes()).file


def _message_names() -> list[str]:
    def walk(prefix: str, message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
        if not message.options.map_entry:
            yield f"{prefix}.{message.name}"
            for nested in message.nested_type:
                yield from walk(f"{prefix}.{message.name}", nested)

    return [name for file in _files() for message in file.message_type for name in walk(file.package, message)]


# The newer name of a service, which no Python package carries yet; its methods are those of v1alpha.
SERVICES_NOT_PUBLISHED = {"grpc.reflection.v1.ServerReflection"}
SERVICES = {f"{file.package}.{service.name}" for file in _files() for service in file.service}

SHARED = [name for name in _message_names() if name not in NOT_PUBLISHED]


@pytest.fixture(scope="module", autouse=True)
def their_pool() -> descriptor_pool.DescriptorPool:
    for module in THEIR_MODULES:
        importlib.import_module(module)
    return descriptor_pool.Default()


def _shape_of(field: FieldDescriptor) -> dict[str, Any]:
    """Everything about a field that shows on the wire, in JSON or in text format."""
    return {
        "name": field.name,
        "number": field.number,
        "type": field.type,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "presence": field.has_presence,
        "json_name": field.json_name,
        "oneof": field.containing_oneof.name if field.containing_oneof else None,
        "message": field.message_type.full_name if field.message_type else None,
        "enum": field.enum_type.full_name if field.enum_type else None,
    }


@pytest.mark.parametrize("name", SHARED)
def test_fields_are_those_of_the_original(name: str, their_pool: descriptor_pool.DescriptorPool) -> None:
    own = OURS.get(name, set())
    ours = {f.number: _shape_of(f) for f in POOL.FindMessageTypeByName(name).fields if f.number not in own}
    theirs = {f.number: _shape_of(f) for f in their_pool.FindMessageTypeByName(name).fields}
    if name in PARTIAL:
        theirs = {number: field for number, field in theirs.items() if number in ours}
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(NOT_PUBLISHED))
def test_a_message_without_a_counterpart_really_has_none(name: str, their_pool: descriptor_pool.DescriptorPool) -> None:
    with pytest.raises(KeyError):
        their_pool.FindMessageTypeByName(name)


def _enum_names() -> list[str]:
    top = [f"{file.package}.{enum.name}" for file in _files() for enum in file.enum_type]
    messages = [POOL.FindMessageTypeByName(name) for name in _message_names()]
    return top + [enum.full_name for message in messages for enum in message.enum_types]


@pytest.mark.parametrize("name", _enum_names())
def test_enums_are_those_of_the_original(name: str, their_pool: descriptor_pool.DescriptorPool) -> None:
    ours = {value.name: value.number for value in POOL.FindEnumTypeByName(name).values}
    theirs = {value.name: value.number for value in their_pool.FindEnumTypeByName(name).values}
    # A value that TensorFlow tells its users never to use.
    theirs.pop("DO_NOT_USE_RESERVED_FOR_FUTURE_EXPANSION_USE_DEFAULT_IN_SWITCH_INSTEAD_", None)
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(SERVICES - SERVICES_NOT_PUBLISHED))
def test_services_are_those_of_the_original(name: str, their_pool: descriptor_pool.DescriptorPool) -> None:
    def methods(pool: descriptor_pool.DescriptorPool) -> dict[str, tuple[Any, ...]]:
        return {
            method.name: (
                method.input_type.full_name,
                method.output_type.full_name,
                method.client_streaming,
                method.server_streaming,
            )
            for method in pool.FindServiceByName(name).methods
        }

    ours, theirs = methods(POOL), methods(their_pool)
    assert ours
    if name in PARTIAL:
        theirs = {method: theirs[method] for method in ours}
    assert ours == theirs


def _value(field: FieldDescriptor, index: int) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return bytes([index, 255]) if field.type == FieldDescriptor.TYPE_BYTES else f"é{index}"
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return -0.5 * (index + 1)
        case FieldDescriptor.CPPTYPE_ENUM:
            return field.enum_type.values[-1].number
        case FieldDescriptor.CPPTYPE_UINT32:
            return 2**32 - 1 - index
        case FieldDescriptor.CPPTYPE_UINT64:
            return 2**64 - 1 - index
        case FieldDescriptor.CPPTYPE_INT64:
            return -(2**63) + index
        case _:
            return -(2**31) + index


def _fill(message: Any, choice: int, depth: int) -> None:
    """Sets every field; of each oneof, member number `choice`."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[choice % len(oneof.fields)] is not field:
            continue
        if field.message_type is None:
            if field.is_repeated:
                getattr(message, field.name).extend(_value(field, index) for index in range(3))
            else:
                setattr(message, field.name, _value(field, 0))
        elif depth == 0:
            continue
        elif field.message_type.GetOptions().map_entry:
            entries = getattr(message, field.name)
            key, value = field.message_type.fields
            for index in range(2):
                if value.message_type is None:
                    entries[_value(key, index)] = _value(value, index)
                else:
                    _fill(entries[_value(key, index)], choice, depth - 1)
        elif field.is_repeated:
            for _ in range(2):
                _fill(getattr(message, field.name).add(), choice, depth - 1)
        else:
            getattr(message, field.name).SetInParent()
            _fill(getattr(message, field.name), choice, depth - 1)


def _choices(message: Descriptor) -> int:
    """How many samples show every member of every oneof, of the message and of those in it."""
    inner = [field.message_type for field in message.fields if field.message_type is not None]
    return max([len(oneof.fields) for m in (message, *inner) for oneof in m.oneofs], default=1)


@pytest.mark.parametrize("name", SHARED)
def test_messages_of_the_original_pass_through_byte_for_byte(
    name: str, their_pool: descriptor_pool.DescriptorPool
) -> None:
    theirs = message_factory.GetMessageClass(their_pool.FindMessageTypeByName(name))
    for choice in range(_choices(theirs.DESCRIPTOR)):
        original = theirs()
        _fill(original, choice, depth=3)
        sent = original.SerializeToString(deterministic=True)
        returned = message_class(name).FromString(sent).SerializeToString(deterministic=True)
        if _holds(theirs.DESCRIPTOR, PARTIAL):
            # Unknown fields keep their bytes and change their place.
            assert theirs.FromString(returned) == original
        else:
            assert returned == sent


@pytest.mark.parametrize("name", SHARED)
def test_the_original_reads_our_messages(name: str, their_pool: descriptor_pool.DescriptorPool) -> None:
    ours = message_class(name)
    theirs = message_factory.GetMessageClass(their_pool.FindMessageTypeByName(name))
    for choice in range(_choices(ours.DESCRIPTOR)):
        original = ours()
        _fill(original, choice, depth=3)
        sent = original.SerializeToString(deterministic=True)
        parsed = theirs.FromString(sent)
        assert parsed.SerializeToString(deterministic=True) == sent
        if not _holds(original.DESCRIPTOR, OURS):
            assert str(parsed) == str(original)


def _holds(message: Descriptor, names: Collection[str], seen: frozenset[str] = frozenset()) -> bool:
    """Whether it is, or holds, a message of one of these names."""
    if message.full_name in names:
        return True
    if message.full_name in seen:
        return False
    inner = (field.message_type for field in message.fields if field.message_type is not None)
    return any(_holds(nested, names, seen | {message.full_name}) for nested in inner)
