"""The model under load: its name on either API, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from google.protobuf.message import DecodeError

from hotserve.codecs.signature_def import signatures_from_map, signatures_from_metadata
from hotserve.errors import InvalidArgument, NotFound, ServingError
from hotserve.loadgen.exchange import Answer, Request
from hotserve.loadgen.server import Server
from hotserve.loadgen.target import Wire
from hotserve.protos.messages import GetModelMetadataRequest, GetModelMetadataResponse, ModelSpec, SignatureDefMap
from hotserve.tensors import Signature

PREDICTION_SERVICE: Final = "/tensorflow.serving.PredictionService"
_SIGNATURES: Final = "signature_def"
_SHOWN_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Model:
    """Which model.

    Attributes:
        name: Its name.
        version: Which version; None for the one that the server answers with.
        label: Which label; empty for none.
    """

    name: str
    version: int | None = None
    label: str = ""

    def path(self, prefix: str) -> str:
        """The path of its URLs over REST, after what stands before the API."""
        path = f"{prefix}/v1/models/{quote(self.name, safe='')}"
        if self.version is not None:
            return f"{path}/versions/{self.version}"
        return f"{path}/labels/{quote(self.label, safe='')}" if self.label else path

    def spec(self, signature_name: str = "") -> ModelSpec:
        """How messages name it."""
        spec = ModelSpec(name=self.name, signature_name=signature_name)
        if self.version is not None:
            spec.version.value = self.version
        elif self.label:
            spec.version_label = self.label
        return spec

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}, version {self.version}"
        return f"{self.name}, label {self.label}" if self.label else self.name


def signatures_of(server: Server, model: Model) -> Mapping[str, Signature]:
    """Asks a server for the signatures of a model.

    Raises:
        Unavailable: It cannot be reached.
        NotFound: It knows no such model.
        InvalidArgument: Its answer is no metadata.
    """
    target = server.access.target
    if target.wire is Wire.REST:
        answer = server.call(Request(f"{model.path(target.prefix)}/metadata", b"", method="GET"))
        _check(answer, server, model)
        try:
            document = json.loads(answer.body)
        except ValueError as error:
            raise InvalidArgument(
                f"{target.text} describes the model in no JSON: {answer.body[:_SHOWN_CHARACTERS]!r}. Expected the"
                " metadata of TensorFlow Serving's REST API. Is the port that of another service?"
            ) from error
        return signatures_from_metadata(document if isinstance(document, dict) else {})
    message = GetModelMetadataRequest(model_spec=model.spec(), metadata_field=[_SIGNATURES])
    answer = server.call(Request(f"{PREDICTION_SERVICE}/GetModelMetadata", message.SerializeToString()))
    _check(answer, server, model)
    try:
        metadata = GetModelMetadataResponse.FromString(answer.body).metadata
        return signatures_from_map(SignatureDefMap.FromString(metadata[_SIGNATURES].value))
    except DecodeError as error:
        raise InvalidArgument(
            f"{target.text} describes the model in a form that is not understood: {error}."
        ) from error


def text_of_error(answer: Answer) -> str:
    """What an answer that is an error says, without the JSON around it."""
    text = answer.body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        return text[:_SHOWN_CHARACTERS]
    said = document.get("error", text) if isinstance(document, dict) else text
    return str(said)[:_SHOWN_CHARACTERS]


def _check(answer: Answer, server: Server, model: Model) -> None:
    if not answer.error:
        return
    said = f"{server.access.target.text} answers {answer.error} to the question for the metadata of model {model}"
    text = f"{said}: {text_of_error(answer)}"
    if answer.error in ("404", "NOT_FOUND"):
        raise NotFound(f"{text.rstrip('.')}. Look at the name that --model gives, and at --version and --label.")
    raise ServingError(f"{text.rstrip('.')}. Expected the metadata of TensorFlow Serving's API.")
