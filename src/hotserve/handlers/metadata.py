"""Model metadata: the signatures of a version, as protobuf messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hotserve.codecs.signature_def import signature_to_proto
from hotserve.core.handle import Lease
from hotserve.errors import InvalidArgument
from hotserve.protos import messages

SIGNATURE_DEF_FIELD = "signature_def"


def check_metadata_fields(fields: Sequence[str]) -> None:
    """Refuses a request for no field, or for one that there is not.

    Source: GetModelMetadataImpl in tensorflow_serving/servables/tensorflow/get_model_metadata_impl.cc.

    Raises:
        InvalidArgument: As said; `signature_def` is the only field.
    """
    if not fields:
        raise InvalidArgument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != SIGNATURE_DEF_FIELD:
            raise InvalidArgument(f"Metadata field {field} is not supported. Supported: {SIGNATURE_DEF_FIELD}.")


def signature_def_map(lease: Lease) -> Any:
    """All signatures of the leased version as a `SignatureDefMap` message."""
    answer = messages.SignatureDefMap()
    for name, signature in lease.servable.signatures.items():
        answer.signature_def[name].CopyFrom(signature_to_proto(signature))
    return answer
