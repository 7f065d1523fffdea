"""The forms that a predict request and its answer may have over REST, chosen by `Content-Type` and `Accept`.

JSON is TensorFlow Serving's, and what everything else is taken for: there the content type is not looked at, and
clients rely on it. A serialized PredictRequest (`application/x-protobuf`) and numpy's files (`application/x-npy`,
`application/x-npz`) spare both sides the text: a picture of 224 x 224 x 3 floats is 0.6 MB of them, and 2 to 3 MB of
JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError

from hotserve.api.codec_threads import LARGE_BYTES, LARGE_PACKED_BYTES, LARGE_TEXT_BYTES, size_of
from hotserve.api.exchange import JSON
from hotserve.api.grpc_calls import read_model_spec
from hotserve.api.predict_messages import NONE_CUT, decode_inputs, encode_large_response, encode_response
from hotserve.codecs.cut_tensors import CutValues, cut_tensors
from hotserve.codecs.json_apart import ReadApart
from hotserve.codecs.json_predict import PredictBody, read_predict_body
from hotserve.codecs.json_request import PredictInputs
from hotserve.codecs.json_response import encode_predictions
from hotserve.codecs.npy import ZIP_MAGIC, as_declared, read_npy, read_npz, write_npy, write_npz
from hotserve.core.handle import Lease
from hotserve.core.served_versions import ModelSpec
from hotserve.errors import InvalidArgument
from hotserve.handlers.checks import check_input_names
from hotserve.protos import messages
from hotserve.tensors import Array, Signature

PROTOBUF: Final = "application/x-protobuf"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"

SIGNATURE_HEADER: Final = "x-signature-name"
"""Names the signature of a request in numpy's form, which has no place for it."""


class AskedPredict(Protocol):
    """A request whose form is right; its tensors are read once the signature is known."""

    @property
    def signature_name(self) -> str:
        """The signature that it names; empty for the default one."""
        ...

    @property
    def output_filter(self) -> Sequence[str]:
        """The outputs that it names; none for all."""
        ...

    @property
    def usual(self) -> PredictBody | None:
        """The body, where it has a key by which requests like it are known."""
        ...

    @property
    def takes_no_inputs(self) -> bool:
        """Whether a signature without inputs can be called in this form."""
        ...

    def refine(self, spec: ModelSpec) -> ModelSpec:
        """The model that is meant, given the one that the URL names.

        Raises:
            InvalidArgument: The request names another.
        """
        ...

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        """Reads the tensors.

        Raises:
            ServingError: They do not fit the signature.
        """
        ...


@dataclass(slots=True)
class PredictAnswer:
    """What an answer is made of. Nobody changes it.

    Attributes:
        lease: The version that answers.
        signature_name: What was called.
        signature: The signature of that name.
        tensors: Output alias -> array, those that are wanted.
        row_format: Whether the request was a list of `instances`.
    """

    lease: Lease
    signature_name: str
    signature: Signature
    tensors: Mapping[str, Array]
    row_format: bool


class PredictFormat(Protocol):
    """One form.

    Attributes:
        large_answer_bytes: From this size of an answer's tensors on, `write` takes so long that it is called on a
            thread. `read` is where `is_large` says so.
    """

    large_answer_bytes: int

    def is_large(self, body: bytes) -> bool:
        """Whether a body takes so long to read that it is read on a thread."""
        ...

    def read(self, body: bytes, headers: Mapping[str, str]) -> AskedPredict:
        """Reads a body as far as that is possible without a signature.

        Raises:
            InvalidArgument: It has not this form.
        """
        ...

    def write(self, answer: PredictAnswer) -> tuple[bytes, str]:
        """Writes an answer: its body, and the content type.

        Raises:
            InvalidArgument: It cannot be said in this form.
        """
        ...


class PredictFormats:
    """Which form a request has, and which one its answer gets.

    Attributes:
        json: The one that everything else is taken for.
    """

    def __init__(self, *, max_message_bytes: int, as_content: bool) -> None:
        """Makes the forms.

        Args:
            max_message_bytes: The largest body, unpacked.
            as_content: Whether the tensors of a PredictResponse are raw bytes, in `tensor_content`.
        """
        self.json: PredictFormat = _Json()
        protobuf, numpy = _Protobuf(as_content), _Numpy(max_message_bytes)
        self._others: Mapping[str, PredictFormat] = MappingProxyType(
            {PROTOBUF: protobuf, "application/protobuf": protobuf, NPY: numpy, NPZ: numpy}
        )

    def is_json(self, headers: Mapping[str, str]) -> bool:
        """Whether a request and its answer are JSON."""
        form = self.of_request(headers)
        return form is self.json and self.of_answer(headers, form) is self.json

    def of_request(self, headers: Mapping[str, str]) -> PredictFormat:
        """The form that a request says it has."""
        content_type = headers.get("content-type")
        if not content_type or content_type == JSON:
            return self.json
        return self._others.get(_media_type(content_type), self.json)

    def of_answer(self, headers: Mapping[str, str], asked_in: PredictFormat) -> PredictFormat:
        """The form that the answer gets: the first one of `Accept` that there is, or that of the request."""
        accept = headers.get("accept")
        if not accept or accept == "*/*":
            return asked_in
        for entry in accept.split(","):
            media_type = _media_type(entry)
            if media_type == JSON:
                return self.json
            if media_type in self._others:
                return self._others[media_type]
        return asked_in


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()


class _Json:
    large_answer_bytes = LARGE_TEXT_BYTES // 4  # a float of four bytes becomes ten or so characters

    def is_large(self, body: bytes) -> bool:
        return len(body) >= LARGE_TEXT_BYTES

    def read(self, body: bytes, headers: Mapping[str, str]) -> AskedPredict:
        try:
            return _AskedInJson(read_predict_body(body))
        except ReadApart as apart:
            raise apart.then(_AskedInJson) from None

    def write(self, answer: PredictAnswer) -> tuple[bytes, str]:
        return encode_predictions(answer.tensors, answer.row_format), JSON


class _OfUrl:
    """A request whose model is named by the URL alone, and which wants all outputs."""

    __slots__ = ()

    output_filter: Sequence[str] = ()

    def refine(self, spec: ModelSpec) -> ModelSpec:
        return spec


class _AskedInJson(_OfUrl):
    __slots__ = ("decode", "signature_name", "usual")

    takes_no_inputs = False

    def __init__(self, body: PredictBody) -> None:
        self.signature_name = body.signature_name
        self.usual = None if body.key is None else body
        self.decode = body.decode


class _Protobuf:
    large_answer_bytes = LARGE_BYTES

    def is_large(self, body: bytes) -> bool:
        return len(body) >= LARGE_BYTES

    def __init__(self, as_content: bool) -> None:
        self._as_content = as_content

    def read(self, body: bytes, headers: Mapping[str, str]) -> AskedPredict:
        try:
            cut = cut_tensors(body) if self.is_large(body) else None
            rest, values = cut or (body, NONE_CUT)
            return _AskedInProtobuf(messages.PredictRequest.FromString(rest), values)
        except DecodeError as error:
            raise InvalidArgument(
                f"The body has the content type {PROTOBUF}, and is no serialized PredictRequest: {error}."
            ) from error

    def write(self, answer: PredictAnswer) -> tuple[bytes, str]:
        is_large = size_of(answer.tensors) >= self.large_answer_bytes
        body = (encode_large_response if is_large else encode_response)(
            answer.lease,
            answer.signature_name,
            answer.signature,
            answer.tensors,
            list(answer.tensors),
            self._as_content,
        )
        return body, PROTOBUF


@dataclass(frozen=True, slots=True)
class _AskedInProtobuf:
    message: Any
    cut: Mapping[str, CutValues]
    takes_no_inputs = True
    usual = None

    @property
    def signature_name(self) -> str:
        return str(self.message.model_spec.signature_name)

    @property
    def output_filter(self) -> Sequence[str]:
        return list(self.message.output_filter)

    def refine(self, spec: ModelSpec) -> ModelSpec:
        if not self.message.model_spec.name:
            # Who has named the model in the URL may leave it out here; a version or label counts all the same.
            self.message.model_spec.name = spec.name
        named = read_model_spec(self.message.model_spec)
        if named.version is None and named.label is None:
            named = replace(named, version=spec.version, label=spec.label)
        by_url = replace(named, name=spec.name) if spec.version is None and spec.label is None else spec
        if named != by_url:
            raise InvalidArgument(
                f"The URL names {_described(spec)}, and the model_spec of the body {_described(named)}. Leave the"
                " model_spec out, or name the same."
            )
        return named

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        inputs: dict[str, Array] = {}
        decode_inputs(self.message, signature, inputs, self.cut)
        return PredictInputs(inputs, row_format=False)


def _described(spec: ModelSpec) -> str:
    if spec.version is not None:
        return f"{spec.name} version {spec.version}"
    return f"{spec.name} label {spec.label}" if spec.label is not None else spec.name


class _Numpy:
    large_answer_bytes = LARGE_BYTES

    def is_large(self, body: bytes) -> bool:
        return len(body) >= (LARGE_PACKED_BYTES if body.startswith(ZIP_MAGIC) else LARGE_BYTES)

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes

    def read(self, body: bytes, headers: Mapping[str, str]) -> AskedPredict:
        name = headers.get(SIGNATURE_HEADER, "")
        if body.startswith(ZIP_MAGIC):
            return _AskedInNumpy(name, read_npz(body, self._max_message_bytes))
        return _AskedInNumpy(name, read_npy(body))

    def write(self, answer: PredictAnswer) -> tuple[bytes, str]:
        if len(answer.tensors) == 1:
            (array,) = answer.tensors.values()
            return write_npy(array), NPY
        return write_npz(answer.tensors), NPZ


@dataclass(frozen=True, slots=True)
class _AskedInNumpy(_OfUrl):
    """A request in numpy's form.

    Attributes:
        signature_name: As the header names it.
        arrays: Input alias -> array; one array for the only input.
    """

    signature_name: str
    arrays: Mapping[str, Array] | Array
    takes_no_inputs = True
    usual = None

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        arrays = self.arrays
        if not isinstance(arrays, Mapping):
            if len(signature.inputs) != 1:
                raise InvalidArgument(
                    f"One array came, and the signature has {len(signature.inputs)} inputs. Send an .npz file, as"
                    " numpy.savez(file, name=array, ...) writes it."
                )
            arrays = dict.fromkeys(signature.inputs, arrays)
        check_input_names(signature, arrays)
        return PredictInputs(
            {alias: as_declared(array, signature.inputs[alias].dtype) for alias, array in arrays.items()},
            row_format=False,
        )
