"""The part of TensorFlow's C API that serving needs, called with ctypes.

The library is the one in the installed tensorflow package; the Python package itself is not imported. Measured side by
side with `tf.compat.v1.saved_model.load` and a callable of `tf.compat.v1.Session`, on two processors:

- getting ready takes 0.4 s and 320 MB in place of 4 s and 500 MB, and other Python threads wait 0.6 ms at most in
  place of 530: nothing long holds the GIL;
- while a model of 200 layers and 50 MB loads, they wait 4 ms at most in place of 120;
- one run of a graph that adds and multiplies takes 35 us in place of 110 to 320;
- unloading gives everything back by itself, where Python's graph objects need a garbage collection, which holds all
  threads up for 170 ms.

Source: tensorflow/c/c_api.h, tf_tensor.h, tf_tstring.h, tf_status.h.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import threading
from collections.abc import Mapping
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any, Final

from hotserve.errors import (
    Code,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServingError,
    Unavailable,
    Unimplemented,
)

logger = logging.getLogger(__name__)

_LIBRARY_NAMES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")

_ERRORS: dict[Code, type[ServingError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        FailedPrecondition,
        NotFound,
        DeadlineExceeded,
        ResourceExhausted,
        Unimplemented,
        Unavailable,
        Internal,
    )
}


class TfOutput(ctypes.Structure):
    """`TF_Output`: one output of an operation, by the operation's address."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class TfBuffer(ctypes.Structure):
    """`TF_Buffer`: bytes."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


Deallocator: Final = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)
"""What TensorFlow calls when nothing uses the memory of a tensor any more: data, length, argument."""

# Name -> result, arguments.
_SLOW: Final[Mapping[str, tuple[Any, list[Any]]]] = {
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(TfBuffer), c_void_p],
    ),
    "TF_SessionRun": (
        None,
        [
            *(c_void_p, c_void_p),
            *(POINTER(TfOutput), POINTER(c_void_p), c_int),
            *(POINTER(TfOutput), POINTER(c_void_p), c_int),
            *(c_void_p, c_int, c_void_p, c_void_p),
        ],
    ),
    "TF_LoadLibrary": (c_void_p, [c_char_p, c_void_p]),
    # Making the first graph sets all operations up: 30 ms.
    "TF_NewGraph": (c_void_p, []),
    "TF_NewSession": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteGraph": (None, [c_void_p]),
}
_QUICK: Final[Mapping[str, tuple[Any, list[Any]]]] = {
    "TF_Version": (c_char_p, []),
    "TF_NewStatus": (c_void_p, []),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_NewBuffer": (POINTER(TfBuffer), []),
    "TF_DeleteBuffer": (None, [POINTER(TfBuffer)]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_OperationNumOutputs": (c_int, [c_void_p]),
    "TF_OperationOutputType": (c_int, [TfOutput]),
    "TF_NewTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, Deallocator, c_void_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringDealloc": (None, [c_void_p]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
}


class CApi:
    """TensorFlow's functions, typed.

    Attributes:
        slow: Those that release the GIL: loading, running, closing.
        quick: Those that keep it, since they take less than losing it to another thread can cost (5 ms).
    """

    def __init__(self, library: Path) -> None:
        """Loads the library.

        Raises:
            FailedPrecondition: It cannot be loaded here, or lacks a function.
        """
        # ctypes keeps the GIL while it loads a library, 0.4 s for this one; called as a function, `dlopen` does not.
        # What follows only looks the library up among those that are loaded.
        _dlopen(library, os.RTLD_LOCAL)
        self._library = library
        try:
            self.slow = ctypes.CDLL(str(library))
            self.quick = ctypes.PyDLL(str(library))
            for handle, functions in ((self.slow, _SLOW), (self.quick, _QUICK)):
                for name, (result, arguments) in functions.items():
                    function = getattr(handle, name)
                    function.restype = result
                    function.argtypes = arguments
        except (OSError, AttributeError) as error:
            raise FailedPrecondition(
                f"TensorFlow's library {library} cannot be used: {error}. Expected that of tensorflow 2.16 or later."
                " Install it anew: pip install 'hotserve[tensorflow]'"
            ) from error

    def share_symbols(self) -> None:
        """Lets libraries that are loaded from now on use all of TensorFlow's symbols, as in a program in Python."""
        _dlopen(self._library, os.RTLD_GLOBAL)

    @property
    def version(self) -> str:
        """TensorFlow's version, such as `2.21.0`."""
        version: bytes = self.quick.TF_Version()
        return version.decode()


def _dlopen(library: Path, scope: int) -> None:
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes = [c_char_p, c_int]
    dlopen.restype = c_void_p
    dlopen(os.fsencode(library), os.RTLD_NOW | scope)


class Status:
    """A `TF_Status` for the time of a `with` block, at whose end an error in it is raised."""

    def __init__(self, api: CApi) -> None:
        self._api = api
        self.address = api.quick.TF_NewStatus()

    def __enter__(self) -> Status:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self.check()
        finally:
            self._api.quick.TF_DeleteStatus(self.address)

    def check(self) -> None:
        """Raises what went wrong, under the code that TensorFlow gave it.

        Raises:
            ServingError: Something went wrong.
        """
        number = self._api.quick.TF_GetCode(self.address)
        if number != 0:
            message = self._api.quick.TF_Message(self.address).decode("utf-8", "replace")
            raise error_of(number, message)


def error_of(number: int, message: str) -> ServingError:
    """The error for a code of TensorFlow's, whose numbers are the canonical ones."""
    try:
        code = Code(number)
    except ValueError:
        code = Code.UNKNOWN
    return _ERRORS.get(code, ServingError)(message, code)


_lock = threading.Lock()
_loaded: list[CApi] = []


def c_api() -> CApi:
    """The library, loaded by the first call, for the rest of the process: it cannot be unloaded.

    Raises:
        FailedPrecondition: tensorflow is not installed, or is not as expected.
    """
    with _lock:
        if not _loaded:
            # Errors only. By default TensorFlow writes several lines a load, and warns of every request it refuses.
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
            library = find_library()
            _loaded.append(CApi(library))
            logger.info("Loaded TensorFlow %s from %s", _loaded[0].version, library)
        return _loaded[0]


def find_library() -> Path:
    """The library in the installed tensorflow package, which is not imported for that.

    Raises:
        FailedPrecondition: There is none.
    """
    spec = importlib.util.find_spec("tensorflow")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        for name in _LIBRARY_NAMES:
            if (folder / name).exists():
                return folder / name
    where = f"{folders[0]} has none of {', '.join(_LIBRARY_NAMES)}" if folders else "the package is not installed"
    raise FailedPrecondition(
        f"TensorFlow's library was not found: {where}. Install tensorflow 2.16 or later:"
        " pip install 'hotserve[tensorflow]'"
    )
