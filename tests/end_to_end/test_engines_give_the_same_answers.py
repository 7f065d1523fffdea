"""What other engines answer in place of TensorFlow is what TensorFlow answers, errors included.

Some models of the zoo, of every kind; `scripts/prove_engines.py` does the same with all of them, which takes an hour.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from support.saved_model_zoo.proof import Proof, export_zoo, prove

pytest.importorskip("openvino")
pytest.importorskip("tf2onnx")

MOVED = ("conv2d_digits", "embedding_mean", "lstm")
"""Models that another engine may run."""

PARTLY_MOVED = ("signatures_of_several_kinds",)
"""Some of its signatures may be run by another engine, and others may not."""

KEPT = (
    "check_assert",
    "integers_division_int32",
    "no_inputs",
    "random_seeded",
    "state_counter",
    "state_moved_by_another_signature",
    "table_of_integers",
    "tabular_with_words",
    "words_worked_on",
)
"""Models that have to stay with TensorFlow."""


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Proof]:
    """What came of each model."""
    folder = tmp_path_factory.mktemp("zoo")
    export_zoo(folder, [*MOVED, *PARTLY_MOVED, *KEPT])
    return {proof.model: proof for proof in prove(folder, tmp_path_factory.mktemp("engines"), 600)}


@pytest.mark.parametrize("model", [*MOVED, *PARTLY_MOVED, *KEPT])
def test_every_answer_and_every_error_is_that_of_tensorflow(proofs: Mapping[str, Proof], model: str) -> None:
    assert [str(disagreement) for disagreement in proofs[model].disagreements] == []


@pytest.mark.parametrize("model", [*MOVED, *PARTLY_MOVED])
def test_what_can_be_compared_is_compared(proofs: Mapping[str, Proof], model: str) -> None:
    assert "largest difference" in proofs[model].choice


@pytest.mark.parametrize("model", KEPT)
def test_what_cannot_be_moved_stays_with_tensorflow(proofs: Mapping[str, Proof], model: str) -> None:
    assert "serving_default: tensorflow" in proofs[model].choice


def test_the_requests_are_more_than_ordinary_ones(proofs: Mapping[str, Proof]) -> None:
    assert sum(proof.requests for proof in proofs.values()) > 200
    assert sum(proof.refused for proof in proofs.values()) > 30
