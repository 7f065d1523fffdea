from __future__ import annotations

import json

from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from hotserve.codecs.status_json import encode_metadata, encode_status
from hotserve.protos.messages import GetModelStatusResponse, ModelVersionStatus, SignatureDefMap, StatusProto
from hotserve.protos.pool import POOL

SIGNATURES = text_format.Parse(
    """
    signature_def {
      key: "serving_default"
      value {
        inputs {
          key: "x"
          value { name: "x:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } dim { size: 1 } } }
        }
        outputs { key: "y" value { name: "y:0" dtype: DT_FLOAT_REF tensor_shape { unknown_rank: true } } }
        method_name: "tensorflow/serving/predict"
      }
    }
    signature_def { key: "init" value { outputs { key: "op" value { name: "NoOp" } } } }
    """,
    SignatureDefMap(),
    descriptor_pool=POOL,
)


def test_a_status_is_laid_out_as_the_original_lays_it_out() -> None:
    response = GetModelStatusResponse(
        model_version_status=[
            ModelVersionStatus(version=124, state=ModelVersionStatus.AVAILABLE, status=StatusProto()),
            ModelVersionStatus(
                version=123,
                state=ModelVersionStatus.END,
                status=StatusProto(error_code=5, error_message='no "file" <é>'),
            ),
        ]
    )
    assert encode_status(response).decode() == (
        """\
{
 "model_version_status": [
  {
   "version": "124",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  },
  {
   "version": "123",
   "state": "END",
   "status": {
    "error_code": "NOT_FOUND",
    "error_message": "no \\"file\\" \\u003cé\\u003e"
   }
  }
 ]
}
"""
    )


def test_a_status_without_versions_is_an_empty_list() -> None:
    assert encode_status(GetModelStatusResponse()) == b'{\n "model_version_status": []\n}\n'


def test_metadata_is_laid_out_as_the_original_lays_it_out() -> None:
    assert encode_metadata("m", 123, SIGNATURES).decode() == (
        """\
{
"model_spec":{
 "name": "m",
 "version": "123",
 "signature_name": ""
}
,
"metadata": {"signature_def": {
 "signature_def": {
  "init": {
   "inputs": {},
   "outputs": {
    "op": {
     "name": "NoOp",
     "dtype": "DT_INVALID"
    }
   },
   "method_name": "",
   "defaults": {}
  },
  "serving_default": {
   "inputs": {
    "x": {
     "name": "x:0",
     "dtype": "DT_FLOAT",
     "tensor_shape": {
      "dim": [
       {
        "size": "-1",
        "name": ""
       },
       {
        "size": "1",
        "name": ""
       }
      ],
      "unknown_rank": false
     }
    }
   },
   "outputs": {
    "y": {
     "name": "y:0",
     "dtype": "DT_FLOAT_REF",
     "tensor_shape": {
      "dim": [],
      "unknown_rank": true
     }
    }
   },
   "method_name": "tensorflow/serving/predict",
   "defaults": {}
  }
 }
}
}
}
"""
    )


def _as_protobuf_prints_it(message: Message) -> object:
    return json.loads(
        json_format.MessageToJson(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            descriptor_pool=POOL,
        )
    )


def test_metadata_says_all_that_protobuf_says_of_a_signature() -> None:
    signatures = text_format.Parse(
        r"""
        signature_def {
          key: "<a>"
          value {
            inputs {
              key: "x"
              value {
                composite_tensor {
                  type_spec {
                    type_state { dict_value { fields { key: "d" value { tensor_dtype_value: DT_HALF } } } }
                    num_flat_components: 1
                  }
                  components { name: "c:0" }
                }
              }
            }
            inputs { key: "s" value { coo_sparse { values_tensor_name: "v:0" } } }
            defaults {
              key: "x"
              value {
                dtype: DT_FLOAT tensor_shape { dim { size: 2 } }
                float_val: 1.5 float_val: nan tensor_content: "\377" bool_val: true
              }
            }
          }
        }
        """,
        SignatureDefMap(),
        descriptor_pool=POOL,
    )
    document = json.loads(encode_metadata("m", 1, signatures))
    assert document["metadata"]["signature_def"] == _as_protobuf_prints_it(signatures)
