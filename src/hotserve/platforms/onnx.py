"""The platform onnx: ONNX models, run by ONNX Runtime."""

from __future__ import annotations

import ctypes
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

# ONNX Runtime 1.29 and later report to their maker over the network, from the import on, unless this is set before it.
# A server of other people's models does not; whoever wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from hotserve.background import give_way, give_way_behind
from hotserve.core.servable import Servable
from hotserve.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServingError,
    Unimplemented,
)
from hotserve.platforms.memory import in_huge_pages, release_memory
from hotserve.platforms.onnx_files import (
    PREFERRED_FILE,
    describe_files,
    model_files,
    read_external_data,
    read_names_without_shape,
)
from hotserve.platforms.warmup import made_up_inputs
from hotserve.platforms.wire_format import WireError
from hotserve.processors import usable_cpus
from hotserve.tensors import DEFAULT_SIGNATURE, Array, DType, Shape, Signature, TensorSpec

logger = logging.getLogger(__name__)

DTYPES: Final[Mapping[str, DType]] = MappingProxyType(
    {
        "tensor(float)": DType.FLOAT,
        "tensor(double)": DType.DOUBLE,
        "tensor(float16)": DType.HALF,
        "tensor(bfloat16)": DType.BFLOAT16,
        "tensor(float8e4m3fn)": DType.FLOAT8_E4M3FN,
        "tensor(float8e4m3fnuz)": DType.FLOAT8_E4M3FNUZ,
        "tensor(float8e5m2)": DType.FLOAT8_E5M2,
        "tensor(float8e5m2fnuz)": DType.FLOAT8_E5M2FNUZ,
        "tensor(int8)": DType.INT8,
        "tensor(int16)": DType.INT16,
        "tensor(int32)": DType.INT32,
        "tensor(int64)": DType.INT64,
        "tensor(uint8)": DType.UINT8,
        "tensor(uint16)": DType.UINT16,
        "tensor(uint32)": DType.UINT32,
        "tensor(uint64)": DType.UINT64,
        "tensor(bool)": DType.BOOL,
        "tensor(string)": DType.STRING,
    }
)

# Types that ONNX Runtime takes and gives only as the bits of another: their numbers in onnx.proto, and bits.
_AS_BITS: Final[Mapping[DType, tuple[int, np.dtype[Any]]]] = MappingProxyType(
    {
        DType.BFLOAT16: (16, np.dtype(np.uint16)),
        DType.FLOAT8_E4M3FN: (17, np.dtype(np.uint8)),
        DType.FLOAT8_E4M3FNUZ: (18, np.dtype(np.uint8)),
        DType.FLOAT8_E5M2: (19, np.dtype(np.uint8)),
        DType.FLOAT8_E5M2FNUZ: (20, np.dtype(np.uint8)),
    }
)

# onnxruntime_c_api.h, OrtErrorCode; what is not here is an InvalidArgument.
_ERRORS: Final[Mapping[int, type[ServingError]]] = MappingProxyType(
    {
        3: NotFound,
        4: FailedPrecondition,
        5: Internal,
        8: Internal,
        9: Unimplemented,
        11: Internal,
        12: FailedPrecondition,
    }
)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : (\d+) : \w+ : ")
_NODE = re.compile(r"^Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ")
_SOURCE_LINE = re.compile(r"\S+\.(?:h|cc|cpp|cu):\d+ ")
_FATAL_ONLY = 4
_SMALL_MODEL_BYTES = 8 << 20


class OnnxLoader:
    """Loads ONNX models."""

    def __init__(
        self,
        intra_op_threads: int = 0,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        allow_empty_inputs: bool = False,
        inter_op_threads: int = 0,
    ) -> None:
        """Makes a loader.

        Args:
            intra_op_threads: How many threads one run may use, the calling one included; 0 for one if the model is
                small and for one a processor if it is large. They never spin while they wait.
            providers: ONNX Runtime's execution providers, the preferred ones first.
            allow_empty_inputs: Whether arrays without elements are run. Some operations end the process on an empty
                batch (LSTM and GRU do), so that they are refused unless a model is known to be sound.
            inter_op_threads: How many operations may run at the same time in one run; up to 1, they run one after the
                other.
        """
        self._inter_op_threads = max(1, inter_op_threads)
        self._intra_op_threads = intra_op_threads
        self._providers = list(providers)
        self._allow_empty_inputs = allow_empty_inputs

    def load(self, path: Path) -> Servable:
        file = _model_file(path)
        try:
            external_data = read_external_data(file)
            for data in external_data:
                if not data.is_inside:
                    raise InvalidArgument(
                        f"{file.name} wants the file {data.location!r}, which is outside the version's folder. Expected"
                        " files of the folder only. Save the model with its data beside it."
                    )
            names_without_shape = read_names_without_shape(file)
            size = file.stat().st_size + sum(data.needed_bytes for data in external_data)
            options = session_options(size, self._intra_op_threads, self._inter_op_threads)
            # A session has its threads before it reads the model; all that follows should give way to requests.
            give_way_behind(options.intra_op_num_threads - 1 + options.inter_op_num_threads - 1)
            with in_huge_pages(size):
                session = onnxruntime.InferenceSession(
                    str(file), options, providers=self._providers, disabled_optimizers=_NoneButGiveWay()
                )
            # Without this, a provider that fails once is replaced by the CPU, with a line on stdout.
            session.disable_fallback()
        except (OSError, WireError) as error:
            raise InvalidArgument(f"{file} cannot be read: {error}") from error
        except ServingError:
            raise
        # ONNX Runtime's exceptions have no common base.
        except Exception as error:
            raise error_of(error, f"ONNX Runtime refuses {file.name}: ") from error
        return OnnxServable(session, names_without_shape, self._allow_empty_inputs)


class _NoneButGiveWay(Iterable[str]):
    """The optimisations to be left out of a session: none.

    ONNX Runtime looks at them when the session has its threads, and before it prepares the model: whatever
    `give_way_behind` has seen by then.
    """

    def __iter__(self) -> Iterator[str]:
        give_way()
        return iter(())


class OnnxServable:
    """An ONNX model in a session; one signature, from the graph's inputs and outputs."""

    runtime = "onnxruntime"

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        names_without_shape: frozenset[str],
        allow_empty_inputs: bool = False,
    ) -> None:
        """Takes a session over.

        Args:
            session: The session.
            names_without_shape: The inputs and outputs for which the model declares no shape; ONNX Runtime shows them
                as scalars.
            allow_empty_inputs: See `OnnxLoader`.

        Raises:
            Unimplemented: An input is no tensor, or none of the outputs is one.
        """
        self._session: onnxruntime.InferenceSession | None = session
        # `InferenceSession.run` is a wrapper that takes as long as a small model: it looks whether all inputs are
        # there, whether one is an OrtValue, and what to do when a provider fails. Here the first is known, the second
        # cannot be, and the third is switched off.
        inner = getattr(session, "_sess", None)
        self._run_session: Callable[..., Any] | None = session.run if inner is None else inner.run
        self._allow_empty_inputs = allow_empty_inputs
        self._inputs = _input_specs(session, names_without_shape)
        self._outputs = _output_specs(session, names_without_shape)
        self._feeds = tuple((name, spec.dtype is DType.STRING) for name, spec in self._inputs.items())
        self._texts = frozenset(name for name, spec in self._outputs.items() if spec.dtype is DType.STRING)
        specs = (*self._inputs.values(), *self._outputs.values())
        self._as_bits = any(spec.dtype in _AS_BITS for spec in specs)
        self._signatures = MappingProxyType(
            {DEFAULT_SIGNATURE: Signature(self._inputs, self._outputs, enforces_shapes=True)}
        )

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._signatures

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        session, run_session = self._session, self._run_session
        if session is None or run_session is None:
            raise FailedPrecondition("The version is unloaded.")
        feed = {}
        for name, is_text in self._feeds:
            value = inputs[name]
            feed[name] = self._fed(name, value, is_text=is_text) if is_text or not value.size else value
        names = list(outputs)
        try:
            results = self._run_as_bits(session, feed, names) if self._as_bits else run_session(names, feed, None)
        except UnicodeDecodeError as error:
            raise Internal(
                f"The model answers with a string that is not UTF-8, which ONNX Runtime cannot hand over: {error}."
            ) from error
        # ONNX Runtime's exceptions have no common base.
        except Exception as error:
            raise error_of(error) from error
        answer = dict(zip(names, results, strict=True))
        for name in self._texts.intersection(answer):
            answer[name] = _encoded(answer[name])
        return answer

    def settle(self) -> None:
        """Gives back the memory of the largest runs so far; see `core.servable.settle`."""
        inputs = made_up_inputs(self._signatures[DEFAULT_SIGNATURE])
        if inputs is None or self._run_session is None or self._as_bits:
            return
        feed = {name: _decoded(name, inputs[name]) if is_text else inputs[name] for name, is_text in self._feeds}
        if all(value.size for value in feed.values()):
            run_and_shrink(self._run_session, list(self._outputs), feed)

    def unload(self) -> None:
        # Without giving way: the session is taken apart under the GIL, and whoever holds that must not wait.
        self._session = self._run_session = None
        give_way()
        release_memory()

    def _fed(self, name: str, value: Array, *, is_text: bool) -> Array:
        if value.size == 0 and not self._allow_empty_inputs:
            raise InvalidArgument(
                f"Input {name} is empty: it has the shape {list(value.shape)}. Expected at least one element; some"
                " operations of ONNX Runtime end the process when there is none."
            )
        return _decoded(name, value) if is_text else value

    def _run_as_bits(
        self, session: onnxruntime.InferenceSession, feed: Mapping[str, Array], names: list[str]
    ) -> list[Array]:
        """Runs with values that are wrapped, each in its own way: numpy has no type for some of them."""
        wrapped = {}
        for name, value in feed.items():
            number, bits = _AS_BITS.get(self._inputs[name].dtype, (0, None))
            if bits is None:
                wrapped[name] = onnxruntime.OrtValue.ortvalue_from_numpy(value)
            else:
                plain = np.ascontiguousarray(value).reshape(value.shape).view(bits)
                wrapped[name] = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(plain, number)
        results = session.run_with_ort_values(names, wrapped)
        return [
            _unwrapped(result, self._outputs[name].dtype) if self._outputs[name].dtype in _AS_BITS else result.numpy()
            for name, result in zip(names, results, strict=True)
        ]


def session_options(model_bytes: int, intra_op_threads: int = 0, inter_op_threads: int = 1) -> Any:
    """How a session runs.

    Args:
        model_bytes: The size of the model.
        intra_op_threads: How many threads one run may use, the calling one included; 0 chooses by the size.
        inter_op_threads: How many operations may run at the same time in one run.

    Returns:
        ONNX Runtime's `SessionOptions`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads or threads_for(model_bytes)
    options.inter_op_num_threads = inter_op_threads
    if inter_op_threads > 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    # Threads that spin between runs take the cores from the server's own threads, and from other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # What goes wrong is raised; written to stderr as well, it would be a line for every bad request.
    options.log_severity_level = _FATAL_ONLY
    return options


def run_and_shrink(run_session: Callable[..., Any], names: Sequence[str], feed: Mapping[str, Array]) -> None:
    """Runs a session once, and has it give its memory back at the end of that, but for what belongs to the model.

    A session keeps what its largest run has taken, and a warm-up has larger ones than most clients: 23 of 105 MB, for a
    CNN of 0.5 MB and 64 rows. What it needs after that it takes again when it needs it, for less than can be measured.

    Args:
        run_session: The session's `run`.
        names: The outputs.
        feed: Inputs, small ones; nothing happens where the session refuses them.
    """
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    try:
        run_session(names, feed, options)
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's exceptions have no common base
        logger.debug("A session keeps the memory of its warm-up: %s", error)
    release_memory()


def threads_for(model_bytes: int) -> int:
    """One thread for a small model, whose runs go side by side; all of them for a large one.

    Measured on two processors that do not spin, with one thread and with two. A CNN of 0.5 MB: one picture 107 and
    115 us, of processor time 106 and 190; 32 pictures 3.3 and 2.0 ms, of processor time 3.2 and 4.0. A CNN of 110 MB:
    one picture 40 and 22 ms, of processor time 40 and 46.
    """
    if model_bytes < _SMALL_MODEL_BYTES:
        return 1
    return usable_cpus()


def _model_file(path: Path) -> Path:
    files = model_files(path)
    if len(files) != 1:
        found = describe_files(files) if files else "none"
        raise InvalidArgument(f"{path} should hold {PREFERRED_FILE} or exactly one other *.onnx file; found {found}.")
    return files[0]


def _input_specs(
    session: onnxruntime.InferenceSession, names_without_shape: frozenset[str]
) -> Mapping[str, TensorSpec]:
    specs = {}
    # Initializers that are inputs as well have a value, and are not among these.
    for argument in session.get_inputs():
        if argument.type not in DTYPES:
            raise Unimplemented(
                f"Input {argument.name} is of type {argument.type}. Expected tensors; sequences, maps and numbers below"
                " a byte cannot be sent."
            )
        specs[argument.name] = _spec(argument, names_without_shape)
    return MappingProxyType(specs)


def _output_specs(
    session: onnxruntime.InferenceSession, names_without_shape: frozenset[str]
) -> Mapping[str, TensorSpec]:
    """The outputs that are tensors; those that are not stay out of the signature, so that the others can be served."""
    specs = {}
    left_out = []
    for argument in session.get_outputs():
        if argument.type in DTYPES:
            specs[argument.name] = _spec(argument, names_without_shape)
        else:
            left_out.append(f"{argument.name} ({argument.type})")
    if left_out:
        advice = "A classifier of scikit-learn gives plain tensors when it is converted with the option zipmap=False."
        if not specs:
            raise Unimplemented(
                f"No output of the model is a tensor of a type that can be sent: {', '.join(left_out)}. {advice}"
            )
        logger.warning("Outputs that are no tensors are not served: %s. %s", ", ".join(left_out), advice)
    return MappingProxyType(specs)


def _spec(argument: Any, names_without_shape: frozenset[str]) -> TensorSpec:
    shape: Shape | None = tuple(size if isinstance(size, int) and size >= 0 else None for size in argument.shape)
    if not shape and argument.name in names_without_shape:
        shape = None
    return TensorSpec(DTYPES[argument.type], shape, argument.name)


def _decoded(name: str, value: Array) -> Array:
    """Strings as ONNX Runtime takes them: `str`. It would read beyond the end of `bytes` arrays."""
    decoded = np.empty(value.shape, dtype=object)
    flat = decoded.reshape(-1)
    for position, text in enumerate(value.reshape(-1).tolist()):
        if isinstance(text, str):
            flat[position] = text
            continue
        try:
            flat[position] = text.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"Element {position} of input {name} is not UTF-8 ({error.reason} at byte {error.start}). Expected"
                " text: ONNX models take no other strings."
            ) from error
    return decoded


def _encoded(value: Array) -> Array:
    encoded = np.empty(value.shape, dtype=object)
    flat = encoded.reshape(-1)
    for position, text in enumerate(value.reshape(-1).tolist()):
        flat[position] = text.encode()
    return encoded


def _unwrapped(value: onnxruntime.OrtValue, dtype: DType) -> Array:
    """A copy of a tensor that ONNX Runtime cannot make an array of."""
    shape = value.shape()
    size = int(np.prod(shape)) * dtype.numpy.itemsize
    return np.frombuffer(ctypes.string_at(value.data_ptr(), size), dtype.numpy).reshape(shape)


def error_of(error: Exception, before: str = "") -> ServingError:
    """ONNX Runtime's error in our terms.

    Names and types are checked before a run: what the engine refuses then is a matter of values and shapes, under
    whichever code it reports.
    """
    text = str(error)
    prefix = _PREFIX.match(text)
    kind = _ERRORS.get(int(prefix.group(1)), InvalidArgument) if prefix else InvalidArgument
    if prefix:
        text = text[prefix.end() :]
    node = _NODE.match(text)
    if node:
        named = f" {node.group(2)}" if node.group(2) else ""
        text = f"The model's {node.group(1)} node{named} fails: {text[node.end() :]}"
    if "Failed to allocate memory" in text:
        kind = ResourceExhausted
    return kind(f"{before}{_SOURCE_LINE.sub('', text).strip()}")
