"""Compares the compiled codec with its plain twin on random and on damaged input, with AddressSanitizer watching.

    python scripts/fuzz_codec.py --seconds 600

builds the extension with `-fsanitize=address,undefined` in a folder of its own, and runs itself in it. Whatever the
extension takes has to mean the same the long way, byte for byte; what it writes has to be what the twin writes; and
reading has to take no more memory than a small multiple of the body. `--seed` repeats a run; a difference is
printed with its input, and ends it. With `--no-sse2` the extension is built as for processors other than x86-64.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time

import numpy as np
from damage import damaged
from sanitized import fail, is_sanitized, run_sanitized

from hotserve.codecs.compiled import CODES, EXTENSION
from hotserve.codecs.json_compiled_body import CompiledBody, read_compiled_body
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_lists import WRITTEN, compiled_lists, plain_lists
from hotserve.codecs.json_request import decode_predict, signature_name
from hotserve.errors import ServingError
from hotserve.tensors import DType, Signature, TensorSpec

INPUTS_OF = (("x",), ("x", "y"), ("b64",))
DTYPES = [*CODES, DType.HALF, DType.BFLOAT16, DType.STRING, DType.COMPLEX64]
NUMBERS = (
    *(
        "0",
        "-0",
        "-0.0",
        "1",
        "255",
        "1.5",
        "1e5",
        "1E-7",
        "0.1",
        "1e309",
        "1e308",
        "1.8e308",
        "5e-324",
        "1e-400",
        "NaN",
    ),
    *("Inf", "-Infinity", "01", "1.", "-", "+1", "9007199254740993", "9223372036854775808", "18446744073709551616"),
    *("9007199254740993.00000000000000000000", "0." + "3" * 60, "1" * 310, "2.4703282292062327e-324", "null", "true"),
)
STRINGS = ('""', '"a"', '"aGk="', '"\\u0041"', '"\\"', '"\xe9"', '{"b64":"aGk="}', '{"b64":"a"}', '{"b64":1}', "{}")
PIECES = (b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\0", b"\x80", b"-", b".", b"e", b"0", b"9", b" ", b'"x":')


def number(chance: random.Random) -> str:
    match chance.randrange(24):
        case 0:
            return chance.choice(NUMBERS)
        case 1:
            return repr(struct.unpack("=d", chance.randbytes(8))[0]).replace("inf", "Infinity").replace("nan", "NaN")
        case 2:
            return (
                f"{chance.getrandbits(chance.randrange(1, 80))}.{chance.getrandbits(70)}e{chance.randrange(-360, 310)}"
            )
        case 3 | 4 | 5 | 6 | 7:
            return repr(float(np.float32(chance.random())))
        case 8 | 9 | 10 | 11:
            return f"{chance.random() * 10.0 ** chance.randrange(-20, 20):.{chance.randrange(1, 30)}f}"
        case _:
            return str(chance.getrandbits(chance.randrange(1, 66)) * chance.choice((1, -1)))


def value(chance: random.Random, shape: tuple[int, ...]) -> str:
    kind = chance.randrange(10)

    length = chance.randrange(1, 20)

    def leaf() -> str:
        if kind >= 8:
            # As most bodies are: all much alike.
            return f"{chance.random():.{length}f}" if chance.randrange(30) else number(chance)
        if kind == 0:
            return chance.choice(("true", "false"))
        if kind in (1, 2):
            return chance.choice(STRINGS if chance.randrange(8) == 0 else STRINGS[:3])
        return str(chance.randrange(-300, 300)) if kind == 3 else number(chance)

    def nest(level: int) -> str:
        if level == len(shape):
            return leaf()
        return "[" + chance.choice((",", ", ", " ,\n")).join(nest(level + 1) for _ in range(shape[level])) + "]"

    return nest(0)


def body(chance: random.Random) -> bytes:
    shape = tuple(chance.randrange(1, 5) for _ in range(chance.randrange(4)))
    match chance.randrange(5):
        case 0:
            data = f'"inputs": {value(chance, shape)}'
        case 1:
            name = chance.choice(("x", "b64"))
            data = f'"inputs": {{"{name}": {value(chance, shape)}, "y": {value(chance, shape)}}}'
        case 2:
            rows = (f'{{"x": {value(chance, shape)}, "y": {value(chance, ())}}}' for _ in range(chance.randrange(1, 4)))
            data = f'"instances": [{", ".join(rows)}]'
        case _:
            data = f'"instances": {value(chance, (chance.choice((1, 2, 3, 40, 100)), *shape))}'
    name = chance.choice(("", "", '"signature_name": "s", '))
    return f"{{{name}{data}}}".encode("latin-1" if chance.randrange(9) == 0 else "utf-8")


def piece(chance: random.Random) -> bytes:
    """A token of JSON, or a part of one."""
    return chance.choice(PIECES) if chance.random() < 0.5 else number(chance).encode()


def check_reading(chance: random.Random) -> bool:
    """Reads one body both ways; returns whether the extension took it."""
    data = damaged(chance, body(chance), piece)
    form = read_compiled_body(data)
    if form is None:
        return False
    check_pattern(chance, data, form)
    # Several dtypes: a body is soon read, and the conversions are to be tried as well.
    taken = False
    for _ in range(5):
        signature = Signature({name: TensorSpec(chance.choice(DTYPES), None) for name in chance.choice(INPUTS_OF)}, {})
        short = form.decode(signature)
        try:
            document = parse_document(data)
            long = None
            if form.signature_name != signature_name(document):
                fail(data, "another signature name")
            long = decode_predict(document, signature, "")
        except ServingError as error:
            if short is not None:
                fail(data, f"taken by the extension for {signature.describe_inputs()}, and refused: {error}")
            if "JSON Parse error" in str(error):
                fail(data, f"read by the extension, and no JSON: {error}")
            continue
        if short is None:
            continue
        taken = True
        for name, array in long.inputs.items():
            other = short.inputs[name]
            same = array.tolist() == other.tolist() if array.dtype == object else array.tobytes() == other.tobytes()
            if not same or array.shape != other.shape or array.dtype != other.dtype:
                fail(data, f"another tensor {name} for {signature.describe_inputs()}")
        if short.row_format != long.row_format:
            fail(data, "another format")
    return taken


def check_pattern(chance: random.Random, data: bytes, form: CompiledBody) -> None:
    """Reads a body, and a damaged one, by the pattern of the first, which has to give the same as without it."""
    assert EXTENSION is not None
    count = len(form.aliases)
    if count > 16:
        return
    order = tuple((chance.randrange(count), chance.choice(list(CODES.values()))) for _ in range(chance.randrange(1, 4)))
    pattern = EXTENSION.Pattern(form.key, order)
    for other in (data, damaged(chance, data, piece)):
        values, found = EXTENSION.read_values(other), pattern.read(other)
        if isinstance(found, tuple):
            if values is None or values.key != form.key:
                fail(other, f"taken as like {data!r}")
            if found != tuple(values.content(index, letter) for index, letter in order):
                fail(other, f"other contents by the pattern of {data!r}, {order}")
        elif (found is None) != (values is None):
            fail(other, f"taken only once, with or without the pattern of {data!r}")
        elif found is not None and values is not None and found.key != values.key:
            fail(other, f"another key by the pattern of {data!r}")


def check_writing(chance: random.Random) -> None:
    dtype = chance.choice(sorted(WRITTEN))
    shape = tuple(chance.randrange(5) for _ in range(chance.randrange(1, 4)))
    count = int(np.prod(shape))
    match chance.randrange(3):
        case 0:
            array = np.frombuffer(chance.randbytes(count * dtype.numpy.itemsize), dtype.numpy)
        case 1:
            with np.errstate(all="ignore"):
                array = np.array([chance.randrange(10**7) / 2.0 ** chance.randrange(12) for _ in range(count)])
                array = array.astype(dtype.numpy)
        case _:
            with np.errstate(all="ignore"):
                array = np.array(
                    [float(f"{chance.randrange(10**6)}e{chance.randrange(-330, 303)}") for _ in range(count)]
                )
                array = array.astype(dtype.numpy)
    if dtype is DType.BOOL:
        array = array.view(np.uint8) % 2 == 1
    array = array.reshape(shape)
    by_row = chance.random() < 0.5
    if compiled_lists(array, dtype, by_row) != plain_lists(array, dtype, by_row):
        fail(array.tobytes(), f"another text for {dtype.label} {shape}")


def check_memory() -> None:
    """Reads large bodies of the smallest tokens, and of one token that has no end."""
    size = 4 << 20
    bodies = (
        b'{"inputs": [' + b"1," * size + b"1]}",
        b'{"inputs": [' + b'"",' * size + b'""]}',
        b'{"inputs": [' + b"true," * size + b"true]}",
        b'{"inputs": ' + b"[" * size,
        b'{"inputs": "' + b"a" * size,
        b'{"inputs": 0.' + b"1" * size,
        b'{"inputs": {' + b",".join(b'"%d":1' % i for i in range(size // 8)) + b"}}",
        b'{"instances": [' + b'{"x":1},' * size + b'{"x":1}]}',
    )
    for data in bodies:
        before = peak_bytes()
        read_compiled_body(data)
        # Cells are 8 bytes for a token of two or more, in a buffer that doubles, while it is moved.
        if peak_bytes() - before > 20 * len(data) + (64 << 20):
            fail(data[:40], f"{peak_bytes() - before} bytes for a body of {len(data)}")


def peak_bytes() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def fuzz(seconds: float, seed: int) -> None:
    if EXTENSION is None:
        sys.exit("The extension is not there: run this without --no-build, or install with a C compiler.")
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    read = taken = written = 0
    check_memory()
    while time.monotonic() < deadline:
        for _ in range(200):
            taken += check_reading(chance)
            check_writing(chance)
        read += 200
        written += 200
    found = {"seed": seed, "bodies": read, "taken by the extension": taken, "arrays": written}
    print(json.dumps({"sanitized": is_sanitized(), **found}))


if __name__ == "__main__":
    run_sanitized(__file__, __doc__, fuzz)
