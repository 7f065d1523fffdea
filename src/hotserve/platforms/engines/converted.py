"""What the conversion of a SavedModel leaves in a folder: a graph for each signature, and a list of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hotserve.tensors import Shape

LIST_FILE: Final = "conversion.json"

DECLARED_ONLY: Final = "--declared"
"""What the conversion is told that is to try no other shapes than declared."""


@dataclass(frozen=True, slots=True)
class ConvertedAlternative:
    """What has become of one signature for inputs of other shapes than it declares.

    Attributes:
        number: The name of its files, without what tells their kind.
        shapes: Input alias -> the shape that it is converted for, with None for a size that is free.
        refusals: Engine -> why there is no file for it.
    """

    number: int
    shapes: Mapping[str, Shape]
    refusals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConvertedSignature:
    """What has become of one signature.

    Attributes:
        name: The signature.
        number: The name of its files, without what tells their kind; that of another signature which computes the same.
        refusals: Engine -> why there is no file for it.
        alternatives: The same for other shapes, which TensorFlow has taken.
    """

    name: str
    number: int
    refusals: Mapping[str, str] = field(default_factory=dict)
    alternatives: Sequence[ConvertedAlternative] = ()


def input_name(place: int) -> str:
    """The name of an input in a converted graph, by the place of its alias among all in order."""
    return f"in_{place}"


def output_name(place: int) -> str:
    """The name of an output in a converted graph, by the place of its alias among all in order."""
    return f"out_{place}"


def write_conversion(folder: Path, signatures: Sequence[ConvertedSignature]) -> None:
    """Writes the list; last of all, so that a list means a conversion that has ended."""
    (folder / LIST_FILE).write_text(json.dumps([asdict(signature) for signature in signatures]), encoding="utf-8")


def read_conversion(folder: Path) -> Mapping[str, ConvertedSignature]:
    """Reads the list.

    Returns:
        Signature name -> what has become of it.

    Raises:
        OSError: There is no list.
        ValueError: It is none.
    """
    listed = json.loads((folder / LIST_FILE).read_text(encoding="utf-8"))
    try:
        return {entry["name"]: _signature(entry) for entry in listed}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / LIST_FILE} is no list of signatures: {error}") from error


def _signature(entry: Mapping[str, Any]) -> ConvertedSignature:
    alternatives = [
        ConvertedAlternative(
            other["number"], {alias: tuple(shape) for alias, shape in other["shapes"].items()}, other["refusals"]
        )
        for other in entry["alternatives"]
    ]
    return ConvertedSignature(entry["name"], entry["number"], entry["refusals"], alternatives)
