"""numpy's own files, `.npy` and `.npz`, as tensors: what `numpy.save` and `numpy.savez` write, read without pickle.

Source: numpy.lib.format, the description of the NPY format; an .npz is a zip of .npy files.
"""

from __future__ import annotations

import functools
import io
import math
import re
import sys
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from hotserve.errors import InvalidArgument
from hotserve.tensors import NUMPY_OF, Array, DType, dtype_of_array, shape_text

ZIP_MAGIC: Final = b"PK"
_SUFFIX: Final = ".npy"
_MAX_DIRECTORY_BYTES: Final = 1 << 20
"""The largest list of entries in a zip that is read: reading takes ten times that in memory."""

_MAGIC: Final = b"\x93NUMPY"
_HEADER_SIZE_BYTES: Final = {b"\x01\x00": 2, b"\x02\x00": 4}
"""Version -> how many bytes give the size of the header."""

_MAX_HEADER_BYTES: Final = 10_000
"""As numpy has it."""

# The header is a dictionary as Python writes it. Python's own parser is not used for what a client sends, all the less
# as CPython 3.11's fails if two threads parse at the same time.
_HEADER: Final = {
    "descr": re.compile(r"""['"]descr['"]\s*:\s*['"]([^'"]{1,64})['"]"""),
    "fortran_order": re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)"""),
    "shape": re.compile(r"""['"]shape['"]\s*:\s*\(([0-9L,\s]*)\)"""),
}
_BRACES: Final = re.compile(r"\s*\{[\s,]*\}\s*")
_SIZE: Final = re.compile("[0-9]+")

_FIRST_TAUGHT: Final = 256
"""The numbers of dtypes that packages add to numpy begin here (NPY_USERDEF)."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # a zip wants a date; equal answers have equal bytes


def read_npy(data: bytes) -> Array:
    """Reads an .npy file.

    Args:
        data: All of it.

    Returns:
        An array of a tensor type in this machine's byte order; strings are `object` arrays of `bytes`. Types that
        numpy does not know (bfloat16, float8) come as raw bytes, of kind `V`: see `as_declared`. It may be a view of
        `data`.

    Raises:
        InvalidArgument: It is no such file, it is cut off, or it holds what is no tensor: Python objects, which would
            have to be unpickled, records, dates.
    """
    shape, is_fortran, dtype, offset = _read_header(data)
    if dtype.hasobject:
        raise InvalidArgument(
            "The .npy file holds pickled Python objects, which are refused: reading them could run any code. Send"
            " numbers, or strings as an array of dtype S or U."
        )
    return _tensor(_array(data, offset, shape, is_fortran, dtype))


def read_npz(data: bytes, max_bytes: int) -> dict[str, Array]:
    """Reads an .npz file.

    Args:
        data: All of it.
        max_bytes: How large its entries may be together, unpacked.

    Returns:
        Name of the entry, without `.npy` -> array, as `read_npy` gives it.

    Raises:
        InvalidArgument: It is no such file, an entry is none or is there twice, or it unpacks to more than `max_bytes`.
    """
    _check_directory(data)
    arrays: dict[str, Array] = {}
    left = max_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(_SUFFIX)
                if name == entry.filename or name in arrays:
                    raise InvalidArgument(
                        f"The .npz file has an entry {entry.filename!r}; expected each input once, as <name>.npy."
                    )
                with archive.open(entry) as stream:
                    content = stream.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise InvalidArgument(
                        f"The .npz file unpacks to more than {max_bytes} bytes, the limit set by --max_message_bytes."
                    )
                arrays[name] = read_npy(content)
    # NotImplementedError: a method of packing that Python lacks. RuntimeError: an entry with a password.
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        OverflowError,
    ) as error:
        raise InvalidArgument(f"The body is no .npz file, as numpy.savez writes it: {error}") from error
    return arrays


def as_declared(array: Array, dtype: DType) -> Array:
    """Gives raw bytes the type that they are declared to have; other arrays stay what they are.

    Raises:
        InvalidArgument: The bytes are not of that type.
    """
    if array.dtype.type is not np.void:
        return array
    numpy = NUMPY_OF.get(dtype)
    if numpy is None or numpy.num < _FIRST_TAUGHT or numpy.itemsize != array.dtype.itemsize:
        raise InvalidArgument(
            f"The array is of numpy's dtype {array.dtype.str}, raw bytes, as numpy.save writes bfloat16 and float8;"
            f" expected {dtype.label}."
        )
    return array.view(numpy)


def write_npy(array: Array) -> bytes:
    """Writes an .npy file.

    Args:
        array: Any shape. Strings, `object` arrays of `bytes`, become numpy's dtype S; bfloat16 and float8 raw bytes.

    Raises:
        InvalidArgument: A string ends with a zero byte, which dtype S cannot tell from padding.
    """
    if array.dtype == object:
        strings = array.astype("S") if array.size else np.empty(array.shape, "S1")
        if any(value.endswith(b"\0") for value in array.reshape(-1).tolist()):
            raise InvalidArgument(
                "A string of the answer ends with a zero byte, which numpy's strings cannot hold. Ask for another"
                " form: Accept: application/x-protobuf, or application/json."
            )
        array = strings
    elif array.dtype.num >= _FIRST_TAUGHT:  # numpy would not know the name as it reads
        array = array.view(f"V{array.itemsize}")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def write_npz(arrays: Mapping[str, Array]) -> bytes:
    """Writes an .npz file, not packed, as `numpy.savez` does; see `write_npy`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(name + _SUFFIX, _EPOCH), write_npy(array))
    return stream.getvalue()


def _read_header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether columns come first, dtype, and where the values begin."""
    version, size_bytes = data[6:8], _HEADER_SIZE_BYTES.get(data[6:8])
    if not data.startswith(_MAGIC) or size_bytes is None:
        came = (
            f"version {version[0]}.{version[1]}" if data.startswith(_MAGIC) and len(version) == 2 else "something else"
        )
        raise InvalidArgument(f"The body is no .npy file of version 1.0 or 2.0, as numpy.save writes it: {came} came.")
    begin = len(_MAGIC) + 2 + size_bytes
    end = begin + int.from_bytes(data[begin - size_bytes : begin], "little")
    if end > min(len(data), begin + _MAX_HEADER_BYTES):
        raise InvalidArgument(f"The .npy file has a header of {end - begin} bytes, and {len(data)} bytes in all.")
    header = data[begin:end].decode("latin-1")
    found = {key: list(pattern.finditer(header)) for key, pattern in _HEADER.items()}
    rest = functools.reduce(lambda text, pattern: pattern.sub("", text), _HEADER.values(), header)
    if any(len(matches) != 1 for matches in found.values()) or not _BRACES.fullmatch(rest):
        raise InvalidArgument(
            f"The .npy file has the header {header.strip()!r:.200}; expected"
            " {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } or the like. Records are no tensor type."
        )
    descr, order, sizes = (found[key][0][1] for key in _HEADER)
    try:
        return tuple(map(int, _SIZE.findall(sizes))), order == "True", np.dtype(descr), end
    except (TypeError, ValueError, SyntaxError) as error:  # a name that is no dtype, or sizes of thousands of digits
        raise InvalidArgument(f"The .npy file has a header that cannot be read: {error}") from error


def _array(data: bytes, offset: int, shape: tuple[int, ...], is_fortran: bool, dtype: np.dtype[Any]) -> Array:
    needed = math.prod(shape) * dtype.itemsize
    came = len(data) - offset
    if any(size < 0 for size in shape) or needed != came:
        raise InvalidArgument(
            f"The .npy file has {came} bytes of values; expected {needed} for shape {shape_text(shape)} of {dtype}."
        )
    try:
        return np.ndarray(shape, dtype, data, offset, order="F" if is_fortran else "C")
    except ValueError as error:  # too many dimensions, or sizes beside a zero that are too large
        raise InvalidArgument(f"The .npy file has shape {shape_text(shape)}: {error}") from error


def _tensor(array: Array) -> Array:
    dtype = array.dtype
    if dtype.kind == "S":
        return array.astype(object)
    if dtype.kind == "U":
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.size and codes.max() > sys.maxunicode:
            raise InvalidArgument("The .npy file holds text with a number in it that is no character.")
        strings = np.empty(array.size, object)
        strings[:] = [text.encode("utf-8", "surrogatepass") for text in array.reshape(-1).tolist()]
        return strings.reshape(array.shape)
    if dtype.kind == "b":
        # Any byte but 0 is true; as a numpy bool, 2 would be neither equal to true nor to false.
        return np.asarray(array.view(np.uint8) != 0, order="C")
    if dtype.kind == "V" and dtype.names is None and dtype.subdtype is None:
        return np.asarray(array, order="C")
    native = np.asarray(array, dtype.newbyteorder("="), order="C")
    try:
        dtype_of_array(native)
    except KeyError:
        raise InvalidArgument(
            f"The .npy file holds {dtype}, which is no tensor type; expected numbers, bool or strings."
        ) from None
    return native


def _check_directory(data: bytes) -> None:
    """Refuses a zip with a very long list of entries, before the list is read.

    Source: APPNOTE.TXT of the zip format, "end of central directory record"; a zip64 says 2^32 - 1 here.
    """
    end = data.rfind(b"PK\x05\x06")
    size = int.from_bytes(data[end + 12 : end + 16], "little") if end >= 0 else 0
    if size > _MAX_DIRECTORY_BYTES:
        raise InvalidArgument(
            f"The list of entries of the .npz file is {size} bytes long; expected {_MAX_DIRECTORY_BYTES} at most."
        )
