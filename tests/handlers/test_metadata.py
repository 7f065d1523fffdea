from __future__ import annotations

import numpy as np
import pytest

from hotserve.codecs.signature_def import signature_from_proto
from hotserve.core.handle import VersionHandle
from hotserve.core.ids import ServableId
from hotserve.errors import InvalidArgument
from hotserve.handlers.metadata import check_metadata_fields, signature_def_map
from hotserve.tensors import REGRESS_METHOD, DType, Signature, TensorSpec
from support.in_process import ToyServable


@pytest.mark.parametrize("fields", [["signature_def"], ["signature_def", "signature_def"]])
def test_the_one_field_there_is_may_be_asked_for(fields: list[str]) -> None:
    check_metadata_fields(fields)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["nope"], "Metadata field nope is not supported. Supported: signature_def."),
        (["signature_def", "", "nope"], "Metadata field  is not supported. Supported: signature_def."),
        (["Signature_Def"], "Metadata field Signature_Def is not supported. Supported: signature_def."),
    ],
)
def test_no_field_and_another_field_are_refused(fields: list[str], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_metadata_fields(fields)
    assert caught.value.message == text


def test_the_metadata_are_all_signatures_of_the_version_as_they_were_declared() -> None:
    x = TensorSpec(DType.FLOAT, (None, 3), "x:0")
    signatures = {
        "serving_default": Signature({"x": x}, {"y": x}, defaults={"x": np.float32([[1, 2, 3]])}),
        "regress": Signature({"inputs": TensorSpec(DType.STRING, None, "s:0")}, {"outputs": x}, REGRESS_METHOD),
        "__saved_model_init_op": Signature({}, {"__saved_model_init_op": TensorSpec(DType.INVALID, None, "NoOp")}, ""),
    }
    servable = ToyServable(signatures, lambda _, inputs: inputs)
    lease = VersionHandle(ServableId("m", 1), servable, lambda _: None).acquire()
    assert lease is not None
    shown = signature_def_map(lease).signature_def
    assert sorted(shown) == sorted(signatures)
    for name in ("regress", "__saved_model_init_op"):
        assert signature_from_proto(shown[name]) == signatures[name]
    assert list(shown["serving_default"].defaults["x"].float_val) == [1, 2, 3]
