"""The JSON body of a classify or regress request, which another process reads where it is large."""

from __future__ import annotations

from hotserve.codecs.json_apart import APART_BYTES, ApartProcesses, BodyApart, ReadApart
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_examples import decode_examples
from hotserve.codecs.json_request import signature_name
from hotserve.tensors import Array


def read_examples_body(data: bytes) -> tuple[str, Array]:
    """Reads a body.

    Args:
        data: The body.

    Returns:
        The signature that it names, empty for the default one; and its examples, as `decode_examples` gives them.

    Raises:
        InvalidArgument: It is not JSON, not an object, or no request of this kind.
        ReadApart: It is large: another process has to read it.
    """
    if len(data) >= APART_BYTES:
        raise ReadApart(lambda processes: _read_apart(data, processes))
    document = parse_document(data)
    return signature_name(document), decode_examples(document)


def _read_apart(data: bytes, processes: ApartProcesses) -> tuple[str, Array]:
    body = BodyApart(data, processes, lists_examples=True)
    return body.signature_name, body.examples()
