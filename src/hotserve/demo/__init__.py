"""The bundled demo: a small model that reads handwritten digits, and some digits to send it.

Where the model and the pictures come from, and under which terms: `PROVENANCE.md` beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MODEL_NAME = "digits"
"""The name to serve the model under; `curl_line` asks for it."""

MODEL_BASE_PATH = Path(__file__).parent / "digits"
"""The folder of the model's versions; it holds one, `1`.

The model takes `image`: float [?,28,28,1], from 0 (paper) to 1 (ink), and gives `probabilities`: float [?,10].
"""

_SAMPLE_PATH = Path(__file__).parent / "mnist_sample.npz"


@dataclass(frozen=True, slots=True)
class DigitSample:
    """Pictures of handwritten digits and what they show.

    Attributes:
        images: [n, 28, 28] uint8, 0 for paper and 255 for ink.
        labels: [n] uint8, 0 to 9.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def sample() -> DigitSample:
    """Reads the bundled digits: 200 of MNIST's test set, 20 of each digit.

    The first four are the test set's first four: 7, 2, 1 and 0. Each call reads the file anew, and the arrays
    are the caller's own.
    """
    with np.load(_SAMPLE_PATH, allow_pickle=False) as file:
        return DigitSample(images=file["images"], labels=file["labels"])


def curl_line(host: str, rest_port: int) -> str:
    """A shell command that sends one digit to the demo model, ready to be pasted.

    The digit is the first of `sample()`, a 7. Pixels are rounded to 2 decimals: the line stays below the 4096 bytes
    that a terminal takes as one line.

    Args:
        host: Where the server listens, as a client names it: a host name, an IPv4 or an IPv6 address.
        rest_port: The port of its REST API.

    Returns:
        The command, on one line, about 3.5 KB.
    """
    authority = f"[{host}]" if ":" in host else host
    url = f"http://{authority}:{rest_port}/v1/models/{MODEL_NAME}:predict"
    rows = ",".join(
        "[" + ",".join(f"[{_shortest(pixel / 255)}]" for pixel in row) + "]" for row in sample().images[0].tolist()
    )
    return f"curl -d '{{\"instances\":[[{rows}]]}}' '{url}'"


def _shortest(value: float) -> str:
    """A number from 0 to 1 in two decimals, as JSON, without the zeros that say nothing: `0`, `0.5`, `0.25`."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
