"""The program that writes the zoo.

    python -m support.saved_model_zoo.export FOLDER [NAME ...]

writes `FOLDER/NAME/1` and the requests beside it for every model, or those named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from support.saved_model_zoo import (
    composites,
    control_flow,
    convolutions,
    dense_layers,
    integers,
    linear_algebra,
    numerics,
    picking,
    pictures,
    preprocessing,
    sequences,
    shapes,
    state,
    strings,
)
from support.saved_model_zoo.entry import Entry
from support.saved_model_zoo.requests import write_requests

ENTRIES: Sequence[Entry] = (
    *dense_layers.ENTRIES,
    *convolutions.ENTRIES,
    *sequences.ENTRIES,
    *preprocessing.ENTRIES,
    *control_flow.ENTRIES,
    *integers.ENTRIES,
    *shapes.ENTRIES,
    *picking.ENTRIES,
    *strings.ENTRIES,
    *numerics.ENTRIES,
    *linear_algebra.ENTRIES,
    *pictures.ENTRIES,
    *state.ENTRIES,
    *composites.ENTRIES,
)


def export(folder: Path, names: Sequence[str] = ()) -> None:
    """Writes models and their requests.

    Args:
        folder: Where.
        names: Which; all, if there are none.

    Raises:
        KeyError: There is no model of a name.
    """
    known = {entry.name: entry for entry in ENTRIES}
    assert len(known) == len(ENTRIES), "two models have the same name"
    for name in names or known:
        entry = known[name]
        entry.export(folder / name / "1")
        write_requests(folder / name, entry.requests)


if __name__ == "__main__":
    export(Path(sys.argv[1]), sys.argv[2:])
