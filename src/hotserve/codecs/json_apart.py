"""Large JSON bodies that cost Python much, read by a process of its own.

What the extension does not take of a predict request, be it right or wrong, costs the standard library's parser 16 ms a
MiB under the GIL, and the exact reader a second a MiB in Python, as do the examples of classify and regress: one such
body of 64 MiB, which anybody can send, would hold up all other requests for seconds. Here it holds up none.

The process is `json_apart_process`. It takes half a second to start, and so is kept for a while for the next body, if
it has not grown large. Over its standard input go a body and then, once the signature is known, what that takes; over
its standard output come the name of the signature and then the tensors, or what is wrong. Messages are pickled: both
sides are ours, and nobody else has these pipes.

Threads: one for each process that is given up, which waits for its end; a timer for each that is kept, ended with it.
"""

from __future__ import annotations

import pickle
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
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

KEPT_BYTES: Final = 16 << 20
"""A process that has read a larger body is not kept: it may hold on to a dozen times as much memory."""

IDLE_SECONDS: Final = 60.0
"""How long a process is kept."""

_MOST_KEPT: Final = 2

LENGTH: Final = struct.Struct("<q")
"""How long the message is that follows."""

HEAD: Final = struct.Struct("<?q")
"""Comes before a body: whether it lists examples, and how long it is."""

EXAMPLES: Final = "examples"
"""The alias of the array with the examples."""

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


class ReadApart(Exception):  # no error: somebody else does it
    """What is raised instead of reading a body that has to be read apart.

    Attributes:
        work: Reads it, given the processes; blocks, without the GIL.
        has_begun: Whether a process has the body already.
    """

    def __init__(self, work: Callable[[ApartProcesses], Any], *, has_begun: bool = False) -> None:
        super().__init__()
        self.work = work
        self.has_begun = has_begun

    def then(self, make: Callable[[Any], Any]) -> ReadApart:
        """The same, with something made of what is read."""
        return ReadApart(lambda processes: make(self.work(processes)), has_begun=self.has_begun)


class _Gone(Exception):
    """The process has ended before its time."""


class ApartProcess:
    """A process that reads one body after the other."""

    def __init__(self) -> None:
        """Starts it.

        Raises:
            OSError: It cannot be started.
        """
        self._process = subprocess.Popen(
            module_command("hotserve.codecs.json_apart_process"),
            env=module_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )

    @property
    def exit_status(self) -> int:
        """What it has ended with, or ends with: waits for that."""
        return self._process.wait()

    def send(self, *parts: bytes) -> None:
        """Writes to it; blocks.

        Raises:
            _Gone: It has ended.
        """
        assert self._process.stdin is not None
        try:
            for part in parts:
                _write(self._process.stdin, part)
        except OSError:
            raise _Gone from None

    def answer(self) -> Any:
        """Its next answer; blocks.

        Raises:
            ServingError: That is the answer.
            _Gone: It has ended.
        """
        answer = pickle.loads(self._take(LENGTH.unpack(self._take(LENGTH.size))[0]))
        if isinstance(answer, ServingError):
            raise _ERRORS.get(answer.code, ServingError)(answer.message, answer.code)
        return answer

    def fill(self, view: memoryview) -> None:
        """Reads as many bytes as fit; blocks.

        Raises:
            _Gone: It has ended.
        """
        assert self._process.stdout is not None
        while view:
            taken = self._process.stdout.readinto(view)  # type: ignore[attr-defined]  # unbuffered: a raw file
            if not taken:
                raise _Gone
            view = view[taken:]

    def _take(self, size: int) -> bytes:
        data = np.empty(size, np.uint8)
        self.fill(data.data)
        return data.tobytes()

    def end(self) -> None:
        """Ends it, and waits for that."""
        self._stop()
        self._process.wait()

    def give_up(self) -> None:
        """Ends it, and does not wait."""
        if self._process.poll() is None:
            self._stop()
            # Its end takes a while where it has much memory, and this may be the event loop.
            with suppress(RuntimeError):  # at the very end there are no new threads, nor anybody who would mind
                threading.Thread(target=self._process.wait, name="hotserve-json-apart", daemon=True).start()

    def _stop(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class ApartProcesses:
    """Starts such processes, and keeps a few of them for a while for the next body. Any thread may call."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        """Starts none yet.

        Args:
            idle_seconds: How long one is kept that has nothing to do.
        """
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._kept: dict[ApartProcess, threading.Timer] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many are kept that have nothing to do."""
        return len(self._kept)

    def take(self) -> ApartProcess | None:
        """One that has been kept, and may have ended since; None if there is none."""
        with self._lock:
            if not self._kept:
                return None
            process, timer = self._kept.popitem()
        timer.cancel()
        return process

    def give_back(self, process: ApartProcess, size: int) -> None:
        """Keeps a process that has answered all that it was asked, or ends it.

        Args:
            process: The process.
            size: The bytes of the body that it has read.
        """
        timer = threading.Timer(self._idle_seconds, self._end, (process,))
        timer.name, timer.daemon = "hotserve-json-apart-idle", True
        with self._lock:
            is_kept = size <= KEPT_BYTES and len(self._kept) < _MOST_KEPT and not self._closed
            if is_kept:
                self._kept[process] = timer
        if not is_kept:
            process.end()
            return
        try:
            timer.start()
        except RuntimeError:  # the system has no thread left
            self._end(process)

    def close(self) -> None:
        """Ends those that have nothing to do; the others end when they have answered."""
        with self._lock:
            kept, self._kept = self._kept, {}
            self._closed = True
        for process, timer in kept.items():
            timer.cancel()
            process.give_up()

    def _end(self, process: ApartProcess) -> None:
        with self._lock:
            timer = self._kept.pop(process, None)
        if timer is not None:
            process.end()


class BodyApart:
    """A body in a process of its own, until its tensors are read, or nobody has the body any more.

    Attributes:
        signature_name: The signature that it names; empty for the default one.
    """

    def __init__(self, data: bytes, processes: ApartProcesses, *, lists_examples: bool = False) -> None:
        """Has a process parse the body; blocks, without the GIL.

        Args:
            data: The body.
            processes: Where the process comes from.
            lists_examples: Whether it is one of classify or regress, with `examples`; else `decode` has to follow.

        Raises:
            InvalidArgument: It is not JSON, not an object, or names a signature by something else than a string.
            ResourceExhausted: The process cannot be started, or has ended before its time.
        """
        self._processes = processes
        self._size = len(data)
        question = HEAD.pack(lists_examples, len(data)), data
        self._process: ApartProcess | None = processes.take()
        if self._process is not None:
            try:
                self.signature_name: str = self._asked(*question)
            except _Gone:
                # Whatever has ended it, perhaps while it had nothing to do: another one tells whether it was this body.
                self._leave().end()
            else:
                return
        try:
            self._process = ApartProcess()
        except OSError as error:
            raise ResourceExhausted(
                f"No process could be started to read a body of {len(data)} bytes and unusual form: {error}."
            ) from error
        try:
            self.signature_name = self._asked(*question)
        except _Gone:
            raise self._ended() from None

    def __del__(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            process.give_up()

    def decode(self, signature: Signature, name: str) -> PredictInputs:
        """Reads the tensors, once; blocks. See `json_request.decode_predict`.

        Raises:
            ServingError: As said there.
            ResourceExhausted: The process has ended before its time.
        """
        wanted = pickle.dumps(Wanted({alias: spec.dtype for alias, spec in signature.inputs.items()}, name))
        return self._found(LENGTH.pack(len(wanted)), wanted)

    def examples(self) -> Array:
        """Reads the examples, once; blocks. See `json_examples.decode_examples`; for what is raised, see `decode`."""
        return self._found().inputs[EXAMPLES]

    def _found(self, *question: bytes) -> PredictInputs:
        try:
            found: Found = self._asked(*question)
            arrays = {alias: self._tensor(dtype, shape) for alias, dtype, shape in found.tensors}
        except _Gone:
            raise self._ended() from None
        self._processes.give_back(self._leave(), self._size)
        return PredictInputs(arrays, found.row_format)

    def _asked(self, *question: bytes) -> Any:
        """What the process says to something. One that has refused it is free for the next body."""
        assert self._process is not None
        try:
            self._process.send(*question)
            return self._process.answer()
        except ResourceExhausted:
            self._leave().give_up()  # it may have filled its memory
            raise
        except ServingError:
            self._processes.give_back(self._leave(), self._size)
            raise

    def _leave(self) -> ApartProcess:
        """The process, which is this body's no more."""
        process = self._process
        assert process is not None
        self._process = None
        return process

    def _tensor(self, dtype: str, shape: tuple[int, ...]) -> Array:
        assert self._process is not None
        fill = self._process.fill
        if dtype:
            values = np.empty(shape, np.dtype(dtype))
            fill(values.reshape(-1).view(np.uint8).data)
            return values
        ends = np.empty(int(np.prod(shape)), np.int64)
        fill(ends.view(np.uint8).data)
        data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8).data
        fill(data)
        strings = np.empty(len(ends), np.object_)
        for start in range(0, len(ends), _PIECE):
            bounds = [int(ends[start - 1]) if start else 0, *ends[start : start + _PIECE].tolist()]
            strings[start : start + _PIECE] = [bytes(data[begin:end]) for begin, end in pairwise(bounds)]
        return strings.reshape(shape)

    def _ended(self) -> ResourceExhausted:
        process = self._leave()
        process.end()
        return ResourceExhausted(
            f"The process that read a large body of unusual form has ended with {process.exit_status}. Expected"
            " memory for a dozen times its size; send numbers of equal lists, or less at once."
        )


def _write(pipe: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]
