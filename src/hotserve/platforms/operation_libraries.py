"""Loads operations that TensorFlow lacks, before models that need them: from libraries, or from Python packages.

A package such as tensorflow_text holds libraries that register operations. Those are found by their content and loaded
as they are, which takes 0.2 s for its 23; to import it imports TensorFlow's Python package as well, which takes 7 s on
the same machine, 200 MB more, and is not needed for anything here. A package without such libraries is imported.

Source: TF_LoadLibrary in tensorflow/c/c_api.h, and tensorflow/python/framework/load_library.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import mmap
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hotserve.errors import ConfigError, ServingError
from hotserve.platforms.tensorflow_c_api import CApi, Status, c_api

logger = logging.getLogger(__name__)

_UNDEFINED: Final = "undefined symbol"

_LIBRARY_SUFFIXES: Final = (".so", ".dylib")

# What a library refers to that registers operations or kernels: of the C++ API (in mangled names) or of the C API.
_MARKS: Final = (b"OpDefBuilder", b"kernel_factory", b"TF_RegisterOpDefinition", b"TF_RegisterKernelBuilder")


def load_operations(libraries: Sequence[str], packages: Sequence[str]) -> None:
    """Loads libraries and packages with operations; blocks for as long as that takes.

    Args:
        libraries: Paths of shared libraries.
        packages: Names of Python packages.

    Raises:
        ConfigError: TensorFlow is not installed; there is no such library or package; or one cannot be loaded.
    """
    if not libraries and not packages:
        return
    try:
        api = c_api()
    except ServingError as error:
        raise ConfigError(f"--custom_op_libraries and --import need TensorFlow. {error.message}") from error
    for library in libraries:
        _load(api, Path(library), "--custom_op_libraries")
    for package in packages:
        _load_package(api, package)


def libraries_with_operations(folder: Path) -> list[Path]:
    """The libraries below a folder that register operations, sorted."""
    found = (path for path in folder.rglob("*") if path.suffix in _LIBRARY_SUFFIXES and path.is_file())
    return sorted(path for path in found if _registers_operations(path))


def _load_package(api: CApi, name: str) -> None:
    flag = f"--import={name}"
    # `find_spec` of `a.b` would import `a`.
    top, *inner = name.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except ValueError:  # what is no name of a module, or a module that says nothing of where it comes from
        spec = None
    if spec is None:
        raise ConfigError(
            f"{flag}: there is no Python package {top!r} here. Expected the name by which Python imports it; install it"
            f" for {sys.executable}."
        )
    folders = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()]
    libraries = [library for folder in folders for library in libraries_with_operations(folder)]
    for library in libraries:
        _load(api, library, flag)
    if libraries:
        logger.info("%s: loaded %d libraries with operations of %s", flag, len(libraries), folders[0])
        return
    try:
        importlib.import_module(name)
    except Exception as error:
        raise ConfigError(
            f"{flag}: the package has no libraries that register operations of TensorFlow, and cannot be imported:"
            f" {type(error).__name__}: {error}."
        ) from error
    logger.info("%s: imported; it has no libraries of its own that register operations", flag)


def _load(api: CApi, library: Path, flag: str) -> None:
    if not library.is_file():
        raise ConfigError(f"{flag}: there is no file {library}. Expected a shared library that registers operations.")
    try:
        try:
            _load_library(api, library)
        except ServingError as error:
            if _UNDEFINED not in error.message:
                raise
            # Most libraries name the one with TensorFlow's framework as what they need. Some use more than that, which
            # they find where the program is in Python, because there all symbols are shared.
            api.share_symbols()
            _load_library(api, library)
    except ServingError as error:
        raise ConfigError(
            f"{flag}: {library} cannot be loaded: {error.message.rstrip('. ')}. Expected a library made for TensorFlow"
            f" {api.version}, the one that is installed here."
        ) from error


def _load_library(api: CApi, library: Path) -> None:
    with Status(api) as status:
        # With its folder: a bare name would be looked for where the system keeps its libraries.
        api.slow.TF_LoadLibrary(bytes(library.absolute()), status.address)


def _registers_operations(library: Path) -> bool:
    with library.open("rb") as file:
        if not library.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(mark) >= 0 for mark in _MARKS)
