from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.codecs.tf_example import describe_examples, example_vector, examples_of
from hotserve.protos.messages import Example, Feature, Input
from support.toy_examples import example, examples_input

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FEATURES = st.dictionaries(
    NAMES,
    st.one_of(
        st.floats(width=32, allow_nan=False),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=8),
        st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3),
    ),
    max_size=4,
)


def read(data: bytes) -> dict[str, Feature]:
    return dict(Example.FromString(data).features.feature)


@given(st.lists(FEATURES, max_size=4))
def test_every_example_is_one_element_of_the_vector(features: list[dict[str, object]]) -> None:
    examples = [example(**each) for each in features]
    vector = examples_of(examples_input(*examples))
    assert vector.shape == (len(examples),)
    assert vector.dtype == np.object_
    assert [read(data) for data in vector] == [dict(each.features.feature) for each in examples]


@given(st.lists(FEATURES, max_size=4), FEATURES)
def test_an_example_has_the_features_of_the_context_unless_it_has_its_own(
    features: list[dict[str, object]], context: dict[str, object]
) -> None:
    vector = examples_of(examples_input(*(example(**each) for each in features), context=example(**context)))
    merged = [dict(example(**{**context, **each}).features.feature) for each in features]
    assert [read(data) for data in vector] == merged


def test_the_context_stands_before_the_example_as_bytes() -> None:
    context, own = example(x=2.0), example(x=5.0)
    (data,) = examples_of(examples_input(own, context=context))
    assert data == context.SerializeToString() + own.SerializeToString()


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Input(), id="not set"),
        pytest.param(examples_input(), id="no examples"),
        pytest.param(examples_input(context=example(x=1.0)), id="a context and no examples"),
    ],
)
def test_an_input_without_examples_is_an_empty_vector(message: Input) -> None:
    assert examples_of(message).shape == (0,)


def test_an_example_without_features_is_an_example() -> None:
    assert examples_of(examples_input(example(), example())).tolist() == [b"", b""]


@pytest.mark.parametrize(
    ("examples", "text"),
    [
        ([example(x=1.0)], "examples[0] has x: float"),
        ([example(b=b"x", a=2)], "examples[0] has a: int64, b: bytes"),
        ([example(pixels=[0.0] * 784)], "examples[0] has pixels: float (784 values)"),
        ([example()], "examples[0] has no features"),
        ([example(x=1.0), example(x=2.0), example(x=3)], "examples[0] has x: float; examples[2] has x: int64"),
        (
            [example(**{f"f{n:02}": 1.0 for n in range(12)})],
            "examples[0] has " + ", ".join(f"f{n:02}: float" for n in range(10)) + ", and 2 more",
        ),
        (
            [example(**{name: 1}) for name in "abcd"],
            "examples[0] has a: int64; examples[1] has b: int64; examples[2] has c: int64",
        ),
    ],
)
def test_what_came_is_described_once_for_each_kind_of_example(examples: list[Example], text: str) -> None:
    assert describe_examples(examples_of(examples_input(*examples))) == text


def test_a_feature_without_values_and_bytes_that_are_no_example_are_described_too() -> None:
    empty = Example()
    empty.features.feature["x"].SetInParent()
    vector = example_vector([empty.SerializeToString(), b"\xff"])
    assert describe_examples(vector) == "examples[0] has x: no values; examples[1] has bytes that are no tf.Example"
