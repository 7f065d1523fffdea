"""The times of requests that end together, counted in one go: by compiled code where this installation has it."""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Final

from hotserve.codecs.compiled import SWITCH
from hotserve.observability.instruments import HistogramCell

try:
    from hotserve.observability import _spans
except ImportError:
    _spans = None  # type: ignore[assignment]

_REVISION: Final = 1
"""What `_spans.REVISION` is in the sources that belong to this file: an editable install may be older than they are."""

IS_COMPILED: Final = getattr(_spans, "REVISION", None) == _REVISION and not os.environ.get(SWITCH)
"""Whether the compiled code is used."""


def observe_spans_in_python(
    begins: list[float], ends: list[float] | float, cells: tuple[HistogramCell | None, ...], limits: tuple[float, ...]
) -> None:
    """Counts how long some things took, in microseconds. One that ends before it begins took no time.

    Args:
        begins: When each began, in seconds.
        ends: When each ended, as many; or when all of them did.
        cells: Where all of them are counted; None for nowhere.
        limits: The upper limits of the buckets of all cells, ascending; up to 127.

    Raises:
        ValueError: There are not as many ends as beginnings, too many limits, or a cell has not as many buckets.
    """
    if len(limits) > 127:
        raise ValueError(f"expected up to 127 limits, not {len(limits)}")
    each = ends if isinstance(ends, list) else [ends] * len(begins)
    spans = [max(0.0, 1e6 * (end - begin)) for begin, end in zip(begins, each, strict=True)]
    buckets = [bisect_right(limits, span) for span in spans]
    total = sum(spans)
    for cell in cells:
        if cell is None:
            continue
        if len(cell.counts) != len(limits) + 1:
            raise ValueError(f"expected {len(limits) + 1} buckets, not {len(cell.counts)}")
        for bucket in buckets:
            cell.counts[bucket] += 1
        cell.total += total


observe_spans = _spans.observe_spans if IS_COMPILED else observe_spans_in_python
