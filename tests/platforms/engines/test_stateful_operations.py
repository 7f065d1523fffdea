from __future__ import annotations

import pytest

from hotserve.platforms.engines.stateful_operations import why_bound, writes


@pytest.mark.parametrize(
    "operation",
    [
        *("Assign", "AssignVariableOp", "AssignAddVariableOp", "ResourceScatterAdd", "ScatterNdUpdate", "ScatterAdd"),
        *("RandomUniform", "StatefulUniform", "StatelessRandomUniformV2", "RngReadAndSkip", "TruncatedNormal"),
        *("MutableHashTableV2", "LookupTableInsertV2", "QueueDequeueV2", "FIFOQueueV2", "BatchFunction"),
        *("Assert", "CheckNumericsV2", "PyFunc", "EagerPyFunc", "ReadFile", "Timestamp", "IteratorGetNext"),
        *("ResourceApplyGradientDescent", "UniformCandidateSampler", "Multinomial", "StackPushV2", "PrintV2"),
    ],
)
def test_an_operation_with_an_effect_or_a_guess_binds(operation: str) -> None:
    assert f"({operation})" in why_bound({"MatMul", operation})


@pytest.mark.parametrize(
    "operation",
    [
        *("MatMul", "Conv2D", "VarHandleOp", "ReadVariableOp", "VariableV2", "StatefulPartitionedCall", "While", "If"),
        *("ScatterNd", "TensorScatterUpdate", "BatchMatMulV2", "Merge", "Switch", "ResourceGather", "Placeholder"),
        *("HashTableV2", "LookupTableFindV2", "TensorArrayV3", "AccumulateNV2", "Softmax", "ApproximateEqual"),
        *("StatelessIf", "StatelessWhile", "Range", "Pack", "FusedBatchNormV3", "SparseTensorDenseMatMul"),
    ],
)
def test_what_only_computes_does_not_bind(operation: str) -> None:
    assert why_bound({operation}) == ""


def test_writing_is_told_from_other_reasons() -> None:
    assert writes(["MatMul", "AssignAddVariableOp"])
    assert not writes(["MatMul", "RandomUniform", "Assert"])
