from __future__ import annotations

import json
import random
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotserve.codecs.compiled import CODES, EXTENSION, Key
from hotserve.codecs.json_compiled_body import CompiledBody, read_compiled_body
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_plain_body import read_plain_body
from hotserve.codecs.json_predict import UsualBody
from hotserve.codecs.json_request import PredictInputs, decode_predict, signature_name
from hotserve.errors import ServingError
from hotserve.tensors import NUMPY_OF, Array, DType, Signature, TensorSpec

compiled_only = pytest.mark.skipif(EXTENSION is None, reason="hotserve was installed without a C compiler")

READERS = [
    pytest.param(read_plain_body, id="plain"),
    pytest.param(read_compiled_body, id="compiled", marks=compiled_only),
]
NUMERIC = [dtype for dtype in CODES if dtype is not DType.BOOL] + [DType.HALF, DType.BFLOAT16]


def signature(inputs: Mapping[str, DType]) -> Signature:
    return Signature({name: TensorSpec(dtype, None) for name, dtype in inputs.items()}, {})


def exactly(body: bytes, inputs: Mapping[str, DType]) -> PredictInputs | str:
    """What the long way makes of a body: tensors, or the words for what is wrong."""
    try:
        document = parse_document(body)
        return decode_predict(document, signature(inputs), signature_name(document))
    except ServingError as error:
        return str(error)


def image(array: Array) -> object:
    """All that there is to an array."""
    return array.dtype, array.shape, array.tolist() if array.dtype == object else array.tobytes()


def assert_same(short: PredictInputs, long: PredictInputs | str) -> None:
    assert not isinstance(long, str), f"taken, and refused the long way: {long}"
    assert short.row_format == long.row_format
    assert {name: image(array) for name, array in short.inputs.items()} == {
        name: image(array) for name, array in long.inputs.items()
    }


def assert_agrees(body: bytes, inputs: Mapping[str, DType], form: UsualBody | None) -> bool:
    """Where a short cut answers, the long way gives the same; returns whether it did answer."""
    short = form.decode(signature(inputs)) if form is not None else None
    if short is None:
        return False
    assert_same(short, exactly(body, inputs))
    assert form is not None
    assert form.signature_name == signature_name(parse_document(body))
    return True


def compiled_inputs(body: str | bytes, inputs: Mapping[str, DType]) -> PredictInputs:
    """What the extension makes of a body, which it must take and agree on."""
    data = body.encode() if isinstance(body, str) else body
    form = read_compiled_body(data)
    assert form is not None
    assert assert_agrees(data, inputs, form)
    result = form.decode(signature(inputs))
    assert result is not None
    return result


def nested(leaves: Sequence[str], shape: Sequence[int], comma: str = ", ") -> str:
    """The leaves as nested lists of this shape."""
    if not shape:
        return leaves[0]
    step = len(leaves) // shape[0]
    return "[" + comma.join(nested(leaves[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])) + "]"


@compiled_only
@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ('{"instances": [1, 2.5, -3e2]}', {"x": DType.FLOAT}),
        ('{"inputs": [[1, 2], [3, 4]]}', {"x": DType.INT32}),
        ('{"inputs": 5}', {"x": DType.INT64}),
        ('{"inputs": "text"}', {"x": DType.STRING}),
        ('{"signature_name": "s", "instances": [[1.0]]}', {"x": DType.DOUBLE}),
        ('{"instances": [[1.0]], "signature_name": "s"}', {"x": DType.DOUBLE}),
        ('{"instances": [true, false]}', {"x": DType.BOOL}),
        ('{"instances": [NaN, Inf, -Inf, Infinity, -Infinity, -NaN]}', {"x": DType.FLOAT}),
        ('{"instances": ["a", "é", ""]}', {"x": DType.STRING}),
        ('{"instances": [{"b64": "aGk="}, {"b64": ""}, "hi"]}', {"x": DType.STRING}),
        ('{"instances": [{"x": [1, 2], "y": "a"}, {"y": "b", "x": [3, 4]}]}', {"x": DType.INT32, "y": DType.STRING}),
        ('{"instances": [{"x": {"b64": "aGk="}}]}', {"x": DType.STRING}),
        ('{"inputs": {"x": [[1, 2, 3]], "y": 4, "other": ["a"]}}', {"x": DType.FLOAT, "y": DType.INT8}),
        ('{"inputs": {"b64": "aGk="}}', {"x": DType.STRING}),
        ('\ufeff \n{\t"instances"\r:\n[ [ 1 , 2 ] ]\n}', {"x": DType.UINT8}),
        ('{"instances": [1]} and more {', {"x": DType.FLOAT}),
    ],
)
def test_the_usual_forms_are_read(body: str, inputs: Mapping[str, DType]) -> None:
    compiled_inputs(body, inputs)


@compiled_only
@pytest.mark.parametrize(
    "value",
    [
        "[]",
        "[[], []]",
        "[1, 2,]",
        "[,1]",
        "[1 2]",
        "[[1, 2], [3]]",
        "[[1], 2]",
        "[1, [2]]",
        "[1[2]]",
        "[[1]2]",
        "[[1]",
        "[1}",
        "[01]",
        "[-01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[-]",
        "[--1]",
        "[1e]",
        "[1e+]",
        "[0x10]",
        "[1_000]",
        "[nan]",
        "[Infinit]",
        "[Infi]",
        "[-true]",
        "[tru]",
        "[truefalse]",
        "[null]",
        "[1, true]",
        '[1, "a"]',
        '["a]',
        '["\\n"]',
        '["\n"]',
        '["a" "b"]',
        "[1e309]",
        "[1.8e308]",
        "[0e400]",
        f"[{'1' * 310}]",
        '[{"b64": 1}]',
        '[{"b64": "a", "c": 1}]',
        "[{}]",
        '[{"x": 1}, 2]',
        '[1, {"x": 2}]',
        '[{"x": 1}, {"x": 2, "y": 3}]',
        '[{"x": 1, "y": 2}, {"x": 2}]',
        '[{"x": 1, "x": 2}]',
        '[{"x": 1}, {"y": 1}]',
        '[{"x": [1]}, {"x": 1}]',
        '[{"\\u0078": 1}]',
        "1",
        "{}",
        "[" * 33 + "1" + "]" * 33,
        '[1], "other": 2',
        '[1], "inputs": [1]',
        '[1], "instances": [1]',
        '[1], "signature_name": 1',
        '[1], "signature_name": "a", "signature_name": "b"',
        "",
        "[1",
    ],
)
def test_what_is_wrong_or_unusual_is_left_to_the_long_way(value: str) -> None:
    assert read_compiled_body(f'{{"instances": {value}}}'.encode()) is None


@compiled_only
@pytest.mark.parametrize("body", [b"", b" ", b"{", b"{}", b"[1]", b'{"signature_name": "a"}', b'{"instances"', b"\0"])
def test_what_is_no_body_at_all_is_left_to_the_long_way(body: bytes) -> None:
    assert read_compiled_body(body) is None


@compiled_only
def test_a_body_that_is_cut_short_anywhere_is_left_to_the_long_way() -> None:
    body = b'{"signature_name": "s", "instances": [{"x": [1.5e3, -Inf], "y": {"b64": "aGk="}, "z": [true, false]}]}'
    assert read_compiled_body(body) is not None
    assert [read_compiled_body(body[:length]) for length in range(len(body))] == [None] * len(body)


@compiled_only
@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ("[1.0]", DType.INT32),
        ("[2147483648]", DType.INT32),
        ("[2147483648]", DType.INT8),
        ("[9223372036854775808]", DType.INT64),
        ("[-1]", DType.UINT32),
        ("[4294967296]", DType.UINT32),
        ("[-1]", DType.UINT64),
        ("[65536]", DType.UINT16),
        ("[1]", DType.BOOL),
        ("[true]", DType.FLOAT),
        ('["1"]', DType.FLOAT),
        ("[1]", DType.STRING),
        ('[{"b64": "?"}]', DType.STRING),
        ("[1]", DType.COMPLEX64),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_left_to_the_long_way(values: str, dtype: DType) -> None:
    form = read_compiled_body(f'{{"instances": {values}}}'.encode())
    assert form is not None
    assert form.decode(signature({"x": dtype})) is None


@compiled_only
@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ('{"instances": [1]}', {"x": DType.FLOAT, "y": DType.FLOAT}),
        ('{"instances": [1]}', {}),
        ('{"inputs": {"x": 1}}', {}),
        ('{"inputs": {"y": 1}}', {"x": DType.FLOAT}),
        ('{"instances": [{"x": 1, "y": 2}]}', {"x": DType.FLOAT}),
        ('{"instances": [{"x": 1}]}', {"x": DType.FLOAT, "y": DType.FLOAT}),
    ],
)
def test_names_that_are_not_those_of_the_signature_are_left_to_the_long_way(
    body: str, inputs: Mapping[str, DType]
) -> None:
    form = read_compiled_body(body.encode())
    assert form is not None
    assert form.decode(signature(inputs)) is None


@compiled_only
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8, DType.INT16])
def test_small_integers_wrap_around_as_in_the_original(dtype: DType) -> None:
    compiled_inputs('{"instances": [300, -200, 70000, 2147483647, -2147483648]}', {"x": dtype})


@compiled_only
def test_a_negative_zero_without_a_point_is_zero() -> None:
    values = compiled_inputs('{"instances": [-0, 1.5, -0, -0.0]}', {"x": DType.FLOAT}).inputs["x"]
    assert np.signbit(values).tolist() == [False, False, False, True]


NUMBERS = [
    "1e400",
    "1e-400",
    "0e-999999",
    "5e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "2.2250738585072011e-308",
    "2.2250738585072014e-308",
    "1.7976931348623157e308",
    "1.7976931348623158e308",
    "1.7976931348623159e308",
    "3.4028235677973366e38",
    "3.4028235e38",
    "1e39",
    "9007199254740993",
    "9007199254740992.999999999999999999999",
    "9007199254740993.000000000000000000001",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "1e23",
    "8.5e22",
    "0." + "0" * 400 + "1",
    "0." + "3" * 400,
    "1" * 300,
    "1" * 400,
    "0." + "1" * 30 + "e30",
    "-0",
    "-0.0",
    "-0e5",
    "1E5",
    "1e+5",
    "100000000",
    "12345678",
    "1234567",
    "0.00000001",
]

numbers = st.one_of(
    st.sampled_from(NUMBERS),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**65), 2**65).map(str),
    st.integers(-130, 300).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["NaN", "Inf", "-Infinity"]),
)
texts = st.one_of(
    st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(max_size=3).map(json.dumps),
    st.sampled_from(['{"b64": "aGVsbG8="}', '{ "b64" : "" }', '{"b64": "a"}', '{"b64": "_w"}', "null", '{"b": "a"}']),
)
leaves = st.one_of(numbers, st.sampled_from(["true", "false"]), texts)
spaces = st.sampled_from(["", " ", "\n\t", "\r\n    ", " " * 9])
dtypes = st.sampled_from([*NUMPY_OF])
shapes = st.lists(st.integers(1, 4), max_size=4)


@st.composite
def values(draw: st.DrawFn) -> str:
    """A regular nested list, mostly of one kind of element."""
    shape = draw(shapes)
    count = int(np.prod(shape))
    kind = draw(st.sampled_from([numbers, numbers, st.sampled_from(["true", "false"]), texts, leaves]))
    comma = draw(spaces) + "," + draw(spaces)
    return nested(draw(st.lists(kind, min_size=count, max_size=count)), shape, comma)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A predict body; most are right."""
    form = draw(st.sampled_from(["rows", "row objects", "columns", "column object"]))
    space = draw(spaces)
    if form == "columns":
        data = f'"inputs"{space}:{space}{draw(values())}'
    elif form == "column object":
        data = f'"inputs":{{"x":{draw(values())}{space},"y"{space}:{draw(values())}}}'
    elif form == "rows":
        data = f'"instances":{space}[{draw(values())}{space}]'
    else:
        x, y = draw(values()), draw(values())
        rows = [f'{{"x":{x},"y":{y}}}', f'{{{space}"y":{y}{space},"x":{x}}}']
        data = f'"instances":[{(space + ",").join(rows[: draw(st.integers(1, 2))])}]'
    name = draw(st.sampled_from(["", '"signature_name": "s", ', '"signature_name": "\\u0041", ']))
    return f"{space}{{{name}{data}{space}}}{draw(st.sampled_from(['', ' ', 'x']))}"


inputs_of_one = dtypes.map(lambda dtype: {"x": dtype})
inputs_of_two = st.tuples(dtypes, dtypes).map(lambda pair: {"x": pair[0], "y": pair[1]})
signatures = st.one_of(inputs_of_one, inputs_of_two)


@pytest.mark.parametrize("read", READERS)
@given(body=bodies(), inputs=signatures)
def test_whatever_is_taken_means_the_same_the_long_way(
    read: Callable[[bytes], UsualBody | None], body: str, inputs: Mapping[str, DType]
) -> None:
    data = body.encode("utf-8", "surrogatepass")
    assert_agrees(data, inputs, read(data))


@pytest.mark.parametrize("read", READERS)
@given(
    body=bodies(),
    inputs=signatures,
    edits=st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from([*b'[]{},:"\\.eE+-0123456789 tfnNI\0\x80b'])),
        min_size=1,
        max_size=4,
    ),
)
def test_bodies_with_something_changed_mean_the_same_the_long_way_or_are_left_to_it(
    read: Callable[[bytes], UsualBody | None], body: str, inputs: Mapping[str, DType], edits: list[tuple[int, int, int]]
) -> None:
    changed = bytearray(body.encode("utf-8", "surrogatepass"))
    for position, kind, byte in edits:
        place = position % (len(changed) + 1)
        if kind == 0:
            changed.insert(place, byte)
        elif kind == 1:
            changed[place : place + 1] = bytes([byte])
        elif kind == 2:
            del changed[place : place + 2]
        else:
            changed[place:place] = changed[max(0, place - 9) : place]
    data = bytes(changed)
    assert_agrees(data, inputs, read(data))


@compiled_only
@given(data=st.data(), dtype=st.sampled_from(NUMERIC))
def test_regular_lists_of_numbers_are_all_taken(data: st.DataObject, dtype: DType) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    count = int(np.prod(shape))
    if np.dtype(dtype.numpy).kind in "iu":
        info = np.iinfo(dtype.numpy)
        kind = st.integers(int(info.min), min(int(info.max), 2**63 - 1)).map(str)
    else:
        kind = st.floats(allow_nan=False, allow_infinity=False).map(repr)
    text = nested(data.draw(st.lists(kind, min_size=count, max_size=count)), shape)
    compiled_inputs(f'{{"instances": {text}}}', {"x": dtype})


def doubles_of(texts: Sequence[str]) -> Array:
    return compiled_inputs(f'{{"inputs": [{",".join(texts)}]}}', {"x": DType.DOUBLE}).inputs["x"]


@compiled_only
@given(text=st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
@example(text="1e23")
def test_a_number_reads_as_the_double_next_to_it(text: str) -> None:
    form = read_compiled_body(f'{{"inputs": {text}}}'.encode())
    if form is None:
        # Too large, or it looks as if it were.
        assert abs(float(text)) > 1e300 or "e" in text.lower()
        return
    result = form.decode(signature({"x": DType.DOUBLE}))
    assert result is not None
    expected = float(int(text)) if text.lstrip("-").isdigit() else float(text)
    assert result.inputs["x"].tobytes() == struct.pack("=d", expected)


@compiled_only
def test_numbers_next_to_the_middle_between_two_doubles_are_rounded_as_they_should_be() -> None:
    chance = random.Random(7)
    for _ in range(100):
        bits = chance.choice([chance.randrange(1, 1 << 52), chance.randrange(1000 << 52, 1046 << 52)])
        low, high = struct.unpack("=dd", struct.pack("=QQ", bits, bits + 1))
        with localcontext(prec=1100):
            middle = (Decimal(low) + Decimal(high)) / 2
            near = [f"{middle + sign * middle.scaleb(-digits):E}" for sign in (-1, 0, 1) for digits in (20, 40, 700)]
        assert doubles_of(near).tolist() == [float(text) for text in near]


@compiled_only
def test_too_many_numbers_in_doubt_are_left_to_the_long_way() -> None:
    # Exactly in the middle: the extension has to ask the interpreter about each.
    halfway = "9007199254740993.0000000000000000000000"
    assert read_compiled_body(f'{{"inputs": [{",".join([halfway] * 100)}]}}'.encode()) is not None
    assert read_compiled_body(f'{{"inputs": [{",".join([halfway] * 101)}]}}'.encode()) is None


@compiled_only
def test_strings_may_hold_bytes_that_are_no_utf8() -> None:
    values = compiled_inputs(b'{"instances": ["\xff\xfe", "\x80"]}', {"x": DType.STRING}).inputs["x"]
    assert values.tolist() == [b"\xff\xfe", b"\x80"]


@compiled_only
def test_names_that_are_no_utf8_are_left_to_the_long_way() -> None:
    assert read_compiled_body(b'{"instances": [1], "signature_name": "\xff"}') is None
    assert read_compiled_body(b'{"inputs": {"\xff": 1}}') is None


@compiled_only
def test_bodies_are_read_by_several_threads_at_once() -> None:
    values = np.random.default_rng(1).random((20, 1000), np.float32)
    body = json.dumps({"instances": values.tolist()}).encode()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(5):
                form = read_compiled_body(body)
                assert form is not None
                result = form.decode(signature({"x": DType.FLOAT}))
                assert result is not None
                np.testing.assert_array_equal(result.inputs["x"], values)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@compiled_only
def test_an_array_of_another_size_or_type_is_refused() -> None:
    form = read_compiled_body(b'{"inputs": [1, 2]}')
    assert form is not None
    for array in (np.empty(3, np.float32), np.empty(2, np.float64), np.empty(1, np.float32)):
        with pytest.raises(ValueError, match="expected 2 elements of f"):
            form.values.store(0, array, "f")
    with pytest.raises(IndexError):
        form.values.store(1, np.empty(2, np.float32), "f")
    with pytest.raises((BufferError, ValueError)):
        form.values.store(0, np.empty(4, np.float32)[::2], "f")


@compiled_only
@given(
    st.from_regex(r"-?[0-9]\.[0-9]{1,19}([eE]-?[0-9])?", fullmatch=True),
    st.sampled_from(["", " ", "\n"]),
    st.booleans(),
)
@example("-0.0", "", True)
@example("0.0E1", "", True)
@example("9.9999999999999999", "", True)
def test_a_number_with_one_digit_before_its_point_is_the_same_near_the_end_and_far_from_it(
    number: str, space: str, as_float: bool
) -> None:
    dtype = {"x": DType.FLOAT if as_float else DType.DOUBLE}
    near = compiled_inputs(f'{{"instances": [{number}{space}]}}', dtype)
    far = compiled_inputs(f'{{"instances": [{number}{space}]{" " * 64}}}', dtype)
    mixed = compiled_inputs(f'{{"instances": [1, {number}{space}, 2]{" " * 64}}}', dtype)
    assert image(near.inputs["x"]) == image(far.inputs["x"]) == image(mixed.inputs["x"][1:2])


# Long lists: most of their numbers are read in fewer steps than the first ones.

STYLES = {
    "integers": lambda chance: str(chance.randrange(-300, 300)),
    "long integers": lambda chance: str(chance.randrange(-(10 ** chance.randrange(1, 19)), 10**18)),
    "pictures": lambda chance: f"{chance.randrange(256) / 255:.{chance.randrange(1, 9)}f}",
    "floats": lambda chance: repr(float(np.float32(chance.random()))),
    "doubles": lambda chance: repr(chance.gauss(0, 1)),
    "several digits": lambda chance: f"{chance.gauss(0, 10 ** chance.randrange(6)):.{chance.randrange(1, 16)}f}",
    "digits without end": lambda chance: f"{chance.gauss(0, 9):.{chance.randrange(12, 25)}f}",
    "zeros": lambda chance: chance.choice(["0", "-0", "0.0", "-0.0", "0.00000000000000000", "0.0000000000000000000"]),
    "exponents": lambda chance: repr(chance.gauss(0, 1e-5)),
    "ties": lambda chance: f"{chance.randrange(2**52) + 0.5:.1f}",
}


@compiled_only
@pytest.mark.parametrize("style", [*STYLES, "all"])
@pytest.mark.parametrize(
    ("shape", "comma"),
    [((350,), ", "), ((350,), ","), ((7, 50), ", "), ((5, 7, 10), ","), ((350, 1), ", "), ((350,), ",\n  ")],
)
def test_long_lists_read_as_the_long_way(style: str, shape: Sequence[int], comma: str) -> None:
    chance = random.Random(5)
    styles = [STYLES[style]] if style != "all" else list(STYLES.values())
    texts = [chance.choice(styles)(chance) for _ in range(350)]
    body = f'{{"instances": {nested(texts, shape, comma)}}}'
    for dtype in (DType.DOUBLE, DType.FLOAT):
        compiled_inputs(body, {"x": dtype})
    if style == "integers":
        compiled_inputs(body, {"x": DType.INT32})


@compiled_only
def test_it_does_not_matter_where_in_the_text_a_number_stands() -> None:
    numbers = ["0.12345678901234567", "0.5", "-0.25", "7", "123.456", "0.1234567890123456789"]
    body = f"[{', '.join(numbers * 60)}]"
    expected = compiled_inputs(f'{{"inputs": {body}}}', {"x": DType.DOUBLE}).inputs["x"]
    for space in range(70):
        read = read_compiled_body(f'{{"inputs":{" " * space}{body}}}'.encode())
        assert read is not None
        result = read.decode(signature({"x": DType.DOUBLE}))
        assert result is not None
        assert image(result.inputs["x"]) == image(expected)


@compiled_only
@pytest.mark.parametrize("usual", ["0.5", "12"])
@pytest.mark.parametrize(
    "wrong",
    [
        *("01", "-01", "00.5", "1.", ".5", "-", "--1", "+1", "1e", "1e+", "0.5.5", "0.5e", "0..5", "-.5", "0.-5"),
        *("1 2", "0.5 0.5", "0.5x", "0x1", "1,", ",1", "[1]", "1]", "1], [1", "[1", "", "null", "true", '"a"', "1\0"),
    ],
)
@pytest.mark.parametrize("comma", [", ", ","])
def test_what_is_wrong_in_the_middle_or_at_the_end_of_a_long_list_is_left_to_the_long_way(
    usual: str, wrong: str, comma: str
) -> None:
    for behind in ([usual] * 30, []):
        flat = comma.join([*[usual] * 30, wrong, *behind])
        assert read_compiled_body(f'{{"inputs": [{flat}]}}'.encode()) is None
        of_two = comma.join([*[f"[{usual}{comma}{usual}]"] * 30, f"[{usual}{comma}{wrong}]", *behind])
        assert read_compiled_body(f'{{"inputs": [{of_two}]}}'.encode()) is None


@compiled_only
@given(
    style=st.sampled_from([*STYLES]),
    seed=st.integers(0, 2**32),
    place=st.integers(0, 3000),
    piece=st.sampled_from(
        [b"", b"[", b"]", b",", b" ", b"-", b".", b"e", b"E", b"0", b"9", b"], [", b"\0", b"x", b'"']
    ),
    removed=st.integers(0, 3),
)
def test_a_long_list_with_something_changed_means_the_same_the_long_way_or_is_left_to_it(
    style: str, seed: int, place: int, piece: bytes, removed: int
) -> None:
    chance = random.Random(seed)
    rows = nested([STYLES[style](chance) for _ in range(120)], (40, 3))
    body = bytearray(f'{{"instances": {rows}}}'.encode())
    place %= len(body)
    body[place : place + removed] = piece
    data = bytes(body)
    assert_agrees(data, {"x": DType.DOUBLE}, read_compiled_body(data))


@compiled_only
def test_more_strings_than_are_made_in_one_go_keep_their_order() -> None:
    texts = [f"text {number}" for number in range(40_000)]
    body = read_compiled_body(json.dumps({"inputs": texts}).encode())
    assert body is not None
    decoded = body.decode(Signature({"s": TensorSpec(DType.STRING, (None,))}, {}))
    assert decoded is not None
    assert decoded.inputs["s"].tolist() == [text.encode() for text in texts]


def order_of(form: CompiledBody, dtypes: Sequence[DType]) -> tuple[tuple[int, str], ...]:
    """All columns, the last one first."""
    return tuple((index, CODES[dtypes[index % len(dtypes)]]) for index in reversed(range(len(form.aliases))))


@compiled_only
@given(one=bodies(), other=bodies(), dtypes=st.lists(st.sampled_from(list(CODES)), min_size=1, max_size=2))
def test_a_pattern_reads_what_is_like_the_first_one_and_leaves_what_is_not(
    one: str, other: str, dtypes: list[DType]
) -> None:
    assert EXTENSION is not None
    form = read_compiled_body(one.encode())
    if form is None:
        return
    order = order_of(form, dtypes)
    pattern = EXTENSION.Pattern(form.key, order)
    for body in (one.encode(), other.encode()):
        values, found = EXTENSION.read_values(body), pattern.read(body)
        if values is None:
            assert found is None
            continue
        contents = tuple(values.content(index, letter) for index, letter in order if index < len(values.names))
        if values.key == form.key and None not in contents:
            assert found == contents
        else:
            assert not isinstance(found, tuple)
            assert found is not None
            assert found.key == values.key


@compiled_only
@pytest.mark.parametrize(
    "other",
    [
        '{"instances": [[1, 2], [3, 4], [5, 6]]}',
        '{"instances": [[1], [2]]}',
        '{"instances": [1, 2]}',
        '{"inputs": [[1, 2], [3, 4]]}',
        '{"inputs": {"x": [[1, 2], [3, 4]]}}',
        '{"signature_name": "s", "instances": [[1, 2], [3, 4]]}',
        '{"instances": [[1, 2], [3, 400]]}',
        '{"instances": [["a", "b"], ["c", "d"]]}',
    ],
)
def test_a_body_that_is_not_like_the_first_one_is_read_as_any_other(other: str) -> None:
    assert EXTENSION is not None
    pattern = EXTENSION.Pattern(("", True, (None,), ((2, 2),)), ((0, "h"), (0, "H")))
    assert pattern.read(b'{"instances": [[1, 2], [3, 4]]}') == 2 * (struct.pack("=4h", 1, 2, 3, 4),)
    narrow = EXTENSION.Pattern(("", True, (None,), ((2, 2),)), ((0, "?"),))
    for each in (pattern, narrow) if "400" not in other else (narrow,):
        found = each.read(other.encode())
        assert found is not None
        assert not isinstance(found, tuple)
        assert found.key == read_compiled_body(other.encode()).key  # type: ignore[union-attr]


@compiled_only
def test_a_pattern_of_rows_with_names_knows_how_many_rows_there_are() -> None:
    assert EXTENSION is not None
    body = b'{"signature_name": "s\xc3\xa9", "instances": [{"x": [1, 2], "y": 3}, {"x": [4, 5], "y": 6}]}'
    form = read_compiled_body(body)
    assert form is not None
    pattern = EXTENSION.Pattern(form.key, ((1, "B"), (0, "B")))
    assert pattern.read(body) == (bytes([3, 6]), bytes([1, 2, 4, 5]))
    for other in (
        body.replace(b', {"x": [4, 5], "y": 6}', b""),
        body.replace(b'"y"', b'"z"'),
        body.replace(b"\xc3\xa9", b""),
        body.replace(b"[1, 2]", b"[1]").replace(b"[4, 5]", b"[4]"),
    ):
        found = pattern.read(other)
        assert found is not None
        assert not isinstance(found, tuple)
    assert pattern.read(body.replace(b"\xc3\xa9", b"\xc3")) is None
    assert pattern.read(body[:-1]) is None


@compiled_only
@pytest.mark.parametrize(
    ("key", "order"),
    [
        (("", True, (None,) * 17, ((1,),) * 17), ()),
        (("", True, (), ()), ()),
        (("", True, (None,), ()), ()),
        (("", True, (None,), ((1,),)), ((1, "f"),)),
        (("", True, (None,), ((1,),)), ((-1, "f"),)),
        (("", True, (None,), ((1,) * 40,)), ((0, "f"),)),
    ],
)
def test_a_pattern_of_what_cannot_be_is_refused(key: Key, order: tuple[tuple[int, str], ...]) -> None:
    assert EXTENSION is not None
    with pytest.raises(ValueError, match="expected"):
        EXTENSION.Pattern(key, order)
