"""The JSON body of a REST request as the record that the same request over gRPC would leave."""

from __future__ import annotations

from collections.abc import Mapping

from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_examples import decode_examples
from hotserve.codecs.json_request import decode_predict, signature_name
from hotserve.codecs.json_value import JsonObject
from hotserve.codecs.tensor_proto import serialize_tensor
from hotserve.errors import InvalidArgument
from hotserve.protos.messages import (
    ClassificationRequest,
    ClassifyLog,
    Example,
    Input,
    ModelSpec,
    PredictionLog,
    PredictLog,
    PredictRequest,
    RegressionRequest,
    RegressLog,
)
from hotserve.tensors import DEFAULT_SIGNATURE, Signature

VERBS = ("predict", "classify", "regress")


def record_of(verb: str, body: bytes, model_name: str, signatures: Mapping[str, Signature]) -> PredictionLog:
    """Makes a record, without an answer, of a REST request.

    Args:
        verb: One of `VERBS`: what the request would be posted to.
        body: Its body.
        model_name: The model.
        signatures: The model's, by name: JSON alone does not tell the dtypes of a predict request.

    Raises:
        InvalidArgument: The body is no such request, or does not fit the signature that it names.
    """
    document = parse_document(body)
    name = signature_name(document) or DEFAULT_SIGNATURE
    signature = signatures.get(name)
    if signature is None:
        raise InvalidArgument(
            f'Serving signature name: "{name}" not found in signature def. Signatures: {", ".join(sorted(signatures))}.'
        )
    spec = ModelSpec(name=model_name, signature_name=name)
    match verb:
        case "predict":
            request = PredictRequest(model_spec=spec)
            for alias, array in decode_predict(document, signature, name).inputs.items():
                request.inputs[alias].MergeFromString(serialize_tensor(array, signature.inputs[alias].dtype))
            return PredictionLog(predict_log=PredictLog(request=request))
        case "classify":
            classify = ClassificationRequest(model_spec=spec, input=_examples(document))
            return PredictionLog(classify_log=ClassifyLog(request=classify))
        case "regress":
            regress = RegressionRequest(model_spec=spec, input=_examples(document))
            return PredictionLog(regress_log=RegressLog(request=regress))
        case _:
            raise InvalidArgument(f"There are no {verb} requests. Expected one of {', '.join(VERBS)}.")


def _examples(document: JsonObject) -> Input:
    message = Input()
    message.example_list.examples.extend(Example.FromString(data) for data in decode_examples(document))
    return message
