"""A toy platform: looks strings up in a table. Its existence shows that nothing above knows what a model is.

A version folder holds `hashmap.json`, one JSON object of strings: `{"one": "eins", "two": "zwei"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hotserve.core.servable import Servable
from hotserve.errors import InvalidArgument
from hotserve.platforms.mistaken_file import unreadable_file
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Signature, TensorSpec

TABLE_FILE = "hashmap.json"
LOOKUP_SIGNATURE = "lookup"

_SIGNATURE = Signature(
    inputs={"keys": TensorSpec(DType.STRING, (None,))}, outputs={"values": TensorSpec(DType.STRING, (None,))}
)


class HashmapFiles:
    """Folders with a table; complete when it reads as one."""

    description = f"a table of strings (`{TABLE_FILE}`)"

    def recognise(self, path: Path) -> bool:
        return (path / TABLE_FILE).exists()

    def missing_parts(self, path: Path) -> str | None:
        try:
            read_table(path)
        except FileNotFoundError:
            return f"{TABLE_FILE} is not there yet"
        except OSError as error:
            return f"{TABLE_FILE} cannot be read: {error.strerror}"
        except ValueError as error:
            return unreadable_file(path / TABLE_FILE, error)
        return None


class HashmapLoader:
    """Loads tables."""

    def load(self, path: Path) -> Servable:
        try:
            return HashmapServable(read_table(path))
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"{path / TABLE_FILE} cannot be read: {error}") from error


class HashmapServable:
    """A table in memory; its signatures `lookup` and `serving_default` are the same."""

    runtime = "hashmap"

    def __init__(self, table: Mapping[bytes, bytes]) -> None:
        self._table = table

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return {DEFAULT_SIGNATURE: _SIGNATURE, LOOKUP_SIGNATURE: _SIGNATURE}

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Looks every key up.

        Args:
            signature_name: `lookup` or `serving_default`.
            inputs: `keys` -> strings, any shape.
            outputs: `values`.

        Returns:
            `values` -> the strings found, in the shape of `keys`.

        Raises:
            InvalidArgument: A key is not in the table.
        """
        keys = inputs["keys"]
        found = np.empty(keys.shape, dtype=object)
        for position, key in enumerate(keys.ravel()):
            if key not in self._table:
                raise InvalidArgument(f"The key {key!r} is not in the table; it has {len(self._table)} others.")
            found.flat[position] = self._table[key]
        return {"values": found}

    def unload(self) -> None:
        self._table = {}


def read_table(path: Path) -> Mapping[bytes, bytes]:
    """Reads the table in a folder.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not one JSON object of strings.
    """
    try:
        document = json.loads((path / TABLE_FILE).read_bytes())
    except RecursionError as error:
        raise ValueError("expected one JSON object of strings, got something nested very deep") from error
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise ValueError(f"expected one JSON object of strings, got {type(document).__name__}")
    return {key.encode(): value.encode() for key, value in document.items()}
