"""The process that reads large JSON bodies that cost Python much: see `json_apart`.

    python -m hotserve.codecs.json_apart_process

It reads one body after the other, with a bound on its memory for each, gives way to others, and ends with whoever has
started it.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import sys
from collections.abc import Sequence
from typing import IO, Final

import numpy as np

from hotserve.child_python import end_with_parent
from hotserve.codecs.json_apart import EXAMPLES, HEAD, LENGTH, Found, Wanted
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_examples import decode_examples
from hotserve.codecs.json_request import PredictInputs, decode_predict, signature_name
from hotserve.errors import ResourceExhausted, ServingError
from hotserve.tensors import Array, Signature, TensorSpec

_NICENESS: Final = 10

_MEMORY: Final = 1 << 30
_MEMORY_PER_BYTE: Final = 32
"""What a body may take: lists of one number each, the worst of usual ones, take 22 bytes for each of theirs."""


def main() -> None:
    """The program."""
    os.nice(_NICENESS)
    end_with_parent()
    # A document has no cycles, and to look for some among millions of lists takes longer than to read them.
    gc.disable()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(HEAD.size):
        lists_examples, size = HEAD.unpack(head)
        _bound_memory(size)
        try:
            _read(source.read(size), lists_examples, source, target)
        except ServingError as error:
            # Of the class that they all have: any other may want other arguments.
            _say(target, ServingError(error.message, error.code))
        except MemoryError:
            _say(target, ResourceExhausted("There is not enough memory to read the body."))
        gc.collect()  # what an error has held together


def _read(body: bytes, lists_examples: bool, source: IO[bytes], target: IO[bytes]) -> None:
    document = parse_document(body)
    name = signature_name(document)
    if lists_examples:
        found = PredictInputs({EXAMPLES: decode_examples(document)}, row_format=False)
        _say(target, name)
    else:
        _say(target, name)
        wanted: Wanted = pickle.loads(_next(source))
        signature = Signature({alias: TensorSpec(dtype, None) for alias, dtype in wanted.inputs.items()}, {})
        found = decode_predict(document, signature, wanted.name)
    tensors = [(alias, _type_name(array), array.shape) for alias, array in found.inputs.items()]
    _say(target, Found(tensors, found.row_format))
    try:
        for array in found.inputs.values():
            for part in _parts(array):
                target.write(part)
        target.flush()
    except MemoryError:  # whatever else were said would be taken for values
        raise SystemExit("There is not enough memory to hand over what the body says.") from None


def _bound_memory(size: int) -> None:
    """Bounds what the process may take for a body of so many bytes, where the system can do that."""
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        bound = _MEMORY + _MEMORY_PER_BYTE * size
        resource.setrlimit(resource.RLIMIT_DATA, (bound if most == resource.RLIM_INFINITY else min(bound, most), most))


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
