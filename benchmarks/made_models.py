"""The models that take seconds to make: made once, and kept in the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import large_inputs
import large_models
import models
import saved_models
from cache import cache_folder

ANSWERS = "answers.npy"
"""A file in the folder of a large SavedModel: what it says to the requests of `large_inputs`, a row each."""

_LARGE_SAVED_MODELS = Path(__file__).parent / "large_saved_models.py"


def _large_saved_model(kind: str, base_path: Path) -> None:
    # A program of its own, because importing TensorFlow takes seconds and half a gigabyte.
    words = [sys.executable, str(_LARGE_SAVED_MODELS), kind, str(base_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{kind} cannot be written as a SavedModel: {done.stderr}")


MAKERS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {
        "half_plus_two": models.half_plus_two,
        "half_plus_two_saved_model": saved_models.half_plus_two,
        "digits_saved_model": saved_models.digits,
        "convnet": large_models.convnet,
        "transformer": large_models.transformer,
        "convnet_saved_model": partial(_large_saved_model, "convnet"),
        "transformer_saved_model": partial(_large_saved_model, "transformer"),
    }
)
"""Name -> what writes version 1 into a folder."""


def made_model(name: str) -> Path:
    """The folder of a model, with its version 1; it is made if it is not there yet.

    Args:
        name: One of `MAKERS`.
    """
    files = [Path(module.__file__) for module in (models, large_inputs, large_models, saved_models)]
    code = "".join(file.read_text() for file in (*files, _LARGE_SAVED_MODELS))
    path = cache_folder("models", f"{zlib.crc32(code.encode()):08x}", name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            MAKERS[name](Path(folder, name))
            # At once, so that nobody sees half of it; another one that made it meanwhile has made the same.
            if not path.exists():
                shutil.move(Path(folder, name), path)
    return path
