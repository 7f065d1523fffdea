"""What a measurement is held against, and whether it is reached: the last table of a bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from report import line


@dataclass(frozen=True, slots=True)
class Aim:
    """One figure.

    Attributes:
        question: What was measured.
        measured: What came out.
        bound: What it is to be.
        at_least: Whether it is to be so much or more; otherwise so much or less.
    """

    question: str
    measured: float
    bound: float
    at_least: bool = False

    @property
    def is_reached(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def aims_table(aims: Sequence[Aim]) -> str:
    """The table: what was measured, what it is to be, and whether it is."""
    lines = [line(("question", "measured", "aim", "reached")), line(("---", "---:", "---:", "---"))]
    for aim in aims:
        sign = ">=" if aim.at_least else "<="
        reached = "yes" if aim.is_reached else "no"
        lines.append(line((aim.question, f"{aim.measured:.3g}", f"{sign} {aim.bound:g}", reached)))
    return "\n".join(lines)
