"""The JSON body of a predict request, by a short cut where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from hotserve.codecs import compiled
from hotserve.codecs.json_compiled_body import read_compiled_body
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_plain_body import read_plain_body
from hotserve.codecs.json_request import PredictInputs, decode_predict, signature_name
from hotserve.codecs.json_value import JsonObject
from hotserve.tensors import Signature


class UsualBody(Protocol):
    """A body of a form that is read by a short cut."""

    @property
    def signature_name(self) -> str:
        """The signature that it names; empty for the default one."""
        ...

    def decode(self, signature: Signature) -> PredictInputs | None:
        """The tensors; None where `decode_predict` has to look."""
        ...


_read_usual_body: Final[Callable[[bytes], UsualBody | None]] = (
    read_compiled_body if compiled.IS_USED else read_plain_body
)


@dataclass(frozen=True, slots=True)
class PredictBody:
    """A body that is JSON, and an object; its tensors are read once the signature is known.

    Attributes:
        signature_name: The signature that it names; empty for the default one.
        form: What was read of it.
        data: The body.
    """

    signature_name: str
    form: UsualBody | JsonObject
    data: bytes

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        """Reads the tensors: see `json_request.decode_predict`."""
        if isinstance(self.form, dict):
            return decode_predict(self.form, signature, name)
        return self.form.decode(signature) or decode_predict(parse_document(self.data), signature, name)


def read_predict_body(data: bytes) -> PredictBody:
    """Reads a body as far as that is possible without a signature.

    Raises:
        InvalidArgument: It is not JSON, not an object, or names a signature by something else than a string.
    """
    usual = _read_usual_body(data)
    if usual is not None:
        return PredictBody(usual.signature_name, usual, data)
    document = parse_document(data)
    return PredictBody(signature_name(document), document, data)
