from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from hotserve.errors import Code, InvalidArgument, ServingError
from hotserve.platforms.warmup import made_up_inputs, warm_up
from hotserve.tensors import Array, DType, Signature, TensorSpec

X = TensorSpec(DType.FLOAT, (None, 3))


class Recorder:
    """Records its runs; `answer` may raise what a model would."""

    def __init__(
        self,
        signatures: Mapping[str, Signature],
        answer: Callable[[str, Mapping[str, Array]], None] = lambda name, inputs: None,
    ) -> None:
        self.signatures = signatures
        self.runs: list[tuple[str, Mapping[str, Array], Sequence[str]]] = []
        self._answer = answer

    def run(self, signature_name: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        self.runs.append((signature_name, inputs, outputs))
        self._answer(signature_name, inputs)
        return {}

    def unload(self) -> None:
        raise AssertionError("nobody asked for it")


def raising(error: ServingError) -> Callable[[str, Mapping[str, Array]], None]:
    def answer(name: str, inputs: Mapping[str, Array]) -> None:
        raise error

    return answer


def test_every_signature_with_inputs_runs_once_with_all_its_outputs() -> None:
    servable = Recorder(
        {
            "b": Signature({"x": X}, {"y": X, "z": X}),
            "a": Signature({"x": X}, {"y": X}),
            "__saved_model_init_op": Signature({}, {"__saved_model_init_op": TensorSpec(DType.INVALID, None)}),
            "increment": Signature({}, {"count": X}),
            "silent": Signature({"x": X}, {}),
        }
    )
    warm_up(servable)
    assert [(name, outputs) for name, _, outputs in servable.runs] == [("a", ["y"]), ("b", ["y", "z"])]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (TensorSpec(DType.FLOAT, (None, 2)), np.zeros((1, 2), np.float32)),
        (TensorSpec(DType.INT64, ()), np.zeros((), np.int64)),
        (TensorSpec(DType.BOOL, (3,)), np.zeros(3, np.bool_)),
        (TensorSpec(DType.HALF, None), np.zeros(1, np.float16)),
        (TensorSpec(DType.BFLOAT16, (None,)), np.zeros(1, DType.BFLOAT16.numpy)),
        (TensorSpec(DType.STRING, (None, 2)), np.array([[b"", b""]], dtype=object)),
        (TensorSpec(DType.STRING, None), np.array([b""], dtype=object)),
        (TensorSpec(DType.COMPLEX64, (0, None)), np.zeros((0, 1), np.complex64)),
    ],
)
def test_inputs_are_made_up_from_type_and_shape(spec: TensorSpec, expected: Array) -> None:
    inputs = made_up_inputs(Signature({"x": spec}, {}))
    assert inputs is not None
    assert inputs["x"].dtype == expected.dtype
    np.testing.assert_array_equal(inputs["x"], expected)


def test_a_default_is_taken_where_there_is_one() -> None:
    inputs = made_up_inputs(Signature({"x": X}, {}, defaults={"x": np.ones((1, 3), np.float32)}))
    assert inputs is not None
    assert inputs["x"].tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    "spec", [TensorSpec(DType.VARIANT, ()), TensorSpec(DType.INT4, (2,)), TensorSpec(DType.DOUBLE, (1 << 20, 1 << 20))]
)
def test_what_cannot_be_made_up_is_left_out(spec: TensorSpec, caplog: pytest.LogCaptureFixture) -> None:
    servable = Recorder({"s": Signature({"x": spec}, {"y": X})})
    with caplog.at_level(logging.INFO):
        warm_up(servable)
    assert servable.runs == []
    assert "leaves out signature s" in caplog.text


def test_an_input_of_unknown_rank_is_a_batch_of_one_and_then_a_scalar() -> None:
    def only_scalars(name: str, inputs: Mapping[str, Array]) -> None:
        if inputs["delta"].shape != ():
            raise InvalidArgument("must be a scalar")

    signature = Signature({"delta": TensorSpec(DType.FLOAT, None), "x": X}, {"y": X})
    servable = Recorder({"s": signature}, only_scalars)
    warm_up(servable)
    assert [inputs["delta"].shape for _, inputs, _ in servable.runs] == [(1,), ()]
    assert [inputs["x"].shape for _, inputs, _ in servable.runs] == [(1, 3), (1, 3)]


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE])
def test_a_refusal_of_the_values_is_logged_and_tolerated(code: Code, caplog: pytest.LogCaptureFixture) -> None:
    servable = Recorder({"s": Signature({"x": X}, {"y": X})}, raising(ServingError("no JPEG", code)))
    with caplog.at_level(logging.INFO):
        warm_up(servable)
    assert "signature s refuses made-up values" in caplog.text
    assert "no JPEG" in caplog.text


@pytest.mark.parametrize(
    "code", [Code.FAILED_PRECONDITION, Code.NOT_FOUND, Code.UNIMPLEMENTED, Code.INTERNAL, Code.RESOURCE_EXHAUSTED]
)
def test_any_other_error_fails_the_load_under_its_code(code: Code) -> None:
    servable = Recorder({"s": Signature({"x": X}, {"y": X})}, raising(ServingError("uninitialized", code)))
    with pytest.raises(ServingError, match="Warm-up of signature s failed: uninitialized") as raised:
        warm_up(servable)
    assert raised.value.code is code
