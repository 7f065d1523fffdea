"""The engine ONNX Runtime, for signatures that have been converted to ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from hotserve.background import give_way_behind
from hotserve.errors import InvalidArgument
from hotserve.platforms.engines.converted import input_name, output_name
from hotserve.platforms.engines.engine import ONNXRUNTIME, Runner
from hotserve.platforms.memory import in_huge_pages
from hotserve.platforms.onnx import DTYPES, error_of, run_and_shrink, session_options
from hotserve.tensors import Array, DType, Signature

_UNSUPPORTED = frozenset({DType.STRING, DType.BFLOAT16})
"""ONNX Runtime has its own ways with these: strings have to be UTF-8, and numpy has no bfloat16."""


class OnnxRuntimeEngine:
    """Compiles signatures with ONNX Runtime; see `Engine`."""

    name = ONNXRUNTIME
    version: str = onnxruntime.__version__

    def compile(self, base: Path, signature: Signature, threads: int) -> Runner:
        file = base.with_suffix(".onnx")
        if not file.exists():
            raise InvalidArgument(f"{file.name} is not there")
        size = file.stat().st_size
        options = session_options(size, threads)
        give_way_behind(options.intra_op_num_threads - 1)
        try:
            with in_huge_pages(size):
                session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            session.disable_fallback()
        # ONNX Runtime's exceptions have no common base.
        except Exception as error:
            raise error_of(error, "ONNX Runtime refuses it: ") from error
        return OnnxRunner(session, signature)

    def settle(self, runner: Runner, inputs: Mapping[str, Array]) -> None:
        if isinstance(runner, OnnxRunner):
            runner.settle(inputs)

    def keep(self, runner: Runner, base: Path) -> None:
        """Nothing: a session is ready in milliseconds."""

    def restore(self, base: Path, signature: Signature, threads: int) -> Runner:
        return self.compile(base, signature, threads)

    def files(self, base: Path) -> Sequence[Path]:
        return [base.with_suffix(".onnx")]


class OnnxRunner:
    """One signature in a session."""

    def __init__(self, session: onnxruntime.InferenceSession, signature: Signature) -> None:
        """Takes a session over.

        Raises:
            InvalidArgument: Its inputs and outputs are not those of the signature.
        """
        # The wrapper of `run` takes as long as a small model: see `OnnxServable`.
        inner = getattr(session, "_sess", None)
        self._run_session: Callable[..., Any] = session.run if inner is None else inner.run
        self._inputs = {f"{input_name(place)}:0": alias for place, alias in enumerate(sorted(signature.inputs))}
        self._outputs = {alias: f"{output_name(place)}:0" for place, alias in enumerate(sorted(signature.outputs))}
        # What a graph does not use may be missing among its inputs.
        found = {argument.name: DTYPES.get(argument.type) for argument in session.get_inputs()}
        self._fed = [(name, alias) for name, alias in self._inputs.items() if name in found]
        self._only = self._fed[0] if len(self._fed) == 1 else None
        for name, alias in self._fed:
            _check(f"input {alias}", found.pop(name), signature.inputs[alias].dtype)
        given = {argument.name: DTYPES.get(argument.type) for argument in session.get_outputs()}
        for alias, name in self._outputs.items():
            _check(f"output {alias}", given.get(name), signature.outputs[alias].dtype)
        if found:
            raise InvalidArgument(f"the converted graph has inputs that the signature has not: {sorted(found)}")

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        names = self._outputs
        try:
            if self._only is not None and len(outputs) == 1:
                # Most signatures are so, and a small one runs hardly longer than it takes to put these together.
                name, alias = self._only
                output = outputs[0]
                return {output: self._run_session([names[output]], {name: inputs[alias]}, None)[0]}
            results = self._run_session(
                [names[alias] for alias in outputs], {name: inputs[alias] for name, alias in self._fed}, None
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise error_of(error) from error
        return dict(zip(outputs, results, strict=True))

    def settle(self, inputs: Mapping[str, Array]) -> None:
        """Gives back the memory of the largest runs so far.

        Args:
            inputs: What it is run with for that.
        """
        run_and_shrink(
            self._run_session, list(self._outputs.values()), {name: inputs[alias] for name, alias in self._fed}
        )


def _check(what: str, found: DType | None, wanted: DType) -> None:
    if found is not wanted or wanted in _UNSUPPORTED:
        name = found.label if found is not None else "not there, or no tensor"
        raise InvalidArgument(f"{what} is {name}, expected {wanted.label}, of a type that ONNX Runtime can be given")
