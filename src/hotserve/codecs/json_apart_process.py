"""The process that reads large predict bodies of unusual form: see `json_apart`.

    python -m hotserve.codecs.json_apart_process

It gives way to others, and ends with whoever has started it.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from typing import IO, Final

import numpy as np

from hotserve.child_python import end_with_parent
from hotserve.codecs.json_apart import LENGTH, Found, Wanted
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_request import decode_predict, signature_name
from hotserve.errors import ResourceExhausted, ServingError
from hotserve.tensors import Array, Signature, TensorSpec

_NICENESS: Final = 10


def main() -> None:
    """The program."""
    os.nice(_NICENESS)
    end_with_parent()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    try:
        document = parse_document(_next(source))
        _say(target, signature_name(document))
        wanted: Wanted = pickle.loads(_next(source))
        signature = Signature({alias: TensorSpec(dtype, None) for alias, dtype in wanted.inputs.items()}, {})
        found = decode_predict(document, signature, wanted.name)
        tensors = [(alias, _type_name(array), array.shape) for alias, array in found.inputs.items()]
        _say(target, Found(tensors, found.row_format))
        for array in found.inputs.values():
            for part in _parts(array):
                target.write(part)
    except ServingError as error:
        # Of the class that they all have: any other may want other arguments.
        _say(target, ServingError(error.message, error.code))
    except MemoryError:
        _say(target, ResourceExhausted("There is not enough memory to read the body."))
    target.flush()
    source.read()


def _next(source: IO[bytes]) -> bytes:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise SystemExit
    return source.read(LENGTH.unpack(head)[0])


def _say(target: IO[bytes], answer: object) -> None:
    data = pickle.dumps(answer)
    target.write(LENGTH.pack(len(data)) + data)
    target.flush()


def _type_name(array: Array) -> str:
    return "" if array.dtype.hasobject else array.dtype.name


def _parts(array: Array) -> Sequence[bytes]:
    if not array.dtype.hasobject:
        return [np.ascontiguousarray(array).tobytes()]
    strings = array.reshape(-1).tolist()
    return [np.cumsum([len(string) for string in strings], dtype=np.int64).tobytes(), *strings]


if __name__ == "__main__":
    main()
