"""What a request log is given of a request that was answered; made into a record off the request's path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hotserve.codecs.inference_results import Classified, Regressed, classification_result, regression_result
from hotserve.codecs.prediction_log import LogKind, serialize_log
from hotserve.codecs.tensor_proto import serialize_tensor
from hotserve.core.ids import ServableId
from hotserve.protos.messages import (
    ClassificationRequest,
    ClassificationResponse,
    Example,
    LogMetadata,
    ModelSpec,
    PredictRequest,
    PredictResponse,
    RegressionRequest,
    RegressionResponse,
)
from hotserve.tensors import Array, Signature


class LoggedCall(Protocol):
    """A request and its answer, held by reference."""

    @property
    def signature_name(self) -> str:
        """The signature that answered; empty where there was more than one."""
        ...

    @property
    def size_bytes(self) -> int:
        """About how much memory is held."""
        ...

    def record(self, id: ServableId, metadata: LogMetadata) -> bytes:
        """The record.

        Args:
            id: The version that answered.
            metadata: Goes into the record.

        Returns:
            A serialized PredictionLog.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GrpcCall:
    """A call over gRPC: the messages as they came and went."""

    kind: LogKind
    signature_name: str
    request: bytes
    response: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.request) + len(self.response)

    def record(self, id: ServableId, metadata: LogMetadata) -> bytes:
        return serialize_log(self.kind, metadata, self.request, self.response)


@dataclass(frozen=True, slots=True, eq=False)
class RestPredict:
    """A predict request over REST: the arrays, from which the same request over gRPC is made."""

    signature_name: str
    signature: Signature
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    size_bytes: int

    def record(self, id: ServableId, metadata: LogMetadata) -> bytes:
        request = PredictRequest(model_spec=_asked(id, self.signature_name))
        for alias, array in self.inputs.items():
            request.inputs[alias].MergeFromString(serialize_tensor(array, self.signature.inputs[alias].dtype))
        response = PredictResponse(model_spec=_answered(id, self.signature_name))
        for alias, array in self.outputs.items():
            response.outputs[alias].MergeFromString(serialize_tensor(array, self.signature.outputs[alias].dtype))
        return serialize_log(LogKind.PREDICT, metadata, request.SerializeToString(), response.SerializeToString())


@dataclass(frozen=True, slots=True, eq=False)
class RestOnExamples:
    """A classify or regress request over REST: examples and results, from which the same over gRPC is made."""

    signature_name: str
    examples: Array
    result: Classified | Regressed
    size_bytes: int

    def record(self, id: ServableId, metadata: LogMetadata) -> bytes:
        asked, answered = _asked(id, self.signature_name), _answered(id, self.signature_name)
        request: ClassificationRequest | RegressionRequest
        response: ClassificationResponse | RegressionResponse
        match self.result:
            case Classified():
                kind, request = LogKind.CLASSIFY, ClassificationRequest(model_spec=asked)
                response = ClassificationResponse(model_spec=answered, result=classification_result(self.result))
            case Regressed():
                kind, request = LogKind.REGRESS, RegressionRequest(model_spec=asked)
                response = RegressionResponse(model_spec=answered, result=regression_result(self.result))
        request.input.example_list.examples.extend(Example.FromString(data) for data in self.examples)
        return serialize_log(kind, metadata, request.SerializeToString(), response.SerializeToString())


def _asked(id: ServableId, signature_name: str) -> ModelSpec:
    """Without a version, so that the request can be sent again to any."""
    return ModelSpec(name=id.name, signature_name=signature_name)


def _answered(id: ServableId, signature_name: str) -> ModelSpec:
    spec = _asked(id, signature_name)
    spec.version.value = id.version
    return spec
