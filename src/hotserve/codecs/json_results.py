"""JSON answers to classify and regress requests.

Source: TensorFlow Serving `util/json_tensor.cc`, MakeJsonFromClassificationResult and MakeJsonFromRegressionResult.
The key is `results`; that server's documentation has it as `result`.
"""

from __future__ import annotations

from hotserve.codecs.inference_results import Classified, Regressed, label_text
from hotserve.codecs.json_base64 import base64_object
from hotserve.codecs.json_lists import number_lists
from hotserve.codecs.json_text import quoted
from hotserve.errors import InvalidArgument
from hotserve.tensors import DType


def encode_classifications(classified: Classified) -> bytes:
    """Writes the body that answers a classify request: for each example a list of pairs `["label", score]`.

    A label that is no UTF-8 is written as a base64 object, as `json_response` writes such strings.

    Raises:
        InvalidArgument: There are no results.
    """
    examples, classes = classified.scores.shape
    if not examples:
        raise InvalidArgument("Cannot convert empty ClassificationResults to JSON")
    scores = number_lists(classified.scores.ravel(), DType.FLOAT, True)
    labels = classified.labels.ravel().tolist()
    # Most models give every example the same few labels.
    texts = {label: _label(label) for label in set(labels)}
    pairs = [f"[{texts[label]}, {score}]" for label, score in zip(labels, scores, strict=True)]
    rows = [f"[{', '.join(pairs[i * classes : (i + 1) * classes])}]" for i in range(examples)]
    return f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}'.encode()


def encode_regressions(regressed: Regressed) -> bytes:
    """Writes the body that answers a regress request: a flat list with one number for each example.

    Raises:
        InvalidArgument: There are no results.
    """
    if not len(regressed.values):
        raise InvalidArgument("Cannot convert empty RegressionResults to JSON")
    return f'{{\n    "results": {number_lists(regressed.values.ravel(), DType.FLOAT, False)[0]}\n}}'.encode()


def _label(label: bytes | str) -> str:
    try:
        return quoted(label_text(label))
    except UnicodeDecodeError as error:
        return base64_object(error.object)
