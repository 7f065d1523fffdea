"""What `hotserve inspect` has found out about a model: values, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hotserve.tensors import Signature, TensorSpec

_CONTINUED: Final = "\n" + " " * 12
"""Puts the further lines of a text below its first."""


@dataclass(frozen=True, slots=True)
class InspectedSignature:
    """One signature.

    Attributes:
        signature: What it takes and gives.
        batching: Whether requests can share runs, in words.
        engine: What runs it, and why, in words; empty where that is not known.
        timings: Engine -> rows -> seconds of a run; none where none is known.
        largest_difference: Engine -> the largest difference of its answers from TensorFlow's.
    """

    signature: Signature
    batching: str
    engine: str = ""
    timings: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    largest_difference: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InspectedVersion:
    """One version.

    Attributes:
        number: Its number; None for a folder whose name is none.
        state: `complete`, or what it waits for; the state that a server names.
        signatures: By name; none where they cannot be told.
        problem: Why they cannot, in words; empty where they can.
        path: Its folder; empty for one of a server.
        platform: What would load it; empty where that is not known.
        size_bytes: Of all its files; None where that is not known.
        warm_up: What is known of its warm-up file, in words.
    """

    number: int | None
    state: str
    signatures: Mapping[str, InspectedSignature] = field(default_factory=dict)
    problem: str = ""
    path: str = ""
    platform: str = ""
    size_bytes: int | None = None
    warm_up: str = ""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A model.

    Attributes:
        subject: The folder, or the model and its server.
        versions: The newest first.
        warnings: What a server would warn of.
    """

    subject: str
    versions: Sequence[InspectedVersion]
    warnings: Sequence[str] = ()


def batching_of(signature: Signature) -> str:
    """Whether requests of a signature can share runs, by what it declares.

    That the rows of a batch do not depend on each other is tried when a version loads; here it is not known.
    """
    if not signature.inputs:
        return "no: it has no inputs"
    if not signature.outputs:
        return "no: it has no outputs"
    tensors = {**signature.inputs, **signature.outputs}
    fixed = [alias for alias, spec in tensors.items() if not _is_first_free(spec)]
    if fixed:
        return f"no: the first dimension of {', '.join(fixed)} is not free"
    return "yes, where its rows turn out to be independent at the load"


def lines(inspected: Inspected) -> Iterator[str]:
    """The report, for reading."""
    yield inspected.subject
    for warning in inspected.warnings:
        yield f"  warning: {warning}"
    if not inspected.versions:
        yield "  no version"
    for version in inspected.versions:
        yield ""
        yield f"version {version.number}" if version.number is not None else "the folder itself"
        yield from (f"  {name:<10}{text.replace(chr(10), _CONTINUED)}" for name, text in _facts(version))
        for name, found in sorted(version.signatures.items()):
            yield f"  signature {name}, {found.signature.method_name or 'no method'}"
            yield from _tensors("input", found.signature.inputs)
            yield from _tensors("output", found.signature.outputs)
            yield f"    batching  {found.batching}"
            if found.engine:
                yield f"    engine    {found.engine}"
            for engine, seconds in found.timings.items():
                runs = ", ".join(f"{rows} rows {1e3 * one:.3g} ms" for rows, one in sorted(seconds.items()))
                apart = found.largest_difference.get(engine)
                yield f"      {engine}: {runs}" + ("" if apart is None else f"; largest difference {apart:.2g}")


def document(inspected: Inspected) -> dict[str, Any]:
    """The report, for programs."""
    return {
        "subject": inspected.subject,
        "warnings": list(inspected.warnings),
        "versions": [_version_document(version) for version in inspected.versions],
    }


def _version_document(version: InspectedVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "state": version.state,
        "problem": version.problem,
        "path": version.path,
        "platform": version.platform,
        "size_bytes": version.size_bytes,
        "warm_up": version.warm_up,
        "signatures": {
            name: {
                "method_name": found.signature.method_name,
                "inputs": {alias: _spec(spec) for alias, spec in found.signature.inputs.items()},
                "outputs": {alias: _spec(spec) for alias, spec in found.signature.outputs.items()},
                "batching": found.batching,
                "engine": found.engine,
                "seconds": {
                    engine: {str(rows): one for rows, one in seconds.items()}
                    for engine, seconds in found.timings.items()
                },
                "largest_difference": dict(found.largest_difference),
            }
            for name, found in version.signatures.items()
        },
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"dtype": spec.dtype.label, "shape": None if spec.shape is None else list(spec.shape)}


def _facts(version: InspectedVersion) -> Iterator[tuple[str, str]]:
    yield "state", version.state
    if version.path:
        yield "folder", version.path
    if version.platform:
        yield "platform", version.platform
    if version.size_bytes is not None:
        yield "size", f"{version.size_bytes / 1e6:.2f} MB"
    if version.warm_up:
        yield "warm-up", version.warm_up
    if version.problem:
        yield "problem", version.problem


def _tensors(kind: str, specs: Mapping[str, TensorSpec]) -> Iterator[str]:
    for alias, spec in sorted(specs.items()):
        yield f"    {kind:<10}{alias}: {spec}"


def _is_first_free(spec: TensorSpec) -> bool:
    return spec.shape is not None and len(spec.shape) > 0 and spec.shape[0] is None
