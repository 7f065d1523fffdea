from __future__ import annotations

import json
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hotserve.codecs.compiled import EXTENSION
from hotserve.codecs.json_lists import WRITTEN, compiled_lists, plain_lists
from hotserve.tensors import Array, DType, dtype_of_array

compiled_only = pytest.mark.skipif(EXTENSION is None, reason="hotserve was installed without a C compiler")

WRITERS = [
    pytest.param(plain_lists, id="plain"),
    pytest.param(compiled_lists, id="compiled", marks=compiled_only),
]
Writer = Callable[[Array, DType, bool], list[str]]
BITS = {2: np.uint16, 4: np.uint32, 8: np.uint64}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.float32([[1, 2.5], [1 / 3, 0.1]]), "[[1.0, 2.5], [0.333333343, 0.1]]"),
        (np.float32(3), "3.0"),
        (
            np.float32([999999, 1e6, 1234567, 0.00003, 3.4028235e38]),
            "[999999.0, 1e+06, 1234567.0, 3e-05, 3.40282347e+38]",
        ),
        (np.float32([np.nan, np.inf, -np.inf, -0.0, 0.0]), "[NaN, Infinity, -Infinity, -0.0, 0.0]"),
        (
            np.array([1 / 3, 0.1, 123456789, 1e15, 1e16, 2.5e-08, 0.1 + 0.2, -0.0]),
            "[0.33333333333333331, 0.1, 123456789.0, 1e+15, 1e+16, 2.5e-08, 0.30000000000000004, -0.0]",
        ),
        (np.array([1e23, 5e-324, 1.7976931348623157e308]), "[1e+23, 4.94066e-324, 1.7976931348623157e+308]"),
        (np.float16([0.1, 65504]), "[0.0999756, 65504.0]"),
        (np.array([0.1, 3], ml_dtypes.bfloat16), "[0.100098, 3.0]"),
        (np.int8([-128, 127]), "[-128, 127]"),
        (np.int64([-(2**63), 2**63 - 1]), "[-9223372036854775808, 9223372036854775807]"),
        (np.uint64([0, 2**64 - 1]), "[0, 18446744073709551615]"),
        (np.array([[True], [False]]), "[[true], [false]]"),
        (np.zeros((2, 0, 3)), "[[], []]"),
        (np.zeros(0), "[]"),
    ],
)
def test_numbers_and_flags_are_written_as_the_original_does(
    write: Callable[[Array, DType, bool], list[str]], array: Array, text: str
) -> None:
    array = np.asarray(array)
    dtype = dtype_of_array(array)
    assert write(array, dtype, False) == [text]
    if array.ndim:
        rows = write(array, dtype, True)
        assert len(rows) == len(array)
        assert "[" + ", ".join(rows) + "]" == text


@compiled_only
@given(data=st.data(), dtype=st.sampled_from(sorted(WRITTEN)), by_row=st.booleans())
def test_the_extension_writes_what_its_twin_does(data: st.DataObject, dtype: DType, by_row: bool) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    if dtype is DType.BOOL:
        array = data.draw(hnp.arrays(np.bool_, shape))
    elif dtype.numpy.kind in "iu":
        array = data.draw(hnp.arrays(dtype.numpy, shape))
    elif data.draw(st.booleans()):
        # Any bits: subnormal numbers, NaN of all kinds.
        array = data.draw(hnp.arrays(BITS[dtype.numpy.itemsize], shape)).view(dtype.numpy)
    else:
        with np.errstate(over="ignore"):
            array = data.draw(hnp.arrays(np.float64, shape, elements=decimals)).astype(dtype.numpy)
    if data.draw(st.booleans()):
        array = array.T
    assert compiled_lists(array, dtype, by_row) == plain_lists(array, dtype, by_row)


decimals = st.one_of(
    st.floats(),
    # Few digits; and those at the seams, where rounding adds a digit or a tie has to be broken.
    st.builds(lambda digits, power: float(f"{digits}e{power}"), st.integers(0, 10**7), st.integers(-330, 300)),
    st.builds(lambda number, bits: number / 2**bits, st.integers(0, 2**24), st.integers(0, 40)),
    st.integers(0, 10**7).map(lambda number: number * 10 + 5.0),
    st.sampled_from([9.999995, 99999.95, 999999.5, 0.00009999995, 0.0001, 99999.5, 1e6, 1e17, 1e16, 123456.5]),
)


@compiled_only
@pytest.mark.parametrize("dtype", [DType.FLOAT, DType.DOUBLE])
def test_every_binary_exponent_and_every_seam_is_written_as_by_the_twin(dtype: DType) -> None:
    info = np.finfo(dtype.numpy)
    powers = 2.0 ** np.arange(info.minexp - info.nmant, info.maxexp, dtype=np.float64)
    tens = [float(f"{digits}e{power}") for digits in (1, 9.99999, 9.999995, 1.000005) for power in range(-40, 38)]
    values = np.concatenate([powers, powers * 1.1, powers * 1.9999999, tens]).astype(dtype.numpy)
    with np.errstate(over="ignore", under="ignore"):
        around = np.concatenate([np.nextafter(values, 0), values, np.nextafter(values, dtype.numpy.type(np.inf))])
    assert compiled_lists(around, dtype, True) == plain_lists(around, dtype, True)


@compiled_only
@pytest.mark.parametrize("dtype", sorted(WRITTEN - {DType.FLOAT, DType.DOUBLE, DType.HALF, DType.BFLOAT16, DType.BOOL}))
def test_integers_of_every_length_are_written_as_by_the_twin(dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    near = {int(info.min), int(info.max)} | {
        sign * 10**power + step for power in range(21) for step in (-1, 0, 1) for sign in (-1, 1)
    }
    values = np.array([number for number in sorted(near) if info.min <= number <= info.max], dtype.numpy)
    assert compiled_lists(values, dtype, False) == plain_lists(values, dtype, False)


@compiled_only
@pytest.mark.parametrize("dtype", sorted(WRITTEN))
@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 200])
def test_lists_of_any_length_are_written_as_by_the_twin(dtype: DType, size: int) -> None:
    values = (np.arange(3 * size).reshape(3, size) % 100).astype(dtype.numpy)
    assert compiled_lists(values, dtype, False) == plain_lists(values, dtype, False)


@compiled_only
def test_what_is_written_of_a_large_array_reads_back() -> None:
    values = np.random.default_rng(1).standard_normal((40, 3000)).astype(np.float32)
    (text,) = compiled_lists(values, DType.FLOAT, False)
    np.testing.assert_array_equal(np.array(json.loads(text), np.float32), values)


@compiled_only
def test_an_array_of_another_type_than_its_code_is_refused() -> None:
    assert EXTENSION is not None
    with pytest.raises(ValueError, match="expected an array of f"):
        EXTENSION.nested_texts(np.zeros(3), "f", 17, False)
    with pytest.raises(ValueError, match="expected an array of d"):
        EXTENSION.nested_texts(np.array(1.0), "d", 17, True)
    with pytest.raises(ValueError, match="expected 6 or 17 digits"):
        EXTENSION.nested_texts(np.zeros(3), "d", 60, False)
