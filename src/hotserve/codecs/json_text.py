"""Strings as the API writes them."""

from __future__ import annotations

import re
from typing import Final

_TO_ESCAPE = re.compile(r'["\\\x00-\x1f]')
_ESCAPED: Final = {
    **{code: f"\\u{code:04X}" for code in range(0x20)},
    ord("\b"): "\\b",
    ord("\t"): "\\t",
    ord("\n"): "\\n",
    ord("\f"): "\\f",
    ord("\r"): "\\r",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def quoted(text: str) -> str:
    """A JSON string: only what must be escaped is, everything else is written as it is.

    Source: RapidJSON 1.1.0 `writer.h`, WriteString.
    """
    if _TO_ESCAPE.search(text):
        text = text.translate(_ESCAPED)
    return f'"{text}"'
