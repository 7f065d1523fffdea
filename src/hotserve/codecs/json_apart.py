"""Large predict bodies of unusual form, read by a process of their own.

What the extension does not take, be it right or wrong, costs the standard library's parser 16 ms a MiB under the GIL,
and the exact reader a second a MiB in Python: one such body of 64 MiB, which anybody can send, would hold up all other
requests for seconds. Here it holds up none; starting the process takes longer than a usual body of that size.

The process is `json_apart_process`. Over its standard input go the body and then, once the signature is known, what
that takes; over its standard output come the name of the signature and then the tensors, or what is wrong. Messages
are pickled: both sides are ours, and nobody else has these pipes.

Threads: one for each process that is given up, which waits for its end.
"""

from __future__ import annotations

import pickle
import struct
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any, Final

import numpy as np

from hotserve.child_python import module_command, module_environment
from hotserve.codecs.json_request import PredictInputs
from hotserve.errors import InvalidArgument, ResourceExhausted, ServingError, Unimplemented
from hotserve.tensors import Array, DType, Signature

APART_BYTES: Final = 2 << 20
"""From here on unusual bodies are read apart."""

LENGTH: Final = struct.Struct("<q")
"""How long the message is that follows."""

_PIECE: Final = 1 << 14
"""How many strings are made in one go."""

_ERRORS: Final = {kind.code: kind for kind in (InvalidArgument, Unimplemented, ResourceExhausted)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is called.

    Attributes:
        inputs: Input alias -> type.
        name: The signature, as the request names it.
    """

    inputs: Mapping[str, DType]
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """The tensors, whose bytes follow in the same order.

    Attributes:
        tensors: Input alias, numpy's name of the type, and shape. Of strings there are first their ends, as int64, and
            then their bytes; the name is empty.
        row_format: As in `PredictInputs`.
    """

    tensors: Sequence[tuple[str, str, tuple[int, ...]]]
    row_format: bool


class BodyApart:
    """A body in a process of its own, which ends once the tensors are read, or nobody has the body any more.

    Attributes:
        signature_name: The signature that it names; empty for the default one.
    """

    def __init__(self, data: bytes) -> None:
        """Has the process parse the body; blocks, without the GIL.

        Args:
            data: The body.

        Raises:
            InvalidArgument: It is not JSON, not an object, or names a signature by something else than a string.
            ResourceExhausted: The process cannot be started, or has ended before its time.
        """
        try:
            self._process = subprocess.Popen(
                module_command("hotserve.codecs.json_apart_process"),
                env=module_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                process_group=0,
            )
        except OSError as error:
            raise ResourceExhausted(
                f"No process could be started to read a body of {len(data)} bytes and unusual form: {error}."
            ) from error
        try:
            self.signature_name: str = self._ask(data)
        except BaseException:
            self._end()
            raise

    def __del__(self) -> None:
        if hasattr(self, "_process") and self._process.poll() is None:
            self._stop()
            # Its end takes a while where it has much memory, and this may be the event loop.
            with suppress(RuntimeError):  # at the very end there are no new threads, nor anybody who would mind
                threading.Thread(target=self._process.wait, name="hotserve-json-apart", daemon=True).start()

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        """Reads the tensors, once; blocks. See `json_request.decode_predict`.

        Raises:
            ServingError: As said there.
            ResourceExhausted: The process has ended before its time.
        """
        wanted = Wanted({alias: spec.dtype for alias, spec in signature.inputs.items()}, name)
        try:
            found: Found = self._ask(pickle.dumps(wanted))
            arrays = {alias: self._tensor(dtype, shape) for alias, dtype, shape in found.tensors}
        finally:
            self._end()
        return PredictInputs(arrays, found.row_format)

    def _ask(self, question: bytes) -> Any:
        assert self._process.stdin is not None
        try:
            _write(self._process.stdin, LENGTH.pack(len(question)))
            _write(self._process.stdin, question)
        except OSError:
            raise self._gone() from None
        answer = pickle.loads(self._take(LENGTH.unpack(self._take(LENGTH.size))[0]))
        if isinstance(answer, ServingError):
            raise _ERRORS.get(answer.code, ServingError)(answer.message, answer.code)
        return answer

    def _tensor(self, dtype: str, shape: tuple[int, ...]) -> Array:
        if dtype:
            values = np.empty(shape, np.dtype(dtype))
            self._fill(values.reshape(-1).view(np.uint8).data)
            return values
        ends = np.empty(int(np.prod(shape)), np.int64)
        self._fill(ends.view(np.uint8).data)
        data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8).data
        self._fill(data)
        strings = np.empty(len(ends), np.object_)
        for start in range(0, len(ends), _PIECE):
            bounds = [int(ends[start - 1]) if start else 0, *ends[start : start + _PIECE].tolist()]
            strings[start : start + _PIECE] = [bytes(data[begin:end]) for begin, end in pairwise(bounds)]
        return strings.reshape(shape)

    def _take(self, size: int) -> bytes:
        data = np.empty(size, np.uint8)
        self._fill(data.data)
        return data.tobytes()

    def _fill(self, view: memoryview) -> None:
        assert self._process.stdout is not None
        while view:
            taken = self._process.stdout.readinto(view)  # type: ignore[attr-defined]  # unbuffered: a raw file
            if not taken:
                raise self._gone()
            view = view[taken:]

    def _gone(self) -> ResourceExhausted:
        return ResourceExhausted(
            f"The process that read a large body of unusual form has ended with {self._process.wait()}. Expected memory"
            " for a dozen times its size; send numbers of equal lists, or less at once."
        )

    def _end(self) -> None:
        self._stop()
        self._process.wait()

    def _stop(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _write(pipe: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]
