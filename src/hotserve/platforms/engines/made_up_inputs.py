"""Inputs to try a signature with: of several sizes, and of small, large and unusual values.

What a signature takes is learnt by trying it in TensorFlow: which sizes of its unknown dimensions, and which integers,
since many are indices into tables of unknown length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np

from hotserve.errors import ServingError
from hotserve.platforms.engines.domain import Bounds, Domain
from hotserve.tensors import NUMPY_OF, Array, DType, Shape, Signature, TensorSpec

SCALES: Final = (1.0, 1e3, 1e6)
"""Up to which absolute value the numbers of a trial go; integers of the last go as far as TensorFlow takes them.

Larger numbers, NaN and the infinities always go to TensorFlow: what comes of an overflow depends on the order of
operations, and what TensorFlow makes of NaN on the kernel that it happens to choose.
"""

ROWS: Final = (1, 2, 3, 8, 32)
"""How many rows are tried at once, where the first dimension is unknown."""

TIMED_ROWS: Final = (1, 8, 32)
"""How many of them are timed."""

_SIZES: Final = (5, 16, 33, 64, 128, 224, 1, 2, 3, 4)
"""What is tried for the other unknown dimensions, until two of them are accepted."""

_RANKS: Final[Sequence[Shape]] = ((None,), (None, None), ())
"""What is tried for inputs of unknown rank."""

_MAX_BYTES: Final = 1 << 25
_MAX_SECONDS: Final = 2.0
"""Trials that are larger, or take longer as far as can be told, are left out, but for those of one row."""

_SEED: Final = 20_180

Inputs = Mapping[str, Array]

Run = Callable[[Inputs], Mapping[str, Array]]
"""Runs the signature in TensorFlow; raises a `ServingError` where it refuses."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of inputs.

    Attributes:
        what: What it is, in words for the user.
        scale: One of `SCALES`; 0 for recorded requests, which have to agree in any case.
        inputs: Input alias -> array.
    """

    what: str
    scale: float
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class Trials:
    """What a signature is tried with.

    Attributes:
        shapes: Input alias -> the shape that the trials have, with `None` for each dimension that they vary.
        limits: Input alias -> the least and the greatest integer that TensorFlow takes.
        trials: The trials, those of smaller scales first.
        timed: Rows -> inputs to measure runs with.
    """

    shapes: Mapping[str, Shape]
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    trials: Sequence[Trial] = ()
    timed: Mapping[int, Inputs] = field(default_factory=dict)

    def domain(self, signature: Signature, scale: float) -> Domain:
        """What has been tried when all trials up to a scale have gone well."""
        bounds = {}
        if scale == 0:
            for alias in self.shapes:
                arrays = [trial.inputs[alias] for trial in self.trials]
                if arrays[0].dtype.kind != "b":
                    bounds[alias] = Bounds(
                        _plain(min(array.min() for array in arrays)), _plain(max(array.max() for array in arrays))
                    )
            return Domain(self.shapes, bounds, self._smallest_size())
        for alias, spec in signature.inputs.items():
            dtype = spec.dtype.numpy
            if dtype.kind in "iu":
                lowest, highest = _within(self.limits.get(alias), dtype, scale)
                if (lowest, highest) != _all_of(dtype):
                    bounds[alias] = Bounds(lowest, highest)
            elif dtype.kind != "b":
                bounds[alias] = Bounds(-scale, scale)
        return Domain(self.shapes, bounds, self._smallest_size())

    def _smallest_size(self) -> int:
        """The smallest size that a dimension, not the first one, has in any trial, where they vary it."""
        return min(
            (
                trial.inputs[alias].shape[place]
                for trial in self.trials
                for alias, shape in self.shapes.items()
                for place, size in enumerate(shape)
                if place and size is None
            ),
            default=1,
        )


def make_trials(
    signature: Signature, run: Run, samples: Sequence[Inputs] = (), sizes: Sequence[int] = ()
) -> Trials | str:
    """Makes up what a signature is tried with.

    Args:
        signature: Its inputs are numbers or booleans.
        run: Runs it in TensorFlow.
        samples: Inputs that have been recorded.
        sizes: What is tried for unknown dimensions other than the first, all of which have to be accepted; where none
            are named, two that are accepted are looked for.

    Returns:
        The trials; or why there are none, in words for the user.
    """
    recorded = [
        Trial(f"recorded request {number}", 0.0, sample)
        for number, sample in enumerate(samples, 1)
        if all(sample[alias].size for alias in signature.inputs)
    ]
    maker = _Maker(signature, run, sizes)
    reason = maker.learn_shapes()
    if reason:
        shapes = _common_shapes(signature, recorded)
        if shapes is None:
            return reason
        return Trials(shapes, {}, recorded, {1: recorded[0].inputs})
    maker.learn_limits()
    return Trials(maker.shapes, maker.limits, [*recorded, *maker.trials()], maker.timed())


class _Maker:
    """Makes inputs for one signature."""

    def __init__(self, signature: Signature, run: Run, sizes: Sequence[int]) -> None:
        self._signature = signature
        self._run = run
        self._wanted_sizes = sizes
        self._random = np.random.default_rng(_SEED)
        self._sizes: tuple[int, ...] = (1,)
        self._row_seconds = 0.0
        self.shapes: dict[str, Shape] = {}
        self.limits: dict[str, tuple[int, int]] = {}
        self._lowest = 0

    def learn_shapes(self) -> str:
        """Finds sizes that are accepted; returns why there are none, where that is so."""
        refusal = ""
        for rank in _RANKS:
            self.shapes = {
                alias: spec.shape if spec.shape is not None else rank for alias, spec in self._signature.inputs.items()
            }
            refusal = self._learn_sizes()
            if not refusal or all(spec.shape is not None for spec in self._signature.inputs.values()):
                break
        return refusal

    def _learn_sizes(self) -> str:
        varied = any(None in shape[1:] for shape in self.shapes.values())
        refusal = "its inputs are too large to be made up"
        accepted: list[int] = []
        wanted = self._wanted_sizes
        for size in (wanted or _SIZES) if varied else (1,):
            for lowest in (0, 1):
                self._lowest = lowest
                if self._bytes(2, size) > _MAX_BYTES and accepted:
                    break
                if self._bytes(1, size) > _MAX_BYTES:
                    break
                inputs = self._inputs(1, size, 1.0)
                try:
                    self._run(inputs)  # The first run prepares.
                    start = time.perf_counter()
                    self._run(inputs)
                except ServingError as error:
                    refusal = f"TensorFlow refuses inputs that are made up ({_first_line(error)})"
                    continue
                self._row_seconds = time.perf_counter() - start
                accepted.append(size)
                break
            if len(accepted) == 2 and not wanted:
                break
        if not accepted or (varied and wanted and len(accepted) < len(wanted)):
            return refusal
        self._sizes = tuple(accepted)
        if varied and len(accepted) == 1:
            self.shapes = {
                alias: (*shape[:1], *(accepted[0] if size is None else size for size in shape[1:]))
                for alias, shape in self.shapes.items()
            }
        return ""

    def learn_limits(self) -> None:
        """Finds which integers are accepted, input by input."""
        for alias, spec in self._signature.inputs.items():
            dtype = spec.dtype.numpy
            if dtype.kind not in "iu":
                continue
            lowest, highest = _all_of(dtype)
            size = self._answer_bytes(alias, self._lowest)
            self.limits[alias] = (
                -self._furthest(alias, -self._lowest, -lowest, -1, size),
                self._furthest(alias, self._lowest, highest, 1, size),
            )

    def _furthest(self, alias: str, base: int, end: int, sign: int, size: int | None) -> int:
        """The greatest number up to `end` that is accepted with this sign, if all below it are, too.

        Steps double, so that a number that sizes something is noticed while that is small.
        """
        good, step = base, 1
        while good < end:
            value = min(good + step, end)
            if self._answer_bytes(alias, sign * value) != size:
                break
            good, step = value, 2 * step
        else:
            return good
        bad = min(good + step, end)
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._answer_bytes(alias, sign * middle) == size:
                good = middle
            else:
                bad = middle
        return good

    def _answer_bytes(self, alias: str, value: int) -> int | None:
        """The size of the answer where an input has one value everywhere; None where that is refused, or takes long."""
        inputs = self._inputs(1, self._sizes[0], 1.0)
        inputs[alias] = np.full_like(inputs[alias], value)
        start = time.perf_counter()
        try:
            answer = self._run(inputs)
        except ServingError:
            return None
        if time.perf_counter() - start > max(_MAX_SECONDS, 10 * self._row_seconds):
            return None
        return sum(array.nbytes for array in answer.values())

    def trials(self) -> Iterator[Trial]:
        """All trials."""
        rows = self._row_counts()
        few = rows[min(1, len(rows) - 1)]
        yield Trial(f"zeros, {_rows(rows[0])}", 1.0, self._zeros(rows[0]))
        for count in rows:
            yield self._trial(count, 1.0)
        for size in self._sizes[1:]:
            yield self._trial(few, 1.0, size)
        yield self._trial(few, 1.0, positive=True)
        for count in (rows[0], rows[min(3, len(rows) - 1)]):
            yield self._trial(count, 1e3)
        yield self._trial(few, 1e3, positive=True)
        yield self._trial(few, SCALES[-1])

    def timed(self) -> Mapping[int, Inputs]:
        """Rows -> inputs."""
        return {count: self._inputs(count, self._sizes[0], 1.0) for count in self._row_counts() if count in TIMED_ROWS}

    def _row_counts(self) -> Sequence[int]:
        """How many rows can be tried; 1 only, where no first dimension is unknown."""
        if not any(shape and shape[0] is None for shape in self.shapes.values()):
            return (1,)
        size = self._sizes[0]
        return [
            rows
            for rows in ROWS
            if rows == 1 or (self._bytes(rows, size) <= _MAX_BYTES and rows * self._row_seconds <= _MAX_SECONDS)
        ]

    def _trial(self, rows: int, scale: float, size: int | None = None, positive: bool = False) -> Trial:
        inputs = self._inputs(rows, size or self._sizes[0], scale)
        kind = f"numbers up to {scale:g}"
        if positive:
            kind = f"positive {kind}"
            inputs = {
                alias: np.asarray(np.abs(array)) if array.dtype.kind not in "iub" else array
                for alias, array in inputs.items()
            }
        other = f", {size} along unknown dimensions" if size else ""
        return Trial(f"{kind}, {_rows(rows)}{other}", scale, inputs)

    def _zeros(self, rows: int) -> dict[str, Array]:
        inputs = self._inputs(rows, self._sizes[0], 1.0)
        return {
            alias: np.full_like(array, max(0, self.limits.get(alias, (0, 0))[0])) for alias, array in inputs.items()
        }

    def _inputs(self, rows: int, size: int, scale: float) -> dict[str, Array]:
        return {
            alias: self._array(alias, spec, _filled(self.shapes[alias], rows, size), scale)
            for alias, spec in self._signature.inputs.items()
        }

    def _array(self, alias: str, spec: TensorSpec, shape: tuple[int, ...], scale: float) -> Array:
        random = self._random
        dtype = spec.dtype.numpy
        if dtype.kind == "b":
            return np.asarray(random.integers(0, 2, shape)).astype(dtype)
        if dtype.kind in "iu":
            # Before the limits are known: the least that there can be, since a table may have a single row.
            limits = self.limits.get(alias, (self._lowest, self._lowest))
            lowest, highest = _within(limits, dtype, scale)
            numbers: Array = np.asarray(random.integers(lowest, highest, shape, dtype, endpoint=True))
            if numbers.size and scale > SCALES[0]:
                numbers.reshape(-1)[0], numbers.reshape(-1)[-1] = lowest, highest
            return numbers
        largest = min(scale, float(np.finfo(np.float16).max) if spec.dtype is DType.HALF else scale)
        if scale <= SCALES[1]:
            return np.asarray(random.uniform(-largest, largest, shape)).astype(dtype)
        # Of all magnitudes, evenly.
        magnitudes = 10 ** random.uniform(-3.0, np.log10(largest), shape)
        signed: Array = magnitudes * random.choice((-1.0, 1.0), shape)
        return np.asarray(signed.astype(dtype))

    def _bytes(self, rows: int, size: int) -> int:
        return sum(
            prod(_filled(self.shapes[alias], rows, size)) * spec.dtype.numpy.itemsize
            for alias, spec in self._signature.inputs.items()
        )


def can_be_made_up(signature: Signature) -> str:
    """Why there are no trials for a signature, whatever it computes: strings, and types without arrays.

    Returns:
        The reason, in words for the user; empty where there is none.
    """
    if not signature.inputs or not signature.outputs:
        return "it has no inputs, or no outputs"
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for alias, spec in specs.items():
            if spec.dtype is DType.STRING or spec.dtype not in NUMPY_OF or spec.dtype.numpy.kind not in "biufV":
                return f"its {kind} {alias} is {spec.dtype.label}, which other engines are not given"
    return ""


def _filled(shape: Shape, rows: int, size: int) -> tuple[int, ...]:
    return tuple((rows if place == 0 else size) if known is None else known for place, known in enumerate(shape))


def _all_of(dtype: np.dtype[Any]) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _within(limits: tuple[int, int] | None, dtype: np.dtype[Any], scale: float) -> tuple[int, int]:
    """The integers of a scale that are within the limits; at least one."""
    lowest, highest = limits or _all_of(dtype)
    if scale < SCALES[-1]:
        return max(lowest, min(highest, -int(scale))), max(lowest, min(highest, int(scale)))
    return lowest, highest


def _common_shapes(signature: Signature, recorded: Sequence[Trial]) -> dict[str, Shape] | None:
    """The shapes of the recorded requests, with `None` where they differ; None if there are no such shapes."""
    if not recorded:
        return None
    shapes: dict[str, Shape] = {}
    for alias in signature.inputs:
        found = {trial.inputs[alias].shape for trial in recorded}
        if len({len(shape) for shape in found}) != 1:
            return None
        shapes[alias] = tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*sorted(found), strict=True))
        declared = signature.inputs[alias].shape
        if declared and declared[0] is None and shapes[alias]:
            shapes[alias] = (None, *shapes[alias][1:])
    return shapes


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _plain(number: Any) -> float:
    value: float = number.item()
    return value


def _first_line(error: ServingError) -> str:
    return error.message.partition("\n")[0][:200]
