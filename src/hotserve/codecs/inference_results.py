"""The results of Classify and Regress, and the messages that carry them over gRPC."""

from __future__ import annotations

from dataclasses import dataclass

from hotserve.errors import InvalidArgument
from hotserve.protos.messages import ClassificationResult, RegressionResult
from hotserve.tensors import Array


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """The classes of each example, in the order of the model's output.

    Attributes:
        labels: string [examples, classes]; empty strings from a model that gives none.
        scores: float [examples, classes]; zeros from a model that gives none.
    """

    labels: Array
    scores: Array


@dataclass(frozen=True, slots=True, eq=False)
class Regressed:
    """The value of each example.

    Attributes:
        values: float [examples].
    """

    values: Array


def label_text(label: bytes | str) -> str:
    """A label as text.

    Raises:
        UnicodeDecodeError: Its bytes are no UTF-8.
    """
    return label.decode() if isinstance(label, bytes) else label


def classification_result(classified: Classified) -> ClassificationResult:
    """Classes as a message.

    Raises:
        InvalidArgument: A label is no UTF-8. The original sends such a message, and no client can read it.
    """
    result = ClassificationResult()
    rows = zip(classified.labels.tolist(), classified.scores.tolist(), strict=True)
    try:
        for labels, scores in rows:
            classes = result.classifications.add().classes
            for label, score in zip(labels, scores, strict=True):
                classes.add(label=label_text(label), score=score)
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"The model gives the class label {error.object!r}, and a label must be UTF-8. Predict gives the same"
            " output as bytes."
        ) from error
    return result


def regression_result(regressed: Regressed) -> RegressionResult:
    """Values as a message."""
    result = RegressionResult()
    for value in regressed.values.tolist():
        result.regressions.add(value=value)
    return result
