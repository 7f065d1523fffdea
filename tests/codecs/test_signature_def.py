from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from hotserve.codecs.signature_def import signature_from_proto, signature_to_proto
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import SignatureDef
from hotserve.protos.pool import POOL
from hotserve.tensors import DType, Signature, TensorSpec


def _signature_def(text: str) -> SignatureDef:
    return text_format.Parse(text, SignatureDef(), descriptor_pool=POOL)


PLAIN = """
inputs {
  key: "image"
  value { name: "image:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } dim { size: 28 } } }
}
inputs { key: "k" value { name: "k:0" dtype: DT_INT32 tensor_shape {} } }
outputs { key: "digit" value { name: "Max:0" dtype: DT_INT64 tensor_shape { unknown_rank: true } } }
method_name: "tensorflow/serving/predict"
defaults { key: "k" value { dtype: DT_INT32 tensor_shape {} int_val: 3 } }
"""


def test_a_signature_is_read_with_its_shapes_and_defaults() -> None:
    signature = signature_from_proto(_signature_def(PLAIN))
    assert signature.inputs == {
        "image": TensorSpec(DType.FLOAT, (None, 28), "image:0"),
        "k": TensorSpec(DType.INT32, (), "k:0"),
    }
    assert signature.outputs == {"digit": TensorSpec(DType.INT64, None, "Max:0")}
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.defaults["k"] == np.int32(3)
    assert signature.declared == b""
    assert not signature.enforces_shapes


def test_a_signature_is_read_from_bytes_of_another_pool() -> None:
    message = _signature_def(PLAIN)
    assert signature_from_proto(message.SerializeToString()).inputs == signature_from_proto(message).inputs


def test_a_signature_that_no_model_declared_is_written_in_full() -> None:
    signature = Signature(
        inputs={"x": TensorSpec(DType.STRING, (None, 2), "x")},
        outputs={"y": TensorSpec(DType.FLOAT, None)},
        defaults={"x": np.array([[b"a", b"b"]], object)},
    )
    assert signature_to_proto(signature) == _signature_def("""
        inputs { key: "x" value { name: "x" dtype: DT_STRING tensor_shape { dim { size: -1 } dim { size: 2 } } } }
        outputs { key: "y" value { name: "" dtype: DT_FLOAT tensor_shape { unknown_rank: true } } }
        method_name: "tensorflow/serving/predict"
        defaults {
          key: "x"
          value {
            dtype: DT_STRING tensor_shape { dim { size: 1 } dim { size: 2 } }
            string_val: "a" string_val: "b"
          }
        }
    """)


DECLARED = {
    "plain": PLAIN,
    "nothing at all": "",
    "initializer of a TensorFlow 2 model": """
        outputs { key: "__saved_model_init_op" value { name: "NoOp" tensor_shape { unknown_rank: true } } }""",
    "reference type": 'outputs { key: "output" value { name: "v:0" dtype: DT_FLOAT_REF tensor_shape {} } }',
    "type of a later TensorFlow": 'outputs { key: "y" value { name: "y:0" dtype: 77 tensor_shape {} } }',
    "no shape": 'inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT } }',
    "named dimension": 'inputs { key: "x" value { name: "x:0" tensor_shape { dim { size: -1 name: "batch" } } } }',
    "no name": "inputs { key: 'x' value { dtype: DT_FLOAT tensor_shape {} } }",
    "sparse tensor": """
        inputs {
          key: "x"
          value {
            coo_sparse { values_tensor_name: "v:0" indices_tensor_name: "i:0" dense_shape_tensor_name: "s:0" }
            dtype: DT_FLOAT tensor_shape { dim { size: -1 } }
          }
        }""",
    "composite tensor": """
        inputs {
          key: "x"
          value {
            composite_tensor {
              type_spec {
                type_spec_class: RAGGED_TENSOR_SPEC type_spec_class_name: "RaggedTensorSpec"
                type_state { tuple_value { values { int64_value: 1 } values { none_value {} } } }
                num_flat_components: 2
              }
              components { name: "values:0" dtype: DT_FLOAT }
            }
          }
        }""",
    "default as content": r"""
        inputs { key: "x" value { name: "x:0" dtype: DT_HALF tensor_shape {} } }
        defaults { key: "x" value { dtype: DT_HALF tensor_shape {} tensor_content: "\000\074" } }""",
    "default of a quantized type": """
        inputs { key: "x" value { name: "x:0" dtype: DT_QINT8 tensor_shape {} } }
        defaults { key: "x" value { dtype: DT_QINT8 tensor_shape {} int_val: 1 } }""",
    "default of another type than its input": """
        inputs { key: "x" value { name: "x:0" dtype: DT_INT32 tensor_shape {} } }
        defaults { key: "x" value { dtype: DT_FLOAT tensor_shape {} float_val: 1.5 } }""",
    "default without an input": 'defaults { key: "x" value { dtype: DT_FLOAT tensor_shape {} float_val: 1.5 } }',
    "default that is not a number": 'defaults { key: "x" value { dtype: DT_FLOAT tensor_shape {} float_val: nan } }',
}


@pytest.mark.parametrize("text", DECLARED.values(), ids=DECLARED.keys())
def test_what_a_model_declares_comes_back_unchanged(text: str) -> None:
    declared = _signature_def(text).SerializeToString(deterministic=True)
    assert signature_to_proto(signature_from_proto(declared)).SerializeToString(deterministic=True) == declared


def test_unknown_fields_of_a_declaration_come_back() -> None:
    declared = _signature_def(PLAIN).SerializeToString(deterministic=True) + b"\x9a\x06\x03new"
    assert b"\x9a\x06\x03new" in signature_to_proto(signature_from_proto(declared)).SerializeToString()


def test_a_reference_type_is_read_as_the_type_itself() -> None:
    signature = signature_from_proto(_signature_def(DECLARED["reference type"]))
    assert signature.outputs["output"] == TensorSpec(DType.FLOAT, (), "v:0")


def test_a_missing_shape_is_any_shape() -> None:
    assert signature_from_proto(_signature_def(DECLARED["no shape"])).inputs["x"].shape is None


def test_how_a_signature_was_declared_makes_no_difference_to_what_it_is() -> None:
    named = signature_from_proto(_signature_def(DECLARED["named dimension"]))
    plain = signature_from_proto(_signature_def(DECLARED["named dimension"].replace('name: "batch"', "")))
    assert named.declared
    assert not plain.declared
    assert named == plain


def test_a_default_that_cannot_be_read_is_refused_with_its_input() -> None:
    message = _signature_def('defaults { key: "x" value { dtype: DT_FLOAT tensor_content: "abc" } }')
    with pytest.raises(InvalidArgument, match="default of signature input x cannot be read: 3 bytes"):
        signature_from_proto(message)
