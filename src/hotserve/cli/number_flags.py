"""Numbers within bounds, as types of flags for argparse."""

from __future__ import annotations

import argparse


class whole:  # noqa: N801  # it is used as a function
    """A whole number within bounds, for argparse."""

    def __init__(self, least: int, most: int) -> None:
        self.__name__ = f"number from {least} to {most}"  # which argparse shows for what is no number
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        value = int(text)
        if not self._least <= value <= self._most:
            raise argparse.ArgumentTypeError(f"{text} is not from {self._least} to {self._most}")
        return value


class positive:  # noqa: N801  # it is used as a function
    """A number above 0, or from 0 on, and not above a bound; for argparse."""

    def __init__(self, most: float, *, or_zero: bool = False) -> None:
        self.__name__ = "number"
        self._most, self._or_zero = most, or_zero

    def __call__(self, text: str) -> float:
        value = float(text)
        if not (0 < value <= self._most or (self._or_zero and value == 0)):
            raise argparse.ArgumentTypeError(
                f"{text} is not {'from' if self._or_zero else 'above'} 0 to {self._most:g}"
            )
        return value
