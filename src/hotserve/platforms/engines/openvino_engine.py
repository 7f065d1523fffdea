"""The engine OpenVINO, on the processor.

Numbers are 32 bits wide throughout: by default OpenVINO computes in bfloat16 where the processor can, and answers
would differ in the third digit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from openvino.frontend import FrontEndManager

from hotserve.errors import InvalidArgument
from hotserve.platforms.engines.converted import input_name, output_name
from hotserve.platforms.engines.engine import OPENVINO, Runner
from hotserve.platforms.onnx import threads_for
from hotserve.processors import usable_cpus
from hotserve.tensors import Array, DType, Signature

_DTYPES: Final[Mapping[str, DType]] = {
    "f32": DType.FLOAT,
    "f64": DType.DOUBLE,
    "f16": DType.HALF,
    "i8": DType.INT8,
    "i16": DType.INT16,
    "i32": DType.INT32,
    "i64": DType.INT64,
    "u8": DType.UINT8,
    "u16": DType.UINT16,
    "u32": DType.UINT32,
    "u64": DType.UINT64,
    "boolean": DType.BOOL,
}
"""OpenVINO's name of a type -> the type, of those that it takes and gives by way of numpy."""

_COMPILED = ".ov"


class OpenVinoEngine:
    """Compiles signatures with OpenVINO; see `Engine`."""

    name = OPENVINO

    def __init__(self) -> None:
        self._core = openvino.Core()
        self.version: str = openvino.get_version()

    def compile(self, base: Path, signature: Signature, threads: int) -> Runner:
        file = base.with_suffix(".pb")
        if not file.exists():
            raise InvalidArgument(f"{file.name} is not there")
        try:
            model = self._core.read_model(str(file))
            compiled = self._core.compile_model(model, "CPU", _options(threads, file.stat().st_size))
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidArgument(f"OpenVINO refuses it: {short_reason(error)}") from error
        inputs = [input_name(place) for place in range(len(signature.inputs))]
        outputs = [output_name(place) for place in range(len(signature.outputs))]
        return OpenVinoRunner(compiled, signature, inputs, outputs)

    def compile_folder(self, path: Path, signature: Signature, threads: int) -> Runner:
        """See `ReadsSavedModels`. OpenVINO names inputs and outputs by the aliases of the default signature."""
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        inputs, outputs = sorted(signature.inputs), sorted(signature.outputs)
        try:
            frontend = FrontEndManager().load_by_framework("tf")
            graph = frontend.load(str(path))
            # Without this, inputs of other signatures stay in the graph.
            graph.extract_subgraph(
                [graph.get_place_by_tensor_name(signature.inputs[alias].tensor_name) for alias in inputs],
                [graph.get_place_by_tensor_name(signature.outputs[alias].tensor_name) for alias in outputs],
            )
            compiled = self._core.compile_model(frontend.convert(graph), "CPU", _options(threads, size))
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidArgument(f"OpenVINO refuses it: {short_reason(error)}") from error
        return OpenVinoRunner(compiled, signature, inputs, outputs)

    def settle(self, runner: Runner, inputs: Mapping[str, Array]) -> None:
        """Nothing: OpenVINO has no call for it."""

    def keep(self, runner: Runner, base: Path) -> None:
        if isinstance(runner, OpenVinoRunner):
            base.with_suffix(_COMPILED).write_bytes(runner.export())

    def restore(self, base: Path, signature: Signature, threads: int) -> Runner:
        file = base.with_suffix(_COMPILED)
        try:
            data = file.read_bytes()
            compiled = self._core.import_model(data, "CPU", _options(threads, len(data)))
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise InvalidArgument(f"OpenVINO cannot read {file.name}: {short_reason(error)}") from error
        inputs = [input_name(place) for place in range(len(signature.inputs))]
        outputs = [output_name(place) for place in range(len(signature.outputs))]
        return OpenVinoRunner(compiled, signature, inputs, outputs)

    def files(self, base: Path) -> Sequence[Path]:
        return [base.with_suffix(_COMPILED)]


class OpenVinoRunner:
    """One signature, compiled; runs that go on at the same time have a request each."""

    def __init__(
        self, compiled: openvino.CompiledModel, signature: Signature, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        """Takes a compiled model over.

        Args:
            compiled: The model.
            signature: What it is to take and give.
            inputs: The names of its inputs, in the order of the sorted aliases.
            outputs: The names of its outputs, likewise.

        Raises:
            InvalidArgument: Its inputs and outputs are not those of the signature.
        """
        self._compiled = compiled
        self._idle: deque[Any] = deque()
        places = _places(compiled.inputs)
        # What a graph does not use may be missing among its inputs.
        self._fed = [
            (places.pop(name), alias)
            for name, alias in zip(inputs, sorted(signature.inputs), strict=True)
            if name in places
        ]
        for place, alias in self._fed:
            _check(f"input {alias}", compiled.inputs[place], signature.inputs[alias].dtype)
        if len(self._fed) != len(compiled.inputs):
            raise InvalidArgument(f"the compiled graph has {len(compiled.inputs)} inputs, expected {len(self._fed)}")
        given = _places(compiled.outputs)
        self._outputs = {}
        for name, alias in zip(outputs, sorted(signature.outputs), strict=True):
            if name not in given:
                raise InvalidArgument(f"the compiled graph has no output {alias}")
            _check(f"output {alias}", compiled.outputs[given[name]], signature.outputs[alias].dtype)
            self._outputs[alias] = given[name]

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            tensors = []
            for place, alias in self._fed:
                value = inputs[alias]
                if not (value.flags.c_contiguous and value.flags.writeable):
                    value = np.array(value, order="C")
                tensors.append(value)
                request.set_input_tensor(place, openvino.Tensor(value, shared_memory=True))
            request.infer()
            # The request keeps its outputs, and writes the next ones over them.
            found = {alias: np.array(request.get_output_tensor(self._outputs[alias]).data) for alias in outputs}
        except (RuntimeError, ValueError, TypeError) as error:
            # This request may be in any state: it is not used again.
            raise InvalidArgument(f"OpenVINO refuses the inputs: {short_reason(error)}") from error
        self._idle.append(request)
        return found

    def export(self) -> bytes:
        """The compiled model, for `import_model` on a processor of the same kind."""
        data: bytes = self._compiled.export_model().getvalue()
        return data


def _options(threads: int, model_bytes: int) -> dict[str, Any]:
    """How a model is compiled: small ones run side by side on one thread each, large ones one after the other on all.

    Args:
        threads: How many threads one run may use; 0 chooses.
        model_bytes: The size of the model.
    """
    threads = threads or threads_for(model_bytes)
    streams = max(1, usable_cpus() // threads)
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams * threads,
        # Threads that are bound to processors would be in the way of the server's own.
        "ENABLE_CPU_PINNING": False,
    }


def _places(ports: Sequence[Any]) -> dict[str, int]:
    """Name -> the place of the port that has it, with and without the index of a TensorFlow output."""
    return {name.removesuffix(":0"): place for place, port in enumerate(ports) for name in port.get_names()}


def _check(what: str, port: Any, wanted: DType) -> None:
    name = port.get_element_type().get_type_name()
    if _DTYPES.get(name) is not wanted:
        raise InvalidArgument(f"{what} is {name}, expected {wanted.label}, of a type that OpenVINO can be given")


def short_reason(error: BaseException) -> str:
    """The lines of OpenVINO's error that say something, without the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(told or lines)[:300]
