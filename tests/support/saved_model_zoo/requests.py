"""What a model of the zoo is asked: ordinary rows, and what lies at the edges."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ml_dtypes
import numpy as np

BATCH_SIZES = (1, 2, 3, 8, 32)

FILE = "requests.pickle"
"""Beside the versions of an exported model."""

ANOTHER_RANK = "in another number of dimensions"
"""What the names of those requests end with that change the rank of all inputs."""

_WORDS = (b"red", b"green", b"blue", b"", b"Red and GREEN", "grün".encode(), b"12.5", b"-3", b"a,b,,c")


@dataclass(frozen=True, slots=True)
class Request:
    """One run.

    Attributes:
        what: What is special about it.
        signature: The signature that is asked.
        inputs: Alias -> array; strings are arrays of objects, of bytes.
    """

    what: str
    signature: str
    inputs: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Input:
    """An input, and the values that make sense for it.

    Attributes:
        shape: Its sizes; None is unknown in the model, and the number of rows in requests.
        dtype: The name of its type: numpy's, `bfloat16` or `string`.
        low: The least integer that makes sense, or float, where not all do.
        high: One more than the largest.
        declared: The shape that the model declares, where it is another one.
        rankless: Whether the model declares no rank.
        words: What strings are taken from.
        edges: Whether values that make no sense, or hardly any, are tried too.
    """

    shape: tuple[int | None, ...] = (None, 6)
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    declared: tuple[int | None, ...] | None = None
    rankless: bool = False
    words: Sequence[bytes] = _WORDS
    edges: bool = True

    @property
    def numpy_dtype(self) -> np.dtype:
        if self.dtype == "string":
            return np.dtype(object)
        return np.dtype(ml_dtypes.bfloat16 if self.dtype == "bfloat16" else self.dtype)

    @property
    def is_float(self) -> bool:
        return self.dtype in {"bfloat16", "float16", "float32", "float64"}

    @property
    def is_integer(self) -> bool:
        return self.dtype.startswith(("int", "uint"))

    def sized(self, rows: int) -> tuple[int, ...]:
        """The shape with a number of rows in place of what is unknown."""
        return tuple(rows if size is None else size for size in self.shape)


def requests_for(inputs: Mapping[str, Input], signature: str = "serving_default", seed: int = 0) -> list[Request]:
    """Requests of several batch sizes, then those at the edges of what the types can hold and the model can take.

    Args:
        inputs: Alias -> what it takes.
        signature: The signature that is asked.
        seed: Of the values.
    """
    rng = np.random.default_rng(seed)
    sizes = BATCH_SIZES if any(None in given.shape for given in inputs.values()) else (1, 1)
    made = [
        Request(f"{rows} rows", signature, {alias: _ordinary(given, rows, rng) for alias, given in inputs.items()})
        for rows in sizes
    ]
    ordinary = made[-2].inputs  # 8 rows
    rows = sizes[-2]
    for alias, given in inputs.items():
        if not given.edges:
            continue
        for what, value in _edges(given, rows, rng):
            made.append(Request(f"{alias}: {what}", signature, {**ordinary, alias: value}))
        if None in given.shape[:1] and len(inputs) > 1:
            for other in (1, rows + 1):
                value = _ordinary(given, other, rng)
                made.append(Request(f"{alias}: {other} rows, not {rows}", signature, {**ordinary, alias: value}))
    for size in (1, 2, 4, 23) if any(_is_varied(given) for given in inputs.values()) else ():
        varied = {alias: _ordinary(_resized(given, size), rows, rng) for alias, given in inputs.items()}
        made.append(Request(f"{size} along unknown dimensions", signature, varied))
    for what, shaped in _ranks(ordinary, inputs):
        made.append(Request(f"{what}, {ANOTHER_RANK}", signature, shaped))
    if len(sizes) > 2:
        empty = {alias: _ordinary(given, 0, rng) for alias, given in inputs.items()}
        made.append(Request("no rows", signature, empty))
    return made


def _ranks(
    ordinary: Mapping[str, np.ndarray], inputs: Mapping[str, Input]
) -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
    """All inputs with another number of dimensions than declared, together: clients send a row without its batch."""
    if all(given.edges and array.ndim for given, array in ((inputs[alias], ordinary[alias]) for alias in inputs)):
        yield "one row, not in a batch", {alias: array[0, ...] for alias, array in ordinary.items()}
        yield "plain numbers", {alias: array.reshape(-1) for alias, array in ordinary.items()}
        yield "three plain numbers", {alias: np.resize(array, 3) for alias, array in ordinary.items()}
        yield "a number", {alias: array.reshape(-1)[0:1].reshape(()) for alias, array in ordinary.items()}
        yield "a column", {alias: array.reshape(-1, 1) for alias, array in ordinary.items()}
        yield "a matrix", {alias: np.resize(array, (7, 4)) for alias, array in ordinary.items()}
        yield "one more dimension", {alias: array[None] for alias, array in ordinary.items()}


def write_requests(folder: Path, requests: Sequence[Request]) -> None:
    (folder / FILE).write_bytes(pickle.dumps(list(requests)))


def read_requests(folder: Path) -> list[Request]:
    """What `write_requests` has written there."""
    return pickle.loads((folder / FILE).read_bytes())


def _is_varied(given: Input) -> bool:
    return given.declared is not None and None in given.declared[1:]


def _resized(given: Input, size: int) -> Input:
    """The same with another size in place of those that the model does not know."""
    if not _is_varied(given) or given.declared is None:
        return given
    shape = [given.shape[0], *(size if known is None else known for known in given.declared[1:])]
    return replace(given, shape=tuple(shape))


def _ordinary(given: Input, rows: int, rng: np.random.Generator) -> np.ndarray:
    shape = given.sized(rows)
    if given.dtype == "string":
        value = np.empty(shape, object)
        value[...] = np.array([*given.words, b""], object)[rng.integers(0, len(given.words), shape)]
        return value
    if given.dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if given.is_integer:
        low = 0 if given.low is None else int(given.low)
        high = low + 100 if given.high is None else int(given.high)
        return np.asarray(rng.integers(low, high, shape)).astype(given.dtype)
    if given.dtype.startswith("complex"):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(given.dtype)
    if given.low is not None and given.high is not None:
        return np.asarray(rng.uniform(given.low, given.high, shape)).astype(given.numpy_dtype)
    return np.asarray(rng.standard_normal(shape)).astype(given.numpy_dtype)


def _edges(given: Input, rows: int, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    shape = given.sized(rows)
    if given.is_float:
        yield from _float_edges(given, rows, rng)
    elif given.is_integer:
        yield from _integer_edges(given, rows, rng)
    if len(shape) > 1:
        wider = Input((*given.shape[:-1], shape[-1] + 1), given.dtype, given.low, given.high, words=given.words)
        yield "wider rows", _ordinary(wider, rows, rng)
    if given.rankless or len(shape) == 1:
        yield "one dimension more", _ordinary(given, rows, rng)[..., None]


def _float_edges(given: Input, rows: int, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    ordinary = _ordinary(given, rows, rng)
    dtype = given.numpy_dtype
    largest = float(ml_dtypes.finfo(dtype).max)
    yield "zeros", np.zeros_like(ordinary)
    yield "negative zeros", np.zeros_like(ordinary) * dtype.type(-1)
    yield "ones", np.ones_like(ordinary)
    yield "negative", -np.abs(ordinary) - dtype.type(0.25)
    yield "halves", (np.round(ordinary * dtype.type(4)) / dtype.type(2)).astype(dtype)  # ties, and roundings of x.5
    yield "a hundred times as large", ordinary * dtype.type(100)
    yield "ten thousand times as large", ordinary * dtype.type(10000)
    yield "as large as there is", np.full_like(ordinary, largest) * np.sign(ordinary).astype(dtype)
    yield "as small as there is", np.full_like(ordinary, float(ml_dtypes.finfo(dtype).smallest_subnormal))
    for what, value in (("NaN", np.nan), ("infinity", np.inf), ("minus infinity", -np.inf)):
        one = ordinary.copy()
        one.reshape(-1)[:1] = value
        yield f"one {what}", one
        yield f"{what} throughout", np.full_like(ordinary, value)


def _integer_edges(given: Input, rows: int, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    ordinary = _ordinary(given, rows, rng)
    limits = np.iinfo(given.dtype)
    yield "zeros", np.zeros_like(ordinary)
    values = {
        "its least": limits.min if given.low is None else int(given.low),
        "its largest": limits.max if given.high is None else int(given.high) - 1,
    }
    if given.low is not None and given.low > limits.min:
        values["one below the least"] = int(given.low) - 1
        values["far below the least"] = max(limits.min, int(given.low) - 1_000_000)
    if given.high is not None and given.high <= limits.max:
        values["one beyond the largest"] = int(given.high)
        values["far beyond the largest"] = min(limits.max, int(given.high) + 1_000_000)
    for what, value in values.items():
        one = ordinary.copy()
        one.reshape(-1)[-1:] = value
        yield f"one at {what}", one
        yield f"{what} throughout", np.full_like(ordinary, value)
