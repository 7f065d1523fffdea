from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.npy import as_declared, read_npy, read_npz, write_npy, write_npz
from hotserve.errors import InvalidArgument
from hotserve.tensors import NUMPY_OF, DType

LIMIT = 1 << 20


def saved(array: Any, **options: Any) -> bytes:
    """What numpy.save writes."""
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def saved_together(**arrays: Any) -> bytes:
    """What numpy.savez writes."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


NUMBERS = sorted({dtype for dtype in NUMPY_OF.values() if dtype.kind in "fiuc" and dtype.num < 256}, key=str)


@given(st.sampled_from(NUMBERS), st.binary(max_size=96), st.sampled_from([(-1,), (1, -1), (-1, 1, 1), ()]))
def test_numbers_come_as_numpy_saved_them(dtype: np.dtype[Any], data: bytes, shape: tuple[int, ...]) -> None:
    values = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize] or bytes(dtype.itemsize), dtype)
    array = values.reshape(shape) if shape else values[0].reshape(())
    read = read_npy(saved(array))
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert read.tobytes() == array.tobytes()
    assert saved(read) == write_npy(read)


def test_an_array_is_a_view_of_the_body_and_not_a_copy() -> None:
    body = saved(np.arange(1000, dtype=np.float32))
    assert np.shares_memory(read_npy(body), np.frombuffer(body, np.uint8))


@pytest.mark.parametrize("dtype", [">f4", ">i8", "<f4", "=u2"])
def test_any_byte_order_is_read(dtype: str) -> None:
    read = read_npy(saved(np.arange(6, dtype=dtype).reshape(2, 3)))
    assert read.dtype.isnative
    assert read.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_columns_first_are_read_as_rows_first() -> None:
    read = read_npy(saved(np.asfortranarray(np.arange(6).reshape(2, 3))))
    assert read.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read.flags.c_contiguous


def test_strings_are_bytes_and_text_is_utf_8() -> None:
    assert read_npy(saved(np.array([[b"a", b"bc"]]))).tolist() == [[b"a", b"bc"]]
    assert read_npy(saved(np.array(["", "h\u00e9"]))).tolist() == [b"", "h\u00e9".encode()]
    strings = np.array([[b"a"], [b"\0bc"]], object)
    assert np.load(io.BytesIO(write_npy(strings))).tolist() == [[b"a"], [b"\0bc"]]
    assert np.load(io.BytesIO(write_npy(np.empty((0, 2), object)))).shape == (0, 2)


def test_a_string_that_numpy_cannot_hold_is_refused_with_what_can() -> None:
    with pytest.raises(InvalidArgument, match=r"ends with a zero byte.* application/x-protobuf"):
        write_npy(np.array([b"a\0"], object))


@pytest.mark.parametrize("dtype", [DType.BFLOAT16, DType.FLOAT8_E5M2, DType.FLOAT8_E4M3FN])
def test_types_that_numpy_does_not_know_are_raw_bytes_of_the_declared_type(dtype: DType) -> None:
    array = np.array([1.0, -2.5], NUMPY_OF[dtype])
    read = as_declared(read_npy(write_npy(array)), dtype)
    assert read.dtype == array.dtype
    assert read.tolist() == array.tolist()


def test_raw_bytes_of_another_size_are_refused() -> None:
    raw = read_npy(write_npy(np.array([1.0], ml_dtypes.bfloat16)))
    with pytest.raises(InvalidArgument, match=r"dtype .V2, raw bytes.*; expected float\.$"):
        as_declared(raw, DType.FLOAT)


def test_any_byte_but_zero_is_true() -> None:
    body = bytearray(saved(np.array([True, False])))
    body[-2] = 7
    assert (read_npy(bytes(body)) == np.array([True, False])).all()


class Evil:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return (exit, (3,))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "is no .npy file of version 1.0 or 2.0, as numpy.save writes it: something else came"),
        (b"\x93NUMPY", "something else came"),
        (b"\x93NUMPY\x01\x00\xff\xff", "has a header of 65535 bytes, and 10 bytes in all"),
        (b"\x93NUMPY\x03\x00" + saved(np.arange(3))[8:], "as numpy.save writes it: version 3.0 came"),
        (b"\x93NUMPY\x01\x00\x05\x00((((\n", r"has the header '\(\(\(\('; expected \{'descr'"),
        (b"\x93NUMPY\x01\x00\x03\x00{}\n", r"has the header '\{\}'; expected"),
        (saved(np.arange(3))[:-1], "has 23 bytes of values; expected 24 for shape \\[3\\] of int64"),
        (saved(np.arange(3)) + b"\0", "has 25 bytes of values; expected 24"),
        (saved(np.arange(3)).replace(b"(3,)", b"(-3,"), "has the header"),
        (saved(np.arange(3)).replace(b"(3,), ", b"(-3,),"), "has the header"),
        (saved(np.array([Evil()], object), allow_pickle=True), "pickled Python objects, which are refused"),
        (saved(np.array(["2020-01-01"], "M8[D]")), "holds datetime64.*, which is no tensor type"),
        (saved(np.zeros(2, [("a", "f4"), ("b", "i4")])), "Records are no tensor type"),
        (saved(np.arange(3)).replace(b"<i8", b"<q9"), "has a header that cannot be read: data type"),
        (saved(np.zeros(2, np.longdouble)), "which is no tensor type"),
        (pickle.dumps(np.arange(3)), "is no .npy file"),
    ],
)
def test_what_is_no_tensor_is_refused_with_the_reason(body: bytes, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        read_npy(body)


def test_an_npz_file_has_an_array_for_each_name() -> None:
    arrays = read_npz(saved_together(x=np.arange(2), image=np.ones((1, 2), np.float32)), LIMIT)
    assert {name: array.tolist() for name, array in arrays.items()} == {"x": [0, 1], "image": [[1.0, 1.0]]}
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros(1000))
    assert read_npz(stream.getvalue(), LIMIT)["x"].shape == (1000,)


def test_numpy_reads_what_is_written() -> None:
    with np.load(io.BytesIO(write_npz({"file": np.arange(2), "y": np.float32(1).reshape(())}))) as archive:
        assert {name: archive[name].tolist() for name in archive.files} == {"file": [0, 1], "y": 1.0}


def test_equal_answers_have_equal_bytes() -> None:
    assert write_npz({"x": np.arange(2)}) == write_npz({"x": np.arange(2)})


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"PK", "is no .npz file"),
        (saved_together(x=np.arange(3))[:-9], "is no .npz file"),
        (zipped(("x.txt", b"")), "entry 'x.txt'; expected each input once, as <name>.npy"),
        (
            zipped(("x.npy", saved(1)), ("y.npy", saved(2))).replace(b"y.npy", b"x.npy"),
            "entry 'x.npy'; expected each input once",
        ),
        (zipped(("x.npy", b"?")), "is no .npy file"),
        (zipped(("x.npy", bytes(LIMIT + 1)), method=zipfile.ZIP_DEFLATED), "unpacks to more than 1048576 bytes"),
        (zipped(("x.npy", saved(1)), method=zipfile.ZIP_LZMA)[:60], "is no .npz file"),
        (zipped(*[(f"{'x' * 200}{n}.npy", b"") for n in range(5000)]), "list of entries of the .npz file is"),
    ],
)
def test_what_is_no_npz_file_is_refused_with_the_reason(body: bytes, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        read_npz(body, LIMIT)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_damaged_files_are_read_or_refused_and_nothing_else(noise: bytes, start: int, length: int) -> None:
    for good, read in (
        (saved(np.ones((2, 3), np.float32)), read_npy),
        (saved(np.array(["a", "b"])), read_npy),
        (saved_together(x=np.arange(3), y=np.arange(2)), lambda data: read_npz(data, LIMIT)),
    ):
        for damaged in (good[:start] + noise + good[start + length :], good[:start], noise):
            with contextlib.suppress(InvalidArgument):
                read(damaged)
