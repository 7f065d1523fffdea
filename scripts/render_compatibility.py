"""Writes the table of flags into docs/compatibility.md.

    python scripts/render_compatibility.py

Run it after every change to a flag, or to what hotserve.config.compatibility says of one; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from hotserve.config.compatibility import ORIGINAL_FLAGS, default_text, flag_compatibility, own_default

PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"

_TABLE = re.compile(
    r"(?<=<!-- flags: written by scripts/render_compatibility\.py -->\n).*(?=<!-- end of flags -->)", re.S
)


def flag_table() -> str:
    """The table of the original's flags, in Markdown."""
    lines = ["| flag | default there | default here | state | |", "|---|---|---|---|---|"]
    for name, flag in ORIGINAL_FLAGS.items():
        known = flag_compatibility(name)
        cells = (f"`--{name}`", default_text(flag.default), own_default(name), known.state.value, known.text)
        lines.append("| " + " | ".join(cells) + " |")
    return re.sub(" +", " ", "\n".join(lines)) + "\n"


def rendered(page: str) -> str:
    """The page with the table in it as it should be."""
    return _TABLE.sub(lambda _: flag_table(), page)


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
