"""Binary values in JSON: the object `{"b64": "‹base64›"}`.

Source: TensorFlow Serving `util/json_tensor.cc`, IsValBase64Object; the alphabet and the padding are those of
`absl::Base64Unescape`, and the URL-safe alphabet besides, which it refuses.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from hotserve.codecs.json_value import JsonValue
from hotserve.errors import InvalidArgument

_KEY: Final = "b64"
_WHITE_SPACE: Final = b" \t\n\v\f\r"
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def base64_text(value: JsonValue) -> str | None:
    """The text of a base64 object: its one member is named `b64` and is a string. None for any other value."""
    if isinstance(value, dict) and len(value) == 1:
        text = value.get(_KEY)
        if isinstance(text, str):
            return text
    return None


def decode_base64(text: str) -> bytes:
    """Decodes base64 of either alphabet; white space is ignored; padding, `=` or `.`, is right or left out.

    Raises:
        InvalidArgument: The text is no base64.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        # Not the canonical form, or not ASCII: what else is allowed takes more passes over the text.
        return _decode_leniently(text)


def _decode_leniently(text: str) -> bytes:
    symbols = text.encode("utf-8", "surrogatepass").translate(_FROM_URL_SAFE, _WHITE_SPACE)
    data = symbols.rstrip(b"=.")
    missing = -len(data) % 4
    if missing == 3 or len(symbols) - len(data) not in (0, missing):
        raise InvalidArgument("Unable to base64 decode")
    try:
        return binascii.a2b_base64(data + b"=" * missing, strict_mode=True)
    except binascii.Error as error:
        raise InvalidArgument("Unable to base64 decode") from error


def base64_object(data: bytes) -> str:
    """The JSON text of the base64 object that holds `data`."""
    return f'{{"{_KEY}": "{base64.b64encode(data).decode()}"}}'
