"""Whether two answers are the same, and how far they are apart if not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hotserve.tensors import Array, shape_text


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart floating-point numbers may be: `absolute + relative * |recorded|`. All else must be equal."""

    relative: float = 0.0
    absolute: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """An output that is not the same.

    Attributes:
        output: Its name.
        text: Where it differs first or most, in words.
        largest: The largest absolute difference; infinite where there is no number for it.
    """

    output: str
    text: str
    largest: float


def differences(recorded: Mapping[str, Array], now: Mapping[str, Array], tolerance: Tolerance) -> list[Difference]:
    """Compares two answers output by output.

    Args:
        recorded: Output -> array.
        now: Output -> array of the same dtype. Outputs that were not recorded are not looked at.
        tolerance: How far apart floating-point numbers may be. NaN is equal to NaN.
    """
    found = []
    for output, array in sorted(recorded.items()):
        if output not in now:
            found.append(Difference(output, "is not in the answer", np.inf))
            continue
        difference = _difference(output, array, now[output], tolerance)
        if difference is not None:
            found.append(difference)
    return found


def _difference(output: str, recorded: Array, now: Array, tolerance: Tolerance) -> Difference | None:
    if recorded.shape != now.shape:
        text = f"has the shape {shape_text(now.shape)}, recorded was {shape_text(recorded.shape)}"
        return Difference(output, text, np.inf)
    if recorded.size == 0:
        return None
    if recorded.dtype.kind in "OSUb":
        unequal = np.asarray(recorded != now)
        largest = np.inf
        place = int(np.argmax(unequal))
        differ = bool(unequal.any())
    else:
        differ, place, largest = _numbers_differ(recorded, now, tolerance)
    if not differ:
        return None
    index = ",".join(map(str, np.unravel_index(place, recorded.shape)))
    where = f"[{index}]" if recorded.ndim else ""
    return Difference(output, f"{where} is {now.flat[place]}, recorded was {recorded.flat[place]}", largest)


def _numbers_differ(recorded: Array, now: Array, tolerance: Tolerance) -> tuple[bool, int, float]:
    """Whether numbers differ, where most, and by how much."""
    if recorded.dtype.kind in "iu":
        # Python's integers: a difference of two uint64 is none.
        distance = np.array([abs(int(a) - int(b)) for a, b in zip(recorded.flat, now.flat, strict=True)], np.float64)
        allowed = np.zeros(distance.shape)
    else:
        wide = np.complex128 if recorded.dtype.kind == "c" else np.float64
        before, after = recorded.ravel().astype(wide), now.ravel().astype(wide)
        same = (before == after) | (np.isnan(before) & np.isnan(after))
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.where(same, 0.0, np.abs(after - before))
            allowed = tolerance.absolute + tolerance.relative * np.abs(before)
        # NaN against a number, and infinities of unlike signs, are as far apart as can be.
        distance = np.where(np.isnan(distance), np.inf, distance)
        allowed = np.where(np.isfinite(allowed), allowed, 0.0)
    excess = distance > allowed
    place = int(np.argmax(np.where(excess, distance, -1.0)))
    return bool(excess.any()), place, float(distance[place])
