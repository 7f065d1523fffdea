"""`SignatureDef` messages to signatures and back: what a SavedModel declares, and what metadata shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from google.protobuf import json_format

from hotserve.codecs.tensor_proto import TensorDecodeError, decode_tensor, encode_tensor
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import SignatureDef, SignatureDefMap, TensorInfo
from hotserve.protos.pool import POOL
from hotserve.tensors import NUMPY_OF, Array, DType, Shape, Signature, TensorSpec, dtype_of_array, dtype_of_number

_UNKNOWN_SIZE: Final = -1


def signature_from_proto(proto: SignatureDef | bytes) -> Signature:
    """Reads a signature.

    A reference type of an old graph is read as the type itself, and a sparse or composite tensor as a tensor without a
    name; what is lost by that stays in `Signature.declared`.

    Inputs and outputs are in the order of their names: a protobuf map has none of its own.

    Args:
        proto: The message, or its bytes: a SignatureDef of another protobuf pool can be handed over in that form.

    Raises:
        InvalidArgument: The value that an input has by default cannot be read.

    Source: tensorflow/core/protobuf/meta_graph.proto.
    """
    message = SignatureDef.FromString(proto) if isinstance(proto, bytes) else proto
    signature = Signature(
        inputs={alias: _spec(info) for alias, info in sorted(message.inputs.items())},
        outputs={alias: _spec(info) for alias, info in sorted(message.outputs.items())},
        method_name=message.method_name,
        defaults={alias: _default(alias, message) for alias in message.defaults},
    )
    declared = message.SerializeToString(deterministic=True)
    if signature_to_proto(signature).SerializeToString(deterministic=True) == declared:
        return signature
    return replace(signature, declared=declared)


def signatures_from_metadata(metadata: Mapping[str, object]) -> Mapping[str, Signature]:
    """Reads the document that a server describes a model with over REST.

    Args:
        metadata: What `GET /v1/models/NAME/metadata` answers.

    Returns:
        Name of a signature -> signature.

    Raises:
        InvalidArgument: It is no such document.
    """
    try:
        message = json_format.ParseDict(
            metadata["metadata"]["signature_def"],  # type: ignore[index]  # whatever is no such document is caught
            SignatureDefMap(),
            ignore_unknown_fields=True,
            descriptor_pool=POOL,
        )
    except (KeyError, TypeError, json_format.ParseError) as error:
        raise InvalidArgument(f"The server describes the model in a form that is not understood: {error}.") from error
    return signatures_from_map(message)


def signatures_from_map(message: SignatureDefMap) -> Mapping[str, Signature]:
    """Reads the signatures of a model, by name."""
    return {name: signature_from_proto(proto) for name, proto in message.signature_def.items()}


def signature_to_proto(signature: Signature) -> SignatureDef:
    """Writes a signature, exactly as the model declared it where that is known."""
    if signature.declared:
        return SignatureDef.FromString(signature.declared)
    message = SignatureDef(method_name=signature.method_name)
    for specs, infos in ((signature.inputs, message.inputs), (signature.outputs, message.outputs)):
        for alias, spec in specs.items():
            _write_spec(spec, infos[alias])
    for alias, value in signature.defaults.items():
        message.defaults[alias].CopyFrom(encode_tensor(value, _default_dtype(alias, value, signature.inputs)))
    return message


def _spec(info: TensorInfo) -> TensorSpec:
    return TensorSpec(dtype_of_number(info.dtype), _shape(info), info.name)


def _shape(info: TensorInfo) -> Shape | None:
    """The shape; a message without one declares nothing."""
    if info.tensor_shape.unknown_rank or not info.HasField("tensor_shape"):
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)


def _default(alias: str, message: SignatureDef) -> Array:
    try:
        return decode_tensor(message.defaults[alias])
    except TensorDecodeError as error:
        raise InvalidArgument(f"The default of signature input {alias} cannot be read: {error.message}") from error


def _write_spec(spec: TensorSpec, info: TensorInfo) -> None:
    info.name = spec.tensor_name
    info.dtype = spec.dtype
    info.tensor_shape.SetInParent()
    if spec.shape is None:
        info.tensor_shape.unknown_rank = True
        return
    for size in spec.shape:
        info.tensor_shape.dim.add(size=_UNKNOWN_SIZE if size is None else size)


def _default_dtype(alias: str, value: Array, inputs: Mapping[str, TensorSpec]) -> DType:
    """The input's type where the array is of it: an array does not tell a type from its quantized kind."""
    spec = inputs.get(alias)
    if spec is not None and NUMPY_OF.get(spec.dtype) == value.dtype:
        return spec.dtype
    return dtype_of_array(value)
