"""What does it cost to read a predict body, and to write an answer?

    python benchmarks/bench_json_codec.py

The compiled codec beside its twin in plain Python, and beside `json` with numpy, which does less: it checks neither
the dialect nor the signature. All in one process, in turns; times are the least of all calls, ratios are medians over
rounds of the least of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from load import positive_int
from measure import circumstances
from report import line

from hotserve.codecs.compiled import EXTENSION
from hotserve.codecs.json_compiled_body import read_compiled_body
from hotserve.codecs.json_document import parse_document
from hotserve.codecs.json_lists import compiled_lists, plain_lists
from hotserve.codecs.json_plain_body import read_plain_body
from hotserve.codecs.json_predict import UsualBody
from hotserve.codecs.json_request import PredictInputs, decode_predict
from hotserve.tensors import DType, Signature, TensorSpec

SIGNATURE = Signature({"x": TensorSpec(DType.FLOAT, None)}, {})
ROUND_SECONDS = 0.05
REFERENCE, TWIN, COMPILED = "json + numpy", "plain Python", "compiled"

Work = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive_int, default=15)
    rounds = parser.parse_args(arguments).rounds
    if EXTENSION is None:
        print("The extension is not there: hotserve was installed without a C compiler.", file=sys.stderr)
        return 1
    where = circumstances(("hotserve", "numpy"))
    columns = ("what", f"{REFERENCE}, µs", f"{TWIN}, µs", f"{COMPILED}, µs", f"{REFERENCE} / {COMPILED}")
    print(line([*columns, f"{TWIN} / {COMPILED}"]))
    print(line(["---", *["---:"] * len(columns)]))
    for name, contestants in {**reading(), **writing()}.items():
        turns = measure(contestants, rounds)
        least = [f"{min(turns[who]) * 1e6:.1f}" for who in (REFERENCE, TWIN, COMPILED)]
        print(line([name, *least, *(f"{ratio(turns[who], turns[COMPILED]):.1f}" for who in (REFERENCE, TWIN))]))
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    print(f"\n{where.date}, commit {where.commit}, {where.machine}; {versions}; {rounds} rounds of {ROUND_SECONDS} s")
    return 0


def reading() -> Mapping[str, Mapping[str, Work]]:
    """Bodies to read: what is read -> contestant -> how."""
    chance = np.random.default_rng(1)
    small, large = chance.random((1, 28, 28, 1), np.float32), chance.random((1, 224, 224, 3), np.float32)
    grey = np.round(small * 255) / np.float32(255)
    bodies = {
        "28 x 28 x 1, `tolist()`": small.tolist(),
        "28 x 28 x 1, 8 digits": rounded(small, 8),
        "28 x 28 x 1, 4 digits": rounded(grey, 4),
        "28 x 28 x 1, 0 to 255": (grey * 255).astype(int).tolist(),
        "10 floats": chance.random((1, 10), np.float32).tolist(),
        "224 x 224 x 3, `tolist()`": large.tolist(),
        "224 x 224 x 3, 8 digits": rounded(large, 8),
    }
    found = {}
    for name, rows in bodies.items():
        body = json.dumps({"instances": rows}).encode()
        found[f"read {name}, {len(body) / 1000:.1f} KB"] = {
            REFERENCE: lambda body=body: np.array(json.loads(body)["instances"], np.float32),
            TWIN: lambda body=body: decoded(body, read_plain_body),
            COMPILED: lambda body=body: decoded(body, read_compiled_body),
        }
    return found


def decoded(body: bytes, read: Callable[[bytes], UsualBody | None]) -> PredictInputs:
    """A body as the server reads it with one of the short cuts."""
    form = read(body)
    return (form and form.decode(SIGNATURE)) or decode_predict(parse_document(body), SIGNATURE, "")


def rounded(values: np.ndarray, digits: int) -> object:
    """Nested lists of numbers with so many digits behind the point."""
    return np.round(values.astype(np.float64), digits).tolist()


def writing() -> Mapping[str, Mapping[str, Work]]:
    """Answers to write: what is written -> contestant -> how."""
    chance = np.random.default_rng(2)
    arrays = {
        "10 floats": chance.random((1, 10), np.float32),
        "1000 floats": chance.random((1, 1000), np.float32),
        "1000 doubles": chance.random((1, 1000)),
        "1000 integers": chance.integers(0, 10**6, (1, 1000)),
    }
    dtypes = {np.dtype(np.float32): DType.FLOAT, np.dtype(np.float64): DType.DOUBLE, np.dtype(np.int64): DType.INT64}
    return {
        f"write {name}": {
            REFERENCE: lambda array=array: json.dumps({"predictions": array.tolist()}).encode(),
            TWIN: lambda array=array: plain_lists(array, dtypes[array.dtype], False)[0].encode(),
            COMPILED: lambda array=array: compiled_lists(array, dtypes[array.dtype], False)[0].encode(),
        }
        for name, array in arrays.items()
    }


def measure(contestants: Mapping[str, Work], rounds: int) -> Mapping[str, Sequence[float]]:
    """Seconds a call, the least in each round, for each contestant; they take turns."""
    turns: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            turns[name].append(least_seconds(work))
    return turns


def least_seconds(work: Work) -> float:
    """What a call takes when nothing comes between: the least of all of a round."""
    least = float("inf")
    end = time.perf_counter() + ROUND_SECONDS
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        least = min(least, now - start)
        if now > end:
            return least


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(slower, faster, strict=True))


if __name__ == "__main__":
    sys.exit(main())
