"""The platform litert: LiteRT (TensorFlow Lite) models, run by LiteRT's interpreter."""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers
from google.protobuf.message import DecodeError

from hotserve.background import give_way
from hotserve.core.servable import Servable
from hotserve.errors import FailedPrecondition, Internal, InvalidArgument, Unimplemented
from hotserve.platforms.litert_files import (
    MODEL_FILE,
    LiteRtModel,
    LiteRtSignature,
    LiteRtTensor,
    Subgraph,
    read_model,
)
from hotserve.platforms.memory import release_memory
from hotserve.platforms.wire_format import MemoryBytes, WireError
from hotserve.processors import usable_cpus
from hotserve.protos.messages import SignatureDef
from hotserve.tensors import (
    DEFAULT_SIGNATURE,
    NUMPY_OF,
    PREDICT_METHOD,
    Array,
    Signature,
    TensorSpec,
    dtype_of_array,
    shape_text,
)

_MAIN = 0
"""The subgraph that an interpreter runs unless a signature names another."""

# Operators that work element by element, whatever the shape. Numbers of BuiltinOperator in schema.fbs.
_ELEMENTWISE: Final = frozenset(
    {
        *(0, 18, 41, 42, 55, 57, 78, 99),  # add, mul, sub, div, maximum, minimum, pow, squared_difference
        *(8, 47, 59, 66, 73, 75, 76, 92, 101, 104, 108, 116),  # floor, exp, neg, sin, log, sqrt, ..., round
        *(14, 19, 20, 21, 28, 98, 111, 117, 150),  # logistic, relu and its kin, tanh, elu, hard_swish, gelu
        53,  # cast
    }
)

_ENGINE_ERRORS = (ValueError, RuntimeError)
"""What LiteRT raises for whatever it does not like."""

_NO_DATA = re.compile("Tensor data is null|Invalid tensor size")
"""What it says when an output without elements is read."""

_UNKNOWN_OPERATOR = "custom op"

_SOURCE_LINE = re.compile(r"\S+\.(?:h|cc):\d+ ")
_NODE = re.compile(r"(?=Node number \d+)")


class LiteRtLoader:
    """Loads LiteRT models."""

    def __init__(self, interpreters: int = 0, threads: int = 1) -> None:
        """Makes a loader.

        Args:
            interpreters: How many runs of one version may go on at the same time, each in an interpreter of its own;
                less than 1 for one a processor. Each beyond the first is made when it is needed.
            threads: How many threads one run may use, the calling one included.
        """
        self._interpreters = interpreters
        self._threads = threads

    def load(self, path: Path) -> Servable:
        try:
            # Read, not mapped: a file that is cut short while it is mapped ends the process.
            content = (path / MODEL_FILE).read_bytes()
            model = read_model(MemoryBytes(content))
        except (OSError, WireError) as error:
            raise InvalidArgument(f"{path / MODEL_FILE} cannot be read: {error}") from error
        methods = _methods(model)
        pool = InterpreterPool(
            content, self._interpreters if self._interpreters > 0 else usable_cpus(), max(1, self._threads)
        )
        # Unknown sizes count as 1 here, which may be too small for a convolution, and is no fault of the model.
        pool.try_out(forgiving=any(_has_unknown_size(tensor) for tensor in model.subgraphs[_MAIN].inputs))
        return LiteRtServable(methods, pool)


class LiteRtServable:
    """A LiteRT model in a pool of interpreters."""

    runtime = "litert"

    def __init__(self, methods: Mapping[str, Method], pool: InterpreterPool) -> None:
        """Takes a pool over, to be closed by `unload`.

        Args:
            methods: Signature name -> what it runs.
            pool: Runs it.
        """
        self._methods = methods
        self._pool = pool
        self._signatures = MappingProxyType({name: method.signature for name, method in methods.items()})

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._signatures

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        method = self._methods[signature_name]
        for alias, tensor in method.inputs.items():
            _check(alias, tensor, inputs[alias], method.takes_any_shape)
        with self._pool.borrowed() as interpreter:
            if method.runner:
                return interpreter.run_signature(method, inputs, outputs)
            return interpreter.run_main(method, inputs, outputs)

    def unload(self) -> None:
        self._pool.close()
        give_way()
        release_memory()


class InterpreterPool:
    """Interpreters of one model, which share its bytes; each serves one run at a time.

    A run that has to wait for another does so here, unless it is called on an event loop: that must not wait, and has
    an interpreter in reserve, beyond the limit. `_changed` guards everything.
    """

    def __init__(self, content: bytes, limit: int, threads: int) -> None:
        """Makes the first interpreter.

        Args:
            content: The model file.
            limit: How many interpreters there may be.
            threads: How many threads one run may use.

        Raises:
            InvalidArgument: LiteRT refuses the model.
        """
        self._content = content
        self._threads = threads
        self._changed = threading.Condition()
        self._closed = False
        self._idle = [PooledInterpreter(content, threads)]
        self._room = limit - 1
        self._reserve: list[PooledInterpreter] = []

    def try_out(self, forgiving: bool) -> None:
        """Prepares an interpreter for inputs of the declared shapes, where unknown sizes count as 1.

        Args:
            forgiving: Whether it may fail on these shapes.

        Raises:
            InvalidArgument: It fails.
        """
        with self.borrowed() as interpreter:
            try:
                interpreter.allocate()
            except _ENGINE_ERRORS as error:
                if not forgiving or _UNKNOWN_OPERATOR in str(error):
                    raise _refused(error) from error

    @contextmanager
    def borrowed(self) -> Iterator[PooledInterpreter]:
        """An interpreter for one run; waits for one if all are busy.

        Raises:
            FailedPrecondition: The pool is closed.
        """
        home, interpreter = self._take(may_wait=not _on_event_loop())
        try:
            if interpreter is None:
                interpreter = PooledInterpreter(self._content, self._threads)
            yield interpreter
        finally:
            with self._changed:
                if interpreter is None:
                    self._room += home is self._idle
                elif not self._closed:
                    # The one that was used last is taken next: what it needs is in the caches.
                    home.append(interpreter)
                self._changed.notify()

    def close(self) -> None:
        """Lets go of everything."""
        with self._changed:
            self._closed = True
            self._idle.clear()
            self._reserve.clear()
            self._content = b""
            self._changed.notify_all()

    def _take(self, may_wait: bool) -> tuple[list[PooledInterpreter], PooledInterpreter | None]:
        """Where an interpreter goes back to, and the interpreter; None where it is to be made."""
        with self._changed:
            if may_wait:
                self._changed.wait_for(lambda: self._idle or self._room or self._closed)
            if self._closed:
                raise FailedPrecondition("The version is unloaded.")
            if self._idle:
                return self._idle, self._idle.pop()
            if self._room:
                self._room -= 1
                return self._idle, None
            return self._reserve, self._reserve.pop() if self._reserve else None


@dataclass(frozen=True, slots=True)
class Method:
    """What a signature runs.

    Attributes:
        signature: What clients see of it.
        inputs: Alias -> tensor.
        outputs: Alias -> tensor.
        subgraph: The number of the graph.
        runner: The name of the file's signature if that is not the main graph; empty otherwise.
        takes_any_shape: Whether the graph works element by element, so that declared shapes need not bind.
    """

    signature: Signature
    inputs: Mapping[str, LiteRtTensor]
    outputs: Mapping[str, LiteRtTensor]
    subgraph: int
    runner: str
    takes_any_shape: bool


class PooledInterpreter:
    """One interpreter, used by one thread at a time; remembers the shapes that its main graph is prepared for."""

    def __init__(self, content: bytes, threads: int) -> None:
        """Makes an interpreter, which is prepared for no shapes yet.

        Raises:
            InvalidArgument: LiteRT refuses the model.
        """
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
        except _ENGINE_ERRORS as error:
            raise _refused(error) from error
        self._shapes: Mapping[int, tuple[int, ...]] | None = None

    def allocate(self) -> None:
        """Prepares the main graph for the shapes that its inputs have just now; raises what the engine does."""
        self._interpreter.allocate_tensors()

    def run_main(self, method: Method, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Runs the main graph; see `Servable.run`."""
        self._prepare({tensor.index: inputs[alias].shape for alias, tensor in method.inputs.items()})
        try:
            for alias, tensor in method.inputs.items():
                self._interpreter.set_tensor(tensor.index, inputs[alias])
            self._interpreter.invoke()  # without the GIL
        except _ENGINE_ERRORS as error:
            raise _invocation_failed(error) from error
        return {alias: self._output(alias, method.outputs[alias], _MAIN) for alias in outputs}

    def run_signature(self, method: Method, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Runs the graph of a signature; see `Servable.run`."""
        # Not kept: while there is one, the main graph cannot be prepared for other shapes.
        runner = self._interpreter.get_signature_runner(method.runner)
        try:
            results = runner(**{alias: inputs[alias] for alias in method.inputs})
        except _ENGINE_ERRORS as error:
            # The graph has run, and some output is empty, at which the runner stops.
            if not _NO_DATA.search(str(error)):
                raise _invocation_failed(error) from error
            return {alias: self._output(alias, method.outputs[alias], method.subgraph) for alias in outputs}
        return {alias: results[alias] for alias in outputs}

    def _prepare(self, shapes: Mapping[int, tuple[int, ...]]) -> None:
        """Gives the main graph's inputs these shapes, unless they have them."""
        if self._shapes == shapes:
            return
        self._shapes = None
        try:
            for index, shape in shapes.items():
                self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
        except _ENGINE_ERRORS as error:
            raise InvalidArgument(f"Failed to allocate tensors: {_tidy(error)}") from error
        self._shapes = shapes

    def _output(self, alias: str, tensor: LiteRtTensor, subgraph: int) -> Array:
        try:
            array: Array = self._interpreter.get_tensor(tensor.index, subgraph)
        except _ENGINE_ERRORS as error:
            for detail in self._interpreter.get_tensor_details(subgraph):
                if detail["index"] == tensor.index and 0 in detail["shape"]:
                    return np.empty(tuple(detail["shape"]), tensor.dtype.numpy)
            raise Internal(f"Failed to convert TFLite tensor: {alias} to TF tensor: {_tidy(error)}") from error
        return array


def _methods(model: LiteRtModel) -> Mapping[str, Method]:
    """The signatures of a model: its own, those in its metadata, or else one that is made of its main graph.

    The original reads those in the metadata only.
    """
    if model.signatures:
        return {signature.name: _own_method(signature, model.subgraphs) for signature in model.signatures}
    if model.signature_metadata:
        return _metadata_methods(model)
    main = model.subgraphs[_MAIN]
    inputs = {_short(tensor.name): tensor for tensor in main.inputs}
    outputs = {_short(tensor.name): tensor for tensor in main.outputs}
    if len(inputs) < len(main.inputs) or len(outputs) < len(main.outputs):
        raise InvalidArgument(f"{MODEL_FILE} has inputs or outputs of the same name. Convert it with signatures.")
    return {DEFAULT_SIGNATURE: _method(DEFAULT_SIGNATURE, main, inputs, outputs)}


def _own_method(signature: LiteRtSignature, subgraphs: Sequence[Subgraph]) -> Method:
    if signature.subgraph >= len(subgraphs):
        raise InvalidArgument(
            f"Signature {signature.name} runs subgraph {signature.subgraph}, and {MODEL_FILE} has {len(subgraphs)}."
        )
    subgraph = subgraphs[signature.subgraph]
    by_index = {tensor.index: tensor for tensor in (*subgraph.inputs, *subgraph.outputs)}
    inputs: dict[str, LiteRtTensor] = {}
    outputs: dict[str, LiteRtTensor] = {}
    for kind, indexes, found in (("input", signature.inputs, inputs), ("output", signature.outputs, outputs)):
        for alias, index in indexes.items():
            if index not in by_index:
                raise Internal(f"Signature {kind} {alias} references an unknown tensor: Unknown tensor '{index}'.")
            found[alias] = by_index[index]
    return _method(signature.name, subgraph, inputs, outputs, number=signature.subgraph)


def _metadata_methods(model: LiteRtModel) -> Mapping[str, Method]:
    """The signatures that a model's metadata has, as SignatureDefs; they are all of its main graph."""
    main = model.subgraphs[_MAIN]
    methods = {}
    for name, serialized in _read_metadata(model.signature_metadata).items():
        try:
            declared = SignatureDef.FromString(serialized)
        except DecodeError as error:
            raise InvalidArgument(f"Invalid SignatureDefs found in TfLite model: {name}: {error}") from error
        inputs = {alias: _named(main.inputs, info.name, f"input {alias}") for alias, info in declared.inputs.items()}
        outputs = {
            alias: _named(main.outputs, info.name, f"output {alias}") for alias, info in declared.outputs.items()
        }
        methods[name] = _method(name, main, inputs, outputs, declared.method_name or PREDICT_METHOD)
    return methods


def _read_metadata(metadata: bytes) -> Mapping[str, bytes]:
    """The serialized SignatureDefs in a flexbuffer, by name."""
    try:
        entries = flexbuffers.GetRoot(metadata).AsMap
        return {key.AsKey: value.AsStringBytes for key, value in zip(entries.Keys, entries.Values, strict=True)}
    # What the reader raises where the bytes are not what it expects.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, struct.error) as error:
        raise InvalidArgument(f"Invalid SignatureDefs found in TfLite model: {error}") from error


def _named(tensors: Sequence[LiteRtTensor], name: str, what: str) -> LiteRtTensor:
    """The tensor of a name, which older converters write without its `:0`."""
    for wanted in (name, _short(name)):
        for tensor in tensors:
            if tensor.name == wanted:
                return tensor
    raise Internal(f"Signature {what} references an unknown tensor: Unknown tensor '{name}'.")


def _method(
    name: str,
    subgraph: Subgraph,
    inputs: Mapping[str, LiteRtTensor],
    outputs: Mapping[str, LiteRtTensor],
    method_name: str = PREDICT_METHOD,
    number: int = _MAIN,
) -> Method:
    left_out = {tensor.index for tensor in subgraph.inputs} - {tensor.index for tensor in inputs.values()}
    if left_out:
        names = ", ".join(tensor.name for tensor in subgraph.inputs if tensor.index in left_out)
        raise InvalidArgument(f"Signature {name} leaves inputs of its graph without a value: {names}.")
    for alias, tensor in (*inputs.items(), *outputs.items()):
        if tensor.dtype not in NUMPY_OF:
            raise Unimplemented(
                f"{alias} of signature {name} is of type {tensor.dtype.label}. Expected tensors of strings, or of"
                " numbers of a byte and more; nothing else can be sent."
            )
    signature = Signature(_specs(inputs), _specs(outputs), method_name)
    runner = name if number != _MAIN else ""
    return Method(signature, inputs, outputs, number, runner, subgraph.operators <= _ELEMENTWISE)


def _specs(tensors: Mapping[str, LiteRtTensor]) -> Mapping[str, TensorSpec]:
    return MappingProxyType(
        {alias: TensorSpec(tensor.dtype, tensor.shape, tensor.name) for alias, tensor in tensors.items()}
    )


def _short(name: str) -> str:
    """A tensor's name without its output number: `x` of `x:0`."""
    return name.partition(":")[0]


def _check(alias: str, tensor: LiteRtTensor, array: Array, takes_any_shape: bool) -> None:
    """Refuses what the interpreter must not see.

    Sizes along the first dimension are free, as in the original: models are often converted for a batch of one.
    """
    came = dtype_of_array(array)
    if came is not tensor.dtype:
        raise InvalidArgument(f"Input {alias} is {tensor.dtype.label}, and {came.label} came.")
    if array.size == 0:
        raise InvalidArgument(
            f"Input {alias} is empty: it has the shape {list(array.shape)}. Expected at least one element; some"
            " operations of LiteRT end the process when there is none."
        )
    if takes_any_shape or tensor.shape is None:
        return
    fits = len(array.shape) == len(tensor.shape) and all(
        want is None or want == got for want, got in zip(tensor.shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise InvalidArgument(
            f"Input {alias} has the wrong shape: expected {tensor.dtype.label} {shape_text(tensor.shape)}, of which the"
            f" first dimension may have any size, and {came.label} {shape_text(array.shape)} came"
        )


def _invocation_failed(error: Exception) -> InvalidArgument:
    """Names and types have been checked: what the engine refuses now is a matter of shapes and values."""
    return InvalidArgument(f"Failed to invoke TfLite interpreter: {_tidy(error)}")


def _tidy(error: Exception) -> str:
    """The engine's words on one line, without the lines of its source."""
    return " ".join(_NODE.sub(" ", _SOURCE_LINE.sub("", str(error))).split())


def _refused(error: Exception) -> InvalidArgument:
    advice = ""
    if _UNKNOWN_OPERATOR in str(error):
        advice = " Convert the model with LiteRT's own operators (TFLITE_BUILTINS) only, or serve it as a SavedModel."
    return InvalidArgument(f"LiteRT refuses {MODEL_FILE}: {_tidy(error)}{advice}")


def _has_unknown_size(tensor: LiteRtTensor) -> bool:
    """Whether a size is unknown beside that of the batch."""
    return tensor.shape is None or None in tensor.shape[1:]


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
