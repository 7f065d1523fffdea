"""The JSON body of a predict request, by a short cut where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Protocol

from hotserve.codecs import compiled
from hotserve.codecs.compiled import Place
from hotserve.codecs.json_apart import APART_BYTES, ApartProcesses, BodyApart, ReadApart
from hotserve.codecs.json_compiled_body import CompiledBody, read_compiled_body
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_plain_body import PlainBody, read_plain_body
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


_read_usual_body: Final[Callable[[bytes], CompiledBody | PlainBody | None]] = (
    read_compiled_body if compiled.IS_USED else read_plain_body
)


class PredictBody:
    """A body that is JSON, and an object; its tensors are read once the signature is known.

    Attributes:
        signature_name: The signature that it names; empty for the default one.
        key: All of it but its values, in a form that can be compared; None where that is not known.
    """

    __slots__ = ("_data", "_form", "key", "signature_name")

    def __init__(self, signature_name: str, form: UsualBody | JsonObject | BodyApart, data: bytes) -> None:
        self.signature_name = signature_name
        self.key: Hashable = form.key if isinstance(form, CompiledBody) else None
        self._form = form
        self._data = data

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        """Reads the tensors, once: see `json_request.decode_predict`.

        Raises:
            ServingError: As said there.
            ReadApart: The body is large, and does not fit the signature just like that: another process has to look.
        """
        if isinstance(self._form, dict):
            return decode_predict(self._form, signature, name)
        if isinstance(self._form, BodyApart):
            body = self._form
            raise ReadApart(lambda _: body.decode(signature, name), has_begun=True)
        read = self._form.decode(signature)
        if read is not None:
            return read
        if len(self._data) >= APART_BYTES:
            data = self._data
            raise ReadApart(lambda processes: BodyApart(data, processes).decode(signature, name))
        return decode_predict(parse_document(self._data), signature, name)

    def decode_known(self, places: Sequence[Place]) -> PredictInputs | None:
        """What `decode` gives for a body with a key that came before; None where `decode` has to look.

        Args:
            places: What was known of its arrays then.
        """
        return self._form.decode_known(places) if isinstance(self._form, CompiledBody) else None

    @property
    def aliases(self) -> Sequence[str | None]:
        """The inputs that a body with a key names, in their order; None for one without a name."""
        return self._form.aliases if isinstance(self._form, CompiledBody) else ()


def read_predict_body(data: bytes) -> PredictBody:
    """Reads a body as far as that is possible without a signature.

    Args:
        data: The body.

    Raises:
        InvalidArgument: It is not JSON, not an object, or names a signature by something else than a string.
        ReadApart: It is large and of unusual form: another process has to read it.
    """
    usual = _read_usual_body(data)
    if usual is not None:
        return PredictBody(usual.signature_name, usual, data)
    if len(data) >= APART_BYTES:
        raise ReadApart(lambda processes: _read_apart(data, processes))
    document = parse_document(data)
    return PredictBody(signature_name(document), document, data)


def _read_apart(data: bytes, processes: ApartProcesses) -> PredictBody:
    apart = BodyApart(data, processes)
    return PredictBody(apart.signature_name, apart, data)
