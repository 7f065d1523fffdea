"""Arrays to TensorFlow's tensors and back; always copies, so that neither side can change what the other holds.

A tensor is an address here; who makes one, deletes it with `TF_DeleteTensor`.

Source: tensorflow/c/tf_tensor.h, tensorflow/core/platform/ctstring_internal.h.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_char_p, c_int64, c_size_t, c_void_p
from typing import Any

import numpy as np

from hotserve.errors import ResourceExhausted, Unimplemented
from hotserve.platforms.tensorflow_c_api import CApi, Deallocator, c_api
from hotserve.tensors import NUMPY_OF, Array, DType, dtype_of_number

# Copies of this size and more release the GIL; below, the copy takes less time than getting it back may.
_LARGE_BYTES = 1 << 20

_quick_copy = ctypes.PyDLL(None).memmove
_quick_copy.argtypes = [c_void_p, c_char_p, c_size_t]
_quick_copy.restype = c_void_p

# TF_TString: 24 bytes. The two lowest bits of the first byte are its kind; of the kind SMALL, the other six bits are
# the length, and the string follows. Bytes of zero are an empty string.
_STRING_BYTES = 24
_KIND_MASK = 3
_SMALL = 0


def new_tensor(api: CApi, array: Array, dtype: DType) -> int:
    """Makes a tensor of an array.

    Args:
        api: TensorFlow.
        array: Any shape; of `dtype.numpy`, where strings may be bytes or str.
        dtype: The tensor's type.

    Returns:
        The tensor's address.
    """
    dims = (c_int64 * array.ndim)(*array.shape)
    if dtype is DType.STRING:
        return _new_string_tensor(api, array, dims)
    size = array.nbytes
    tensor: int = api.quick.TF_AllocateTensor(dtype, dims, array.ndim, size)
    data = api.quick.TF_TensorData(tensor)
    if size < _LARGE_BYTES:
        _quick_copy(data, array.tobytes(), size)
    elif data:
        plain = np.ascontiguousarray(array)
        ctypes.memmove(data, _address(plain), size)
    else:
        api.quick.TF_DeleteTensor(tensor)
        raise ResourceExhausted(f"There is no memory for an input of {size} bytes.")
    return tensor


def array_of(api: CApi, tensor: int) -> Array:
    """Makes an array of a tensor; strings become an object array of bytes.

    Raises:
        Unimplemented: The tensor's type has no array form: resources, variants, numbers below a byte.
    """
    dtype = dtype_of_number(api.quick.TF_TensorType(tensor))
    if dtype not in NUMPY_OF:
        raise Unimplemented(f"The model answers with a tensor of type {dtype.label}, which no client can be sent.")
    shape = tuple(api.quick.TF_Dim(tensor, axis) for axis in range(api.quick.TF_NumDims(tensor)))
    size = api.quick.TF_TensorByteSize(tensor)
    if size == 0:
        return np.empty(shape, dtype.numpy)
    data = api.quick.TF_TensorData(tensor)
    if dtype is DType.STRING:
        return _strings(api, data, size, shape)
    if size < _LARGE_BYTES:
        return np.frombuffer(ctypes.string_at(data, size), dtype.numpy).reshape(shape)
    array = np.empty(shape, dtype.numpy)
    ctypes.memmove(_address(array), data, size)
    return array


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _new_string_tensor(api: CApi, array: Array, dims: ctypes.Array[c_int64]) -> int:
    """TensorFlow frees the numbers of a tensor by itself, but not what its strings hold: see `_free_strings`."""
    size = array.size * _STRING_BYTES
    memory = (c_char * max(size, _STRING_BYTES))()
    start = ctypes.addressof(memory)
    copy = api.quick.TF_StringCopy
    for address, text in zip(range(start, start + size, _STRING_BYTES), array.ravel().tolist(), strict=True):
        encoded = text.encode() if isinstance(text, str) else text
        copy(address, encoded, len(encoded))
    _string_memory[start] = memory
    tensor: int = api.quick.TF_NewTensor(DType.STRING, dims, array.ndim, start, size, _FREE_STRINGS, None)
    return tensor


def _strings(api: CApi, data: int, size: int, shape: tuple[int, ...]) -> Array:
    raw = ctypes.string_at(data, size)
    count = size // _STRING_BYTES
    array = np.empty(count, dtype=object)
    for index in range(count):
        start = index * _STRING_BYTES
        first = raw[start]
        # Labels are short: no call for each of them.
        if first & _KIND_MASK == _SMALL:
            array[index] = raw[start + 1 : start + 1 + (first >> 2)]
        else:
            address = data + start
            text = api.quick.TF_StringGetDataPointer(address)
            array[index] = ctypes.string_at(text, api.quick.TF_StringGetSize(address))
    return array.reshape(shape)


# The memory of string tensors that TensorFlow may still use, by address: it keeps an input for as long as a variable
# or an output shares its memory, and tells when it does no longer.
_string_memory: dict[int, Any] = {}


def _free_strings(data: int, size: int, _argument: int | None) -> None:
    """Called by TensorFlow in whichever thread lets a string tensor go last."""
    dealloc = c_api().quick.TF_StringDealloc
    for address in range(data, data + size, _STRING_BYTES):
        dealloc(address)
    _string_memory.pop(data, None)


# C calls this object; it must live as long as the process.
_FREE_STRINGS = Deallocator(_free_strings)
