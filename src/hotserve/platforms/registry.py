"""Which platforms there are: one table, from a name to the files it knows and the loader it needs.

A platform's loader is imported when its first version loads, so that a server of ONNX models needs no TensorFlow, and
the other way round.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotserve.core.loader import Loader
from hotserve.errors import FailedPrecondition, InvalidArgument
from hotserve.platforms.foreign_formats import export_advice
from hotserve.platforms.hashmap import HashmapFiles
from hotserve.platforms.litert_files import LiteRtFiles
from hotserve.platforms.model_files import ModelFiles
from hotserve.platforms.onnx_files import OnnxFiles
from hotserve.platforms.saved_model_files import SavedModelFiles


@dataclass(frozen=True, slots=True)
class PlatformEntry:
    """One platform.

    Attributes:
        name: As `model_platform` in a model config names it.
        loader: `module:Class` of the loader.
        package: The Python package that must be importable for it; empty for none.
        extra: The extra of hotserve that installs the package; empty when the package comes with hotserve.
        files: What it knows of its files.
        alias: Another name that `model_platform` may say; empty for none.
        is_optional: Whether the loader itself finds out what to do without the package.
    """

    name: str
    loader: str
    package: str
    extra: str
    files: ModelFiles
    alias: str = ""
    is_optional: bool = False

    @property
    def install_command(self) -> str:
        """What a user types to get the package."""
        return f"pip install 'hotserve[{self.extra}]'" if self.extra else f"pip install {self.package}"


# The order decides where a folder holds models of two kinds. Platforms of other packages, found through an entry
# point, will follow these.
PLATFORMS: Sequence[PlatformEntry] = (
    PlatformEntry(
        "tensorflow",
        "hotserve.platforms.engines.loader:SavedModelLoader",
        "tensorflow",
        "tensorflow",
        SavedModelFiles(),
        is_optional=True,
    ),
    PlatformEntry("onnx", "hotserve.platforms.onnx:OnnxLoader", "onnxruntime", "", OnnxFiles()),
    PlatformEntry(
        "litert", "hotserve.platforms.litert:LiteRtLoader", "ai_edge_litert", "litert", LiteRtFiles(), alias="tflite"
    ),
    PlatformEntry("hashmap", "hotserve.platforms.hashmap:HashmapLoader", "", "", HashmapFiles()),
)


def named(name: str) -> PlatformEntry | None:
    """The platform of a name or alias; None when there is none."""
    return next((entry for entry in PLATFORMS if name and name in (entry.name, entry.alias)), None)


def recognise(path: Path, preferred: str = "") -> PlatformEntry | None:
    """The platform of the model in a version folder, by its content.

    Args:
        path: The folder.
        preferred: The platform that is looked for first, where a folder holds models of two kinds; empty for none.

    Returns:
        The platform; None when there is no model, or none yet.
    """
    first = named(preferred)
    for entry in sorted(PLATFORMS, key=lambda entry: entry != first):
        try:
            if entry.files.recognise(path):
                return entry
        except OSError:
            # A folder that cannot be read holds nothing that can be told; `missing_parts` says why.
            return None
    return None


def missing_parts(path: Path, preferred: str = "") -> str | None:
    """What a version folder lacks to be a whole model, in words for the user; None when it is complete.

    Args:
        path: The folder.
        preferred: See `recognise`.

    Source: the words for a folder without a model are those of tensorflow/cc/saved_model/loader.cc.
    """
    entry = recognise(path, preferred)
    if entry is not None:
        return entry.files.missing_parts(path)
    if (path / "export.meta").exists():
        return "Session Bundle is deprecated and removed. Export the model again, as a SavedModel."
    return (
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
        f" `saved_model.pb`)\nSpecified file path: {path}\n{_what_is_there(path)}"
        f" hotserve recognises {', '.join(entry.files.description for entry in PLATFORMS)}."
    )


def loader_for(name: str, **options: Any) -> Loader:
    """Makes a platform's loader; imports its module on first use.

    Args:
        name: The platform.
        options: Arguments of the loader's constructor.

    Raises:
        InvalidArgument: There is no such platform.
        FailedPrecondition: The package that the platform needs is not installed, or does not work here.
    """
    entry = named(name)
    if entry is None:
        raise InvalidArgument(f"There is no platform {name!r}. Expected one of {', '.join(e.name for e in PLATFORMS)}.")
    if entry.package and not entry.is_optional and importlib.util.find_spec(entry.package) is None:
        raise FailedPrecondition(
            f"Loading {entry.files.description} needs the Python package {entry.package}, which is not installed here."
            f" Install it: {entry.install_command}"
        )
    module_name, class_name = entry.loader.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise FailedPrecondition(
            f"Loading {entry.files.description} needs the Python package {entry.package}, which cannot be imported"
            f" here: {error}. Install it anew: {entry.install_command}"
        ) from error
    loader: Loader = getattr(module, class_name)(**options)
    return loader


def _what_is_there(path: Path) -> str:
    """The folder's content in a sentence: the first names, and how many more."""
    try:
        names = sorted(child.name + "/" * child.is_dir() for child in path.iterdir())
    except NotADirectoryError:
        return "It is a file, expected a folder."
    except OSError as error:
        return f"It cannot be read: {error.strerror}."
    if not names:
        return "The folder is empty."
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    advice = export_advice(names)
    return f"The folder holds {', '.join(names[:5])}{more}.{f' {advice}' if advice else ''}"
