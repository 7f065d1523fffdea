"""Which other engines are installed here, each imported when it is first asked for."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading
from collections.abc import Collection, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Final

from hotserve.errors import FailedPrecondition
from hotserve.platforms.engines.engine import ONNXRUNTIME, OPENVINO, Engine

logger = logging.getLogger(__name__)

CONVERTER: Final = "tf2onnx"
"""The package that converts SavedModels for ONNX Runtime."""

_ENGINES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ONNXRUNTIME: "hotserve.platforms.engines.onnxruntime_engine:OnnxRuntimeEngine",
        OPENVINO: "hotserve.platforms.engines.openvino_engine:OpenVinoEngine",
    }
)
"""Engine, by the name of its Python package -> its class."""


class Engines:
    """The engines of this process, made when they are needed. Any thread may ask."""

    def __init__(self) -> None:
        self._made: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Engine:
        """The engine of a name.

        Raises:
            FailedPrecondition: It is not installed, or does not work here.
        """
        with self._lock:
            engine = self._made.get(name)
            if engine is None:
                module, _, kind = _ENGINES[name].partition(":")
                try:
                    made: Engine = getattr(importlib.import_module(module), kind)()
                # A library that does not load may raise anything.
                except Exception as error:
                    raise FailedPrecondition(
                        f"The engine {name} cannot be used here: {error}. Install it: {install_command(name)}"
                    ) from error
                engine = self._made[name] = made
            return engine


def installed_versions() -> Mapping[str, str]:
    """Engine -> the version of its package, of those that are installed; none is imported."""
    found = {}
    for name in _ENGINES:
        if importlib.util.find_spec(name) is not None:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                # Built from source, or under another name, such as onnxruntime-gpu.
                found[name] = "unknown"
    return found


def convertible(engines: Collection[str]) -> list[str]:
    """Of these engines, those that a SavedModel can be converted for here."""
    has_converter = importlib.util.find_spec(CONVERTER) is not None
    return [name for name in engines if name != ONNXRUNTIME or has_converter]


def install_command(name: str) -> str:
    """What a user types to get an engine, with what converts SavedModels for it."""
    return f"pip install 'hotserve[{'engines' if name == ONNXRUNTIME else name}]'"
