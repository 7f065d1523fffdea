"""Contract 2.13: status and metadata over REST, byte by byte."""

from __future__ import annotations

import json

from google.protobuf import json_format

from hotserve.protos import messages
from hotserve.protos.pool import POOL
from support.contract import Client, ask, lines, model_spec
from support.server_process import ServerProcess

STATUS = """{
 "model_version_status": [
  {
   "version": "123",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""


def test_status_byte_by_byte(server: ServerProcess) -> None:
    assert ask(server, "GET", "/v1/models/half").body.decode() == STATUS
    assert ask(server, "GET", "/v1/models/half/versions/123").body.decode() == STATUS
    assert ask(server, "GET", "/v1/models/half/versions/00123").body.decode() == STATUS


def test_status_lists_the_newest_first(server: ServerProcess) -> None:
    entries = json.loads(ask(server, "GET", "/v1/models/plus").body)["model_version_status"]
    assert [entry["version"] for entry in entries] == ["2", "1"]


@lines(
    "path, status, text",
    {
        "status of nothing": ["nope", 404, "Could not find any versions of model nope"],
        "status of no such version": ["half/versions/1", 404, "Could not find version 1 of model half"],
        "status of a version of nothing": ["nope/versions/1", 404, "Could not find version 1 of model nope"],
        "metadata of nothing": ["nope/metadata", 404, "Servable not found for request: Latest(nope)"],
        "metadata of no such version": [
            "half/versions/1/metadata",
            404,
            "Servable not found for request: Specific(half, 1)",
        ],
    },
)
def test_what_is_not_known(server: ServerProcess, path: str, status: int, text: str) -> None:
    answer = ask(server, "GET", f"/v1/models/{path}")
    assert (answer.status, answer.error.startswith(text)) == (status, True)


METADATA_BEGINS = """{
"model_spec":{
 "name": "tf2",
 "version": "1",
 "signature_name": ""
}
,
"metadata": {"signature_def": {
 "signature_def": {
"""

SERVING_DEFAULT = """  "serving_default": {
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
   "method_name": "tensorflow/serving/predict",
   "defaults": {}
  }
"""


def test_metadata_byte_by_byte(server: ServerProcess) -> None:
    tf2 = ask(server, "GET", "/v1/models/tf2/metadata").body.decode()
    assert tf2.startswith(METADATA_BEGINS)
    assert tf2.endswith("}\n}\n}\n}\n")
    # Signatures are in the order of their names, so that this one is the last.
    half = ask(server, "GET", "/v1/models/half/metadata").body.decode()
    assert half.endswith(SERVING_DEFAULT + " }\n}\n}\n}\n")


def test_metadata_is_what_protobuf_prints(server: ServerProcess, client: Client) -> None:
    request = messages.GetModelMetadataRequest(model_spec=model_spec("tf2"), metadata_field=["signature_def"])
    answer = client.call("GetModelMetadata", request)
    found = messages.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
    printed = json_format.MessageToDict(
        found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, descriptor_pool=POOL
    )
    body = json.loads(ask(server, "GET", "/v1/models/tf2/metadata").body)
    assert body["metadata"]["signature_def"] == printed
    assert "__saved_model_init_op" in printed["signature_def"]


def test_an_unknown_rank_has_no_dims(server: ServerProcess) -> None:
    body = json.loads(ask(server, "GET", "/v1/models/half/metadata").body)
    signature = body["metadata"]["signature_def"]["signature_def"]["regress_x_to_y"]
    assert signature["inputs"]["inputs"]["tensor_shape"] == {"dim": [], "unknown_rank": True}


def test_defaults_are_shown(server: ServerProcess) -> None:
    body = json.loads(ask(server, "GET", "/v1/models/pair/metadata").body)
    default = body["metadata"]["signature_def"]["signature_def"]["with_default"]["defaults"]["b"]
    assert (default["dtype"], default["float_val"]) == ("DT_FLOAT", [100.0])


def test_a_version_label_is_never_printed(server: ServerProcess) -> None:
    body = json.loads(ask(server, "GET", "/v1/models/plus/labels/stable/metadata").body)
    assert body["model_spec"] == {"name": "plus", "version": "1", "signature_name": ""}
