"""Which operations tie a model to TensorFlow: those that remember, guess, look at the world, or refuse.

A graph that another engine runs has its variables as constants, so that nothing may write them; it has no tables to
write to, no generator of random numbers that is TensorFlow's, and no assertions, which converters leave out: a request
that TensorFlow refuses would be answered.

Source: the operations in tensorflow/core/ops that are registered as stateful, of TensorFlow 2.21.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "it writes variables": (
            r"Assign\w*|Scatter(Update|Add|Sub|Mul|Div|Min|Max)|ScatterNd(Update|Add|Sub|Min|Max)|ResourceScatter\w*"
            r"|Resource(Sparse)?Apply\w*|(Sparse)?Apply\w+|(Resource)?StridedSliceAssign|(Resource)?CountUpTo"
            r"|\w*Accumulator\w*|DestroyResourceOp|TemporaryVariable|DestroyTemporaryVariable|Initialize\w*"
            r"|LookupTable(Insert|Import|Remove|Export)\w*"
            r"|(Anonymous)?Mutable\w*HashTable\w*"
        ),
        "it is random": (
            r"Random\w*|StatelessRandom\w*|StatelessTruncatedNormal\w*|StatelessMultinomial\w*|Multinomial"
            r"|ParameterizedTruncatedNormal|TruncatedNormal|Stateful(Random|Standard|Truncated|Uniform)\w*|Rng\w*"
            r"|\w*CandidateSampler|StatelessSampleDistorted\w*|SampleDistortedBoundingBox\w*|StatelessShuffle\w*"
            r"|StatelessParameterized\w*|AnonymousRandomSeedGenerator\w*"
        ),
        "it waits for others or keeps queues": (
            r"\w*Queue\w*|Barrier\w*|Stage\w*|Unstage|(Ordered)?Map(Stage|Unstage|Peek|Size|Clear|IncompleteSize)\w*"
            r"|Stack(V2|Push\w*|Pop\w*|Close\w*)?|Batch(Function)?|Unbatch\w*|Collective\w*|_?(Host)?(Send|Recv)"
            r"|TPU\w*|\w*Mutex\w*"
        ),
        "it reads or writes files, the clock, or data sets": (
            r"ReadFile|WriteFile|MatchingFiles|Timestamp|MergeV2Checkpoints|ShardedFile\w*|Save\w*|Restore\w*|\w*Reader\w*"
            r"|\w*Iterator\w*|\w+Dataset(V\d)?|Py(Func\w*)|EagerPyFunc|Print(V2)?|\w+Summary(V2)?"
        ),
        "it checks its inputs by assertions, which other engines leave out": r"Assert|CheckNumerics(V2)?",
    }
)
"""Why, in words for the user -> the names of operations, as an expression."""

_EXPRESSIONS: Final = tuple((reason, re.compile(expression)) for reason, expression in REASONS.items())


def why_bound(operations: Iterable[str]) -> str:
    """Why a graph with these operations must stay in TensorFlow.

    Args:
        operations: Names of operations.

    Returns:
        The reason with the operation, in words for the user; empty where there is none.
    """
    for operation in sorted(set(operations)):
        for reason, expression in _EXPRESSIONS:
            if expression.fullmatch(operation):
                return f"{reason} ({operation})"
    return ""


def writes(operations: Iterable[str]) -> bool:
    """Whether one of these operations changes what another run of the same model may read."""
    expression = _EXPRESSIONS[0][1]
    return any(expression.fullmatch(operation) for operation in operations)
