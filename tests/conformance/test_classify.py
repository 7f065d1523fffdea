"""Contract 1.11: Classify over gRPC."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from hotserve.protos import messages
from support.contract import Client, lines, model_spec


def example(**features: float) -> messages.Example:
    message = messages.Example()
    for name, value in features.items():
        message.features.feature[name].float_list.value.append(value)
    return message


def classification(
    signature: str = "",
    examples: Sequence[messages.Example] = (),
    context: messages.Example | None = None,
    model: str = "examples",
) -> messages.ClassificationRequest:
    request = messages.ClassificationRequest(model_spec=model_spec(model, signature=signature))
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.examples.extend(examples)
        request.input.example_list_with_context.context.CopyFrom(context)
    return request


TWO = (example(x=1.0), example(x=0.5))


@lines(
    "signature, answer",
    {
        "classes and scores, in tensor order": [
            "",
            [[("low", 1.0), ("high", 2.0)], [("low", 0.5), ("high", 1.0)]],
        ],
        "without classes the label is empty": ["scores", [[("", 1.0), ("", 2.0)], [("", 0.5), ("", 1.0)]]],
        "without scores the score is 0": ["classes", [[("low", 0.0), ("high", 0.0)]] * 2],
    },
)
def test_one_classification_per_example(client: Client, signature: str, answer: list[list[tuple[str, float]]]) -> None:
    result = client.call("Classify", classification(signature, TWO)).result
    found = [[(each.label, each.score) for each in one.classes] for one in result.classifications]
    assert found == answer


@lines(
    "signature, text",
    {
        "signature exists": ["zzz", "No signature was found with the name: zzz"],
        "exactly 1 input": ["two_inputs", "Expected one input Tensor."],
        "1 or 2 outputs": ["three_outputs", "Expected one or two output Tensors, found 3"],
        "input key `inputs`": ["other_input", "No classification inputs found in SignatureDef: "],
        "output key `classes` or `scores`": [
            "other_output",
            'Expected classification signature outputs to contain at least one of "classes" or "scores".'
            " Signature was: ",
        ],
        "output key `classes` or `scores`, and there is another": [
            "column",
            'Expected classification signature outputs to contain at least one of "classes" or "scores".'
            " Signature was: ",
        ],
    },
)
def test_a_signature_that_does_not_classify(client: Client, signature: str, text: str) -> None:
    code, found = client.refusal("Classify", classification(signature, TWO))
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(text)


@lines(
    "signature, text",
    {
        "rank of scores": ["flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"],
        "rank of classes": ["flat_classes", "Expected Tensor shape: [batch_size num_classes] but got [4]"],
        "classes dtype": ["number_classes", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"],
        "classes batch": ["one_row_of_classes", "Expected classes output batch size of 2. Got: 1"],
        "scores dtype": ["double_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"],
        "scores batch": ["one_row_of_scores", "Expected scores output batch size of 2. Got: 1"],
        "dim 1 differs": ["uneven", "Tensors class and score should match in dim_size(1). Got 3 vs. 2"],
    },
)
def test_an_answer_of_the_model_that_is_no_classification(client: Client, signature: str, text: str) -> None:
    code, found = client.refusal("Classify", classification(signature, TWO))
    assert code == "INVALID_ARGUMENT"
    assert found.startswith(text)


@lines(
    "request_",
    {
        "zero examples": [classification()],
        "zero examples with a context": [classification(context=example(x=1.0))],
        "unset oneof": [messages.ClassificationRequest(model_spec=model_spec("examples"))],
    },
)
def test_input_is_empty(client: Client, request_: messages.ClassificationRequest) -> None:
    code, text = client.refusal("Classify", request_)
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Input is empty.")


@lines(
    "signature, text",
    {
        "the name": ["zzz", "No signature was found with the name: zzz"],
        "the input key": ["other_input", "No classification inputs found in SignatureDef: "],
    },
)
def test_the_signature_is_looked_at_before_the_input(client: Client, signature: str, text: str) -> None:
    assert client.refusal("Classify", classification(signature))[1].startswith(text)


def seen_by_the_model(client: Client, request: messages.ClassificationRequest) -> list[Mapping[str, list[float]]]:
    """The examples of a request as the signature `mirror` gets them."""
    found: list[Mapping[str, list[float]]] = []
    for one in client.call("Classify", request).result.classifications:
        label = one.classes[0].label
        features = messages.Example.FromString(base64.urlsafe_b64decode(label + "=" * (-len(label) % 4))).features
        found.append({name: list(feature.float_list.value) for name, feature in features.feature.items()})
    return found


@lines(
    "context, examples, seen",
    {
        "without a context examples are as they came": [
            None,
            [example(x=1.0, z=2.0), example()],
            [{"x": [1.0], "z": [2.0]}, {}],
        ],
        "the context is in each example": [
            example(c=5.0),
            [example(x=1.0), example(x=2.0)],
            [{"c": [5.0], "x": [1.0]}, {"c": [5.0], "x": [2.0]}],
        ],
        "for the same feature the example wins": [
            example(x=5.0),
            [example(x=1.0), example()],
            [{"x": [1.0]}, {"x": [5.0]}],
        ],
    },
)
def test_the_model_gets(
    client: Client,
    context: messages.Example | None,
    examples: list[messages.Example],
    seen: list[Mapping[str, list[float]]],
) -> None:
    assert seen_by_the_model(client, classification("mirror", examples, context)) == seen


def test_signatures_of_tensorflow_2_classify_whatever_their_method_name(client: Client) -> None:
    (one,) = client.call("Classify", classification("classify", TWO[:1], model="tf2")).result.classifications
    assert [(each.label, each.score) for each in one.classes] == [("", 2.5)]
