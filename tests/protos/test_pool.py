from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.unknown_fields import UnknownFieldSet

from hotserve.protos import messages
from hotserve.protos.pool import POOL, message_class


@pytest.mark.parametrize(
    "imports",
    [
        ("hotserve.protos.messages", "tensorflow_serving.apis.prediction_service_pb2"),
        ("tensorflow_serving.apis.prediction_service_pb2", "hotserve.protos.messages"),
    ],
    ids=["before", "after"],
)
def test_the_messages_can_be_imported_before_and_after_those_of_tensorflow(imports: tuple[str, str]) -> None:
    program = f"""
import importlib
first, second = (importlib.import_module(name) for name in {imports!r})
from tensorflow_serving.apis import predict_pb2
from hotserve.protos import messages
request = predict_pb2.PredictRequest()
request.inputs["x"].float_val.append(1.5)
assert list(messages.PredictRequest.FromString(request.SerializeToString()).inputs["x"].float_val) == [1.5]
assert messages.PredictRequest is not predict_pb2.PredictRequest
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_the_messages_are_not_in_the_default_pool() -> None:
    assert descriptor_pool.Default() is not POOL
    assert messages.TensorProto.DESCRIPTOR.file.pool is POOL


def test_a_name_that_no_file_defines_is_refused() -> None:
    with pytest.raises(KeyError, match="NoSuchMessage"):
        message_class("tensorflow.NoSuchMessage")


def test_unknown_fields_survive() -> None:
    # Field 2 of MetaGraphDef, the graph, which our .proto file leaves out; field 5 is known.
    sent = (
        b"\x12\x03abc"
        + messages.MetaGraphDef(
            signature_def={"serving_default": messages.SignatureDef(method_name="m")}
        ).SerializeToString()
    )
    read = messages.MetaGraphDef.FromString(sent)
    assert [(field.field_number, field.data) for field in UnknownFieldSet(read)] == [(2, b"abc")]
    again = messages.MetaGraphDef.FromString(read.SerializeToString())
    assert [(field.field_number, field.data) for field in UnknownFieldSet(again)] == [(2, b"abc")]
    assert again.signature_def["serving_default"].method_name == "m"


def test_any_packs_and_unpacks_messages_of_the_pool() -> None:
    response = messages.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(messages.SignatureDefMap(signature_def={"s": messages.SignatureDef()}))
    packed = messages.GetModelMetadataResponse.FromString(response.SerializeToString()).metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    unpacked = messages.SignatureDefMap()
    assert packed.Unpack(unpacked)
    assert set(unpacked.signature_def) == {"s"}


def test_a_version_of_zero_is_not_a_missing_version() -> None:
    spec = messages.ModelSpec(name="m")
    assert spec.WhichOneof("version_choice") is None
    spec.version.value = 0
    again = messages.ModelSpec.FromString(spec.SerializeToString())
    assert again.WhichOneof("version_choice") == "version"
    again.version_label = "stable"
    assert not again.HasField("version")


def test_map_entries_appear_when_they_are_asked_for() -> None:
    signature_defs = messages.SignatureDefMap()
    signature_defs.signature_def["s"].inputs["x"].name = "x:0"
    assert signature_defs.signature_def["s"].inputs["x"].name == "x:0"
    assert "t" not in signature_defs.signature_def


def test_enum_names_include_reference_types() -> None:
    assert messages.DataType.Name(101) == "DT_FLOAT_REF"
    assert messages.ErrorCode.Value("NOT_FOUND") == 5
    assert messages.ModelVersionStatus.State.Name(messages.ModelVersionStatus.AVAILABLE) == "AVAILABLE"
