"""What the doctor has found, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Grade(Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """It is otherwise than it was, or than one may think, and nothing has to be done."""
    ATTENTION = "attention"
    """Somebody has to look at it."""


_BELOW: Final = "\n" + " " * 13
"""Puts the further lines of a text below its first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report.

    Attributes:
        section: The heading that it stands under.
        grade: How much it matters.
        subject: What it is about: a flag, a file, a model.
        text: What is to be said of it, in words for the user; may be empty.
    """

    section: str
    grade: Grade
    subject: str
    text: str = ""


def needs_attention(findings: Iterable[Finding]) -> int:
    """How many of the findings somebody has to look at."""
    return sum(finding.grade is Grade.ATTENTION for finding in findings)


def report_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """The lines of a report, with a heading wherever the section changes."""
    section = None
    for finding in findings:
        if finding.section != section:
            section = finding.section
            yield ""
            yield section
        mark = "ATTENTION" if finding.grade is Grade.ATTENTION else finding.grade.value
        text = f": {finding.text}" if finding.text else ""
        yield f"  {mark:<11}{finding.subject}{text}".replace("\n", _BELOW)
