"""Contract 1.14: GetModelMetadata and GetModelStatus."""

from __future__ import annotations

from hotserve.protos import messages
from support.contract import Client, lines, model_spec

TYPE_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


def metadata(*fields: str, spec: messages.ModelSpec | None = None) -> messages.GetModelMetadataRequest:
    return messages.GetModelMetadataRequest(model_spec=spec, metadata_field=fields)


def signatures(client: Client, model: str) -> messages.SignatureDefMap:
    answer = client.call("GetModelMetadata", metadata("signature_def", spec=model_spec(model)))
    assert list(answer.metadata) == ["signature_def"]
    assert answer.metadata["signature_def"].type_url == TYPE_URL
    return messages.SignatureDefMap.FromString(answer.metadata["signature_def"].value)


@lines(
    "request_, code, text",
    {
        "model_spec present, before the fields": [metadata(), "INVALID_ARGUMENT", "Missing ModelSpec"],
        "at least one metadata_field": [
            metadata(spec=model_spec("half")),
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ],
        "at least one metadata_field, before the model": [
            metadata(spec=model_spec("nope")),
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ],
        "each field is signature_def": [
            metadata("signature_def", "zzz", spec=model_spec("half")),
            "INVALID_ARGUMENT",
            "Metadata field zzz is not supported",
        ],
        "each field is signature_def, before the model": [
            metadata("zzz", spec=model_spec("nope")),
            "INVALID_ARGUMENT",
            "Metadata field zzz is not supported",
        ],
        "the model": [
            metadata("signature_def", spec=model_spec("nope")),
            "NOT_FOUND",
            "Servable not found for request: Latest(nope)",
        ],
    },
)
def test_metadata_that_is_refused(
    client: Client, request_: messages.GetModelMetadataRequest, code: str, text: str
) -> None:
    refusal = client.refusal("GetModelMetadata", request_)
    assert refusal[0] == code
    assert refusal[1].startswith(text)


def test_a_field_may_be_asked_for_twice(client: Client) -> None:
    request = metadata("signature_def", "signature_def", spec=model_spec("half"))
    assert list(client.call("GetModelMetadata", request).metadata) == ["signature_def"]


def test_all_signatures_are_returned_as_the_model_declares_them(client: Client) -> None:
    found = signatures(client, "half").signature_def
    assert set(found) == {"serving_default", "regress_x_to_y", "regress_x2_to_y3", "classify_x_to_y"}
    x, inputs = found["serving_default"].inputs["x"], found["regress_x_to_y"].inputs["inputs"]
    assert (x.name, messages.DataType.Name(x.dtype)) == ("x:0", "DT_FLOAT")
    assert [dim.size for dim in x.tensor_shape.dim] == [-1, 1]
    assert (inputs.name, messages.DataType.Name(inputs.dtype)) == ("tf_example:0", "DT_STRING")
    assert inputs.tensor_shape.unknown_rank
    assert found["regress_x_to_y"].method_name == "tensorflow/serving/regress"


def test_the_init_op_of_tensorflow_2_is_among_them(client: Client) -> None:
    found = signatures(client, "tf2").signature_def["__saved_model_init_op"]
    output = found.outputs["__saved_model_init_op"]
    assert (found.method_name, output.name, messages.DataType.Name(output.dtype)) == ("", "NoOp", "DT_INVALID")
    assert output.tensor_shape.unknown_rank


def test_defaults_are_among_them(client: Client) -> None:
    found = signatures(client, "pair").signature_def
    assert list(found["with_default"].defaults["b"].float_val) == [100.0]
    assert not found["sum"].defaults


# GetModelStatus.


def status(spec: messages.ModelSpec | None = None) -> messages.GetModelStatusRequest:
    return messages.GetModelStatusRequest(model_spec=spec)


@lines(
    "request_, code, text",
    {
        "no model_spec": [status(), "INVALID_ARGUMENT", "Missing ModelSpec"],
        "version unknown": [
            status(model_spec("plus", version=9)),
            "NOT_FOUND",
            "Could not find version 9 of model plus",
        ],
        "version of an unknown model": [
            status(model_spec("nope", version=9)),
            "NOT_FOUND",
            "Could not find version 9 of model nope",
        ],
        "name unknown": [status(model_spec("nope")), "NOT_FOUND", "Could not find any versions of model nope"],
        "name empty": [status(model_spec()), "NOT_FOUND", "Could not find any versions of model "],
    },
)
def test_status_that_is_refused(client: Client, request_: messages.GetModelStatusRequest, code: str, text: str) -> None:
    assert client.refusal("GetModelStatus", request_) == (code, text)


@lines(
    "spec, versions",
    {
        "all versions, descending": [model_spec("plus"), [2, 1]],
        "that version only": [model_spec("plus", version=1), [1]],
        "a label is ignored": [model_spec("plus", label="stable"), [2, 1]],
        "a label that is unknown is ignored": [model_spec("plus", label="zzz"), [2, 1]],
    },
)
def test_status_lists(client: Client, spec: messages.ModelSpec, versions: list[int]) -> None:
    found = client.call("GetModelStatus", status(spec)).model_version_status
    assert [each.version for each in found] == versions
    assert {each.state for each in found} == {30}
    assert all(each.HasField("status") and each.status.error_code == 0 for each in found)
    assert {each.status.error_message for each in found} == {""}
