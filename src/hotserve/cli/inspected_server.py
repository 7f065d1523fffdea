"""What a running server says of a model."""

from __future__ import annotations

import json

from google.protobuf.message import DecodeError

from hotserve.cli.inspected import Inspected, InspectedSignature, InspectedVersion, batching_of
from hotserve.errors import InvalidArgument, ServingError
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.model import Model, signatures_of, text_of_error
from hotserve.loadgen.server import Server
from hotserve.loadgen.target import Wire
from hotserve.protos.messages import GetModelStatusRequest, GetModelStatusResponse, ModelVersionStatus

_STATUS_METHOD = "/tensorflow.serving.ModelService/GetModelStatus"


def inspect_server(server: Server, model: Model) -> Inspected:
    """Asks a server for the versions of a model, and for the signatures of those that are available.

    Raises:
        Unavailable: It cannot be reached.
        ServingError: It does not know the model.
    """
    versions = []
    for number, state, problem in sorted(_states(server, model), reverse=True):
        signatures: dict[str, InspectedSignature] = {}
        if state == "AVAILABLE":
            found = signatures_of(server, Model(model.name, number))
            signatures = {name: InspectedSignature(one, batching_of(one)) for name, one in found.items()}
        versions.append(InspectedVersion(number, state, signatures, problem))
    return Inspected(f"model {model} on {server.access.target.text}", versions)


def _states(server: Server, model: Model) -> list[tuple[int, str, str]]:
    """Number, name of the state, and text of the error of each version."""
    target = server.access.target
    if target.wire is Wire.REST:
        answer = server.call(Request(model.path(target.prefix), b"", method="GET"))
    else:
        message = GetModelStatusRequest(model_spec=model.spec())
        answer = server.call(Request(_STATUS_METHOD, message.SerializeToString()))
    if answer.error:
        said = text_of_error(answer).rstrip(".")
        raise ServingError(f"{target.text} answers {answer.error} to the question for the status of {model}: {said}.")
    try:
        if target.wire is Wire.REST:
            entries = json.loads(answer.body)["model_version_status"]
            return [(int(one["version"]), one["state"], one["status"]["error_message"]) for one in entries]
        statuses = GetModelStatusResponse.FromString(answer.body).model_version_status
    except (ValueError, KeyError, TypeError, DecodeError) as error:
        raise InvalidArgument(
            f"{target.text} tells the status of the model in no form that is known: {error}. Expected TensorFlow"
            " Serving's API. Is the port that of another service?"
        ) from error
    return [(one.version, ModelVersionStatus.State.Name(one.state), one.status.error_message) for one in statuses]
