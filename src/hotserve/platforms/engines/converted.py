"""What the conversion of a SavedModel leaves in a folder: a graph for each signature, and a list of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

LIST_FILE: Final = "conversion.json"


@dataclass(frozen=True, slots=True)
class ConvertedSignature:
    """What has become of one signature.

    Attributes:
        name: The signature.
        number: The name of its files, without what tells their kind.
        refusals: Engine -> why there is no file for it.
    """

    name: str
    number: int
    refusals: Mapping[str, str] = field(default_factory=dict)


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
        return {entry["name"]: ConvertedSignature(**entry) for entry in listed}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / LIST_FILE} is no list of signatures: {error}") from error
