"""tf.Examples as models take them: a vector of serialized `tensorflow.Example` messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from hotserve.protos.messages import Example, Feature, Input
from hotserve.tensors import Array

_MAX_EXAMPLES_READ: Final = 100
_MAX_KINDS_SHOWN: Final = 3
_MAX_FEATURES_SHOWN: Final = 10


def example_vector(examples: Sequence[bytes]) -> Array:
    """Serialized examples as the tensor that a signature takes: string [n]."""
    vector = np.empty(len(examples), np.object_)
    vector[:] = examples
    return vector


def examples_of(message: Input) -> Array:
    """The examples of a request, each with the features of the context, if there is one.

    Args:
        message: The `input` of a ClassificationRequest, a RegressionRequest or a MultiInferenceRequest.

    Returns:
        string [n]; n is 0 for an input that is not set, which no signature is run on.

    Source: InputToSerializedExampleTensor in tensorflow_serving/servables/tensorflow/util.cc.
    """
    if message.WhichOneof("kind") == "example_list_with_context":
        listed = message.example_list_with_context
        # Serialized messages that are appended merge; of a feature that both have, the later one counts.
        context = listed.context.SerializeToString()
        return example_vector([context + example.SerializeToString() for example in listed.examples])
    return example_vector([example.SerializeToString() for example in message.example_list.examples])


def describe_examples(examples: Array) -> str:
    """What is in serialized examples, in one line: `examples[0] has x: float; examples[6] has x: int64`.

    Args:
        examples: string [n].

    Returns:
        The first few kinds of example that there are among the first `_MAX_EXAMPLES_READ`, with their features sorted.
    """
    first_of_kind: dict[str, int] = {}
    for position, example in enumerate(examples[:_MAX_EXAMPLES_READ]):
        first_of_kind.setdefault(_features_of(example), position)
    kinds = [f"examples[{position}] has {features}" for features, position in first_of_kind.items()]
    return "; ".join(kinds[:_MAX_KINDS_SHOWN])


def _features_of(example: bytes) -> str:
    try:
        features = Example.FromString(example).features.feature
    except DecodeError:
        return "bytes that are no tf.Example"
    shown = [f"{name}: {_describe(features[name])}" for name in sorted(features)[:_MAX_FEATURES_SHOWN]]
    if len(features) > len(shown):
        shown.append(f"and {len(features) - len(shown)} more")
    return ", ".join(shown) or "no features"


def _describe(feature: Feature) -> str:
    match feature.WhichOneof("kind"):
        case "bytes_list":
            kind, count = "bytes", len(feature.bytes_list.value)
        case "float_list":
            kind, count = "float", len(feature.float_list.value)
        case "int64_list":
            kind, count = "int64", len(feature.int64_list.value)
        case _:
            return "no values"
    return kind if count == 1 else f"{kind} ({count} values)"
