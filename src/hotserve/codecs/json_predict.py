"""The JSON body of a predict request, by the short cut where that is possible."""

from __future__ import annotations

from dataclasses import dataclass

from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_plain_body import PlainBody, decode_plain_body, read_plain_body
from hotserve.codecs.json_request import PredictInputs, decode_predict, signature_name
from hotserve.codecs.json_value import JsonObject
from hotserve.tensors import Signature


@dataclass(frozen=True, slots=True)
class PredictBody:
    """A body that is JSON, and an object; its tensors are read once the signature is known.

    Attributes:
        signature_name: The signature that it names; empty for the default one.
        form: What was read of it.
        data: The body.
    """

    signature_name: str
    form: PlainBody | JsonObject
    data: bytes

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        """Reads the tensors: see `json_request.decode_predict`."""
        if not isinstance(self.form, PlainBody):
            return decode_predict(self.form, signature, name)
        return decode_plain_body(self.form, signature) or decode_predict(parse_document(self.data), signature, name)


def read_predict_body(data: bytes) -> PredictBody:
    """Reads a body as far as that is possible without a signature.

    Raises:
        InvalidArgument: It is not JSON, not an object, or names a signature by something else than a string.
    """
    plain = read_plain_body(data)
    if plain is not None:
        return PredictBody(plain.signature_name, plain, data)
    document = parse_document(data)
    return PredictBody(signature_name(document), document, data)
