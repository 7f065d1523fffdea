"""Which shapes a signature may take beside those that it declares, to be tried.

TensorFlow does not compare what is fed with the declared shape: an input of `[-1, 1]` that is only multiplied and added
to takes three plain numbers as well, and clients rely on it. Few graphs do: most of what is listed here is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hotserve.tensors import Shape

_RANKS: Final = (1, 2, 0)
"""The numbers of dimensions that are tried beside the declared one."""

PROBES: Final = ((2, 3), (1, 1), (3, 5), (8, 2))
"""Rows, and the size of all other dimensions that are free: what has to be taken for a shape to be worth converting."""

SIZES: Final = (5, 1, 2, 3)
"""Which sizes of dimensions, other than the first one, are compared."""


def other_shapes(declared: Mapping[str, Shape | None], are_ranks_free: bool = True) -> Sequence[Mapping[str, Shape]]:
    """Lists shapes that are worth a trial.

    Args:
        declared: Input alias -> its declared shape; None for an unknown rank.
        are_ranks_free: Whether an input of another rank than declared may be tried at all.

    Returns:
        For each possibility, input alias -> shape, with None for a size that is free. All inputs change together.
    """
    found: list[Mapping[str, Shape]] = []
    for shapes in _listed(declared, are_ranks_free):
        if shapes != declared and shapes not in found:
            found.append(shapes)
    return found


def _listed(declared: Mapping[str, Shape | None], are_ranks_free: bool) -> Iterator[Mapping[str, Shape]]:
    known = {alias: shape for alias, shape in declared.items() if shape is not None}
    if len(known) == len(declared):
        yield {alias: (None, *shape[1:]) if shape else shape for alias, shape in known.items()}
    # What has several ranks is a graph that tells its inputs apart.
    if are_ranks_free and len({len(shape) for shape in known.values()}) <= 1:
        for rank in _RANKS:
            yield dict.fromkeys(declared, (None,) * rank)


def sized(shape: Shape, rows: int, size: int) -> tuple[int, ...]:
    """A shape with numbers in place of what is free.

    Args:
        shape: The shape.
        rows: The size of the first dimension, where it is free.
        size: That of the others.
    """
    return tuple((rows if place == 0 else size) if known is None else known for place, known in enumerate(shape))
