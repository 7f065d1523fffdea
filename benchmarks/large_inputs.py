"""What goes into the large models of the benchmarks: always the same, wherever their answers are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMPLES = 4
"""How many requests there are of each; their answers have to be known before anything is sent."""

TOKENS, VOCABULARY = 128, 30522
PICTURE_SHAPE = (224, 224, 3)

Inputs = Sequence[Mapping[str, NDArray[Any]]]
"""For each request, name of an input -> what goes in, the rows in the first dimension."""

_SEED = 224


def pictures(rows: int = 1) -> Inputs:
    """`image`: float [rows, 224, 224, 3]."""
    random = np.random.default_rng(_SEED)
    # A pixel is one of 256 values, as in a photograph that somebody has scaled to what the model takes.
    return [
        {"image": random.integers(0, 256, (rows, *PICTURE_SHAPE)).astype(np.float32) / 255} for _ in range(EXAMPLES)
    ]


def texts(rows: int = 1) -> Inputs:
    """`input_ids` and `attention_mask`: int64 [rows, 128]."""
    random = np.random.default_rng(_SEED)
    requests = []
    for _ in range(EXAMPLES):
        lengths = random.integers(TOKENS // 4, TOKENS + 1, (rows, 1))
        mask = (np.arange(TOKENS) < lengths).astype(np.int64)
        requests.append({"input_ids": random.integers(0, VOCABULARY, (rows, TOKENS)) * mask, "attention_mask": mask})
    return requests
