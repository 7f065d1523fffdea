"""What stands around the values of a predict body: who says the same there names the same signature.

That is told by comparing bytes, without reading the values, and is never wrong of a body that is JSON. In a text
without backslashes every second quotation mark ends a string. So where an even number of them stands before the first
list, the list is no part of a string, and all bodies that begin alike have the same members before it; the same goes
from the end backwards. Between the two no member is called `signature_name` if the text does not say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_NAME: Final = b"signature_name"
_ESCAPE: Final = b"\\"
_QUOTE: Final = b'"'


@dataclass(frozen=True, slots=True)
class AroundValues:
    """What stands in a body before the values of its first list, and behind those of its last one.

    Attributes:
        beginning: Ends with a bracket.
        end: Begins with one.
    """

    beginning: bytes
    end: bytes

    def is_of(self, message: bytes, start: int = 0) -> bool:
        """Whether a body says the same there, and nowhere else what signature it names.

        Args:
            message: What ends with the body.
            start: Where it begins there.
        """
        first, last = start + len(self.beginning), len(message) - len(self.end)
        return (
            first <= last
            and message.startswith(self.beginning, start)
            and message.endswith(self.end)
            and message.find(_NAME, first, last) < 0
            and message.find(_ESCAPE, first, last) < 0
        )


def around_values(body: bytes) -> AroundValues | None:
    """What stands around the values of a body; None where others that say the same may name another signature."""
    first, last = body.find(b"["), body.rfind(b"]")
    if not 0 <= first < last or _ESCAPE in body or _NAME in body[first:last]:
        return None
    beginning, end = body[: first + 1], body[last:]
    if beginning.count(_QUOTE) % 2 or end.count(_QUOTE) % 2:
        return None
    return AroundValues(beginning, end)
