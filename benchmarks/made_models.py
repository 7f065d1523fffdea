"""The models that take seconds to make: made once, and kept in the cache."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import large_models
import models
import saved_models
from cache import cache_folder

MAKERS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {
        "half_plus_two": models.half_plus_two,
        "half_plus_two_saved_model": saved_models.half_plus_two,
        "digits_saved_model": saved_models.digits,
        "convnet": large_models.convnet,
        "transformer": large_models.transformer,
    }
)
"""Name -> what writes version 1 into a folder."""


def made_model(name: str) -> Path:
    """The folder of a model, with its version 1; it is made if it is not there yet.

    Args:
        name: One of `MAKERS`.
    """
    code = "".join(Path(module.__file__).read_text() for module in (models, large_models, saved_models))
    path = cache_folder("models", f"{zlib.crc32(code.encode()):08x}", name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            MAKERS[name](Path(folder, name))
            # At once, so that nobody sees half of it; another one that made it meanwhile has made the same.
            if not path.exists():
                shutil.move(Path(folder, name), path)
    return path
