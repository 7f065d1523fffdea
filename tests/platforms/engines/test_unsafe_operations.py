from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from hotserve.platforms.engines.engine import ONNXRUNTIME, OPENVINO
from hotserve.platforms.engines.unsafe_operations import why_unsafe
from hotserve.protos.messages import AttrValue, FunctionDef, GraphDef, NameAttrList, NodeDef
from hotserve.tensors import DType

BOTH = (OPENVINO, ONNXRUNTIME)


def node(name: str, op: str, *inputs: str, function: Mapping[str, str] | None = None, **types: DType) -> NodeDef:
    """A node; `types` are its attributes that are types, `function` those that are functions."""
    attributes = {key: AttrValue(type=int(dtype)) for key, dtype in types.items()}
    attributes |= {key: AttrValue(func=NameAttrList(name=name)) for key, name in (function or {}).items()}
    return NodeDef(name=name, op=op, input=inputs, attr=attributes)


def floats(name: str) -> NodeDef:
    return node(name, "Placeholder", dtype=DType.FLOAT)


def integers(name: str, dtype: DType = DType.INT64) -> NodeDef:
    return node(name, "Placeholder", dtype=dtype)


CONSTANT = node("constant", "Const")


def reason(*nodes: NodeDef, engine: str = OPENVINO, functions: Sequence[FunctionDef] = ()) -> str:
    graph = GraphDef(node=nodes)
    graph.library.function.extend(functions)
    return why_unsafe(graph, engine)


def function(name: str, arguments: Sequence[str], nodes: Sequence[NodeDef], results: Mapping[str, str]) -> FunctionDef:
    made = FunctionDef(node_def=nodes, ret=results)
    made.signature.name = name
    for argument in arguments:
        made.signature.input_arg.add(name=argument)
    for result in results:
        made.signature.output_arg.add(name=result)
    return made


@pytest.mark.parametrize("engine", BOTH)
def test_a_layer_of_a_network_may_be_moved(engine: str) -> None:
    layer = [
        node("product", "MatMul", "x", "constant", T=DType.FLOAT),
        node("sum", "BiasAdd", "product", "constant", T=DType.FLOAT),
        node("y", "Relu", "sum", T=DType.FLOAT),
    ]
    assert reason(floats("x"), CONSTANT, *layer, engine=engine) == ""


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize(
    "op",
    [
        *("FloorDiv", "FloorMod", "ScatterNd", "UnsortedSegmentSum", "Where", "Unique", "NonMaxSuppressionV3"),
        *(
            "CropAndResize",
            "EnsureShape",
            "IsNan",
            "Reciprocal",
            "Assert",
            "CheckNumerics",
            "StringUpper",
            "NeverHeardOf",
        ),
    ],
)
def test_what_has_not_been_compared_or_has_been_found_to_differ_stays(engine: str, op: str) -> None:
    assert reason(floats("x"), node("y", op, "x", T=DType.FLOAT), engine=engine).startswith(op)


def test_what_does_not_work_on_inputs_may_be_anything() -> None:
    steady = [node("shape", "Shape", "x"), node("half", "FloorDiv", "shape", "constant", T=DType.INT32)]
    assert reason(floats("x"), CONSTANT, *steady, node("y", "Reshape", "x", "half", T=DType.FLOAT)) == ""


@pytest.mark.parametrize("engine", BOTH)
def test_an_index_that_was_sent_is_watched_and_may_be_used(engine: str) -> None:
    nodes = [
        node("flat", "Reshape", "ids", "constant", T=DType.INT64),
        node("cast", "Cast", "flat", SrcT=DType.INT64, DstT=DType.INT32),
    ]
    picked = node("y", "GatherV2", "constant", "cast", "constant", Tparams=DType.FLOAT, Tindices=DType.INT32)
    assert reason(integers("ids"), CONSTANT, *nodes, picked, engine=engine) == ""


@pytest.mark.parametrize("engine", BOTH)
def test_an_index_that_counts_from_the_end_as_embeddings_of_keras_do_may_be_used(engine: str) -> None:
    nodes = [
        node("is_negative", "Less", "ids", "constant", T=DType.INT64),
        node("from_the_end", "AddV2", "ids", "constant", T=DType.INT64),
        node("index", "SelectV2", "is_negative", "from_the_end", "ids", T=DType.INT64),
        node("y", "GatherV2", "constant", "index", "constant", Tparams=DType.FLOAT, Tindices=DType.INT64),
    ]
    assert reason(integers("ids"), CONSTANT, *nodes, engine=engine) == ""


@pytest.mark.parametrize("computed", ["AddV2", "Mul", "Maximum"])
def test_an_index_that_comes_from_two_inputs_is_not_watched_and_stays(computed: str) -> None:
    nodes = [
        node("index", computed, "a", "b", T=DType.INT64),
        node("y", "GatherV2", "constant", "index", "constant", Tparams=DType.FLOAT, Tindices=DType.INT64),
    ]
    assert "indices" in reason(integers("a"), integers("b"), CONSTANT, *nodes, engine=ONNXRUNTIME)


@pytest.mark.parametrize("engine", BOTH)
def test_an_index_that_was_looked_up_stays(engine: str) -> None:
    nodes = [
        node("index", "GatherV2", "constant", "ids", "constant", Tparams=DType.INT64, Tindices=DType.INT64),
        node("y", "GatherV2", "constant", "index", "constant", Tparams=DType.FLOAT, Tindices=DType.INT64),
    ]
    assert "indices" in reason(integers("ids"), CONSTANT, *nodes, engine=engine)


def test_a_computed_class_may_become_one_hot_except_where_negative_ones_count_from_the_end() -> None:
    nodes = [
        node("best", "ArgMax", "x", "constant", T=DType.FLOAT, output_type=DType.INT64),
        node("y", "OneHot", "best", "constant", "constant", "constant", T=DType.FLOAT, TI=DType.INT64),
    ]
    assert reason(floats("x"), CONSTANT, *nodes) == ""
    assert "OneHot" in reason(floats("x"), CONSTANT, *nodes, engine=ONNXRUNTIME)


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("Reshape", ("x", "n")),
        ("Slice", ("x", "n", "constant")),
        ("Slice", ("x", "constant", "n")),
        ("ConcatV2", ("x", "x", "n")),
        ("Tile", ("constant", "n")),
        ("Fill", ("n", "constant")),
        ("TopKV2", ("x", "n")),
    ],
)
def test_what_says_how_an_operation_works_must_not_come_with_the_request(op: str, inputs: Sequence[str]) -> None:
    steered = node("y", op, *inputs, T=DType.FLOAT)
    assert f"how {op} works" in reason(floats("x"), integers("n"), CONSTANT, steered)


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("dtype", [DType.STRING, DType.HALF, DType.BFLOAT16, DType.COMPLEX64, DType.QINT8])
def test_types_that_others_compute_otherwise_stay(engine: str, dtype: DType) -> None:
    assert dtype.label in reason(floats("x"), node("y", "Cast", "x", SrcT=DType.FLOAT, DstT=dtype), engine=engine)
    assert dtype.label in reason(node("x", "Placeholder", dtype=dtype), engine=engine)


def test_double_precision_is_for_onnx_runtime_only() -> None:
    nodes = [node("x", "Placeholder", dtype=DType.DOUBLE), node("y", "Tanh", "x", T=DType.DOUBLE)]
    assert "double" in reason(*nodes)
    assert reason(*nodes, engine=ONNXRUNTIME) == ""


def test_openvino_is_given_no_arithmetic_with_integers_but_shifts_by_constants() -> None:
    sent, shift = integers("n"), node("y", "AddV2", "n", "constant", T=DType.INT64)
    assert reason(sent, CONSTANT, shift) == ""
    assert "integers" in reason(sent, CONSTANT, node("y", "Mul", "n", "constant", T=DType.INT64))
    assert reason(sent, CONSTANT, node("y", "Mul", "n", "constant", T=DType.INT64), engine=ONNXRUNTIME) == ""


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("op", ["Sum", "Prod", "Max", "Cumsum"])
def test_reductions_of_integers_stay(engine: str, op: str) -> None:
    assert "integers" in reason(integers("n"), CONSTANT, node("y", op, "n", "constant", T=DType.INT32), engine=engine)


@pytest.mark.parametrize("engine", BOTH)
def test_arithmetic_with_small_integers_stays(engine: str) -> None:
    nodes = [integers("n", DType.UINT8), node("y", "AddV2", "n", "n", T=DType.UINT8)]
    assert "integers" in reason(*nodes, engine=engine)


@pytest.mark.parametrize("engine", BOTH)
@pytest.mark.parametrize("op", ["Round", "Floor", "Bucketize"])
def test_what_was_sent_may_be_rounded_and_what_was_computed_may_not(engine: str, op: str) -> None:
    assert reason(floats("x"), node("y", op, "x", T=DType.FLOAT), engine=engine) == ""
    computed = node("z", "Exp", "x", T=DType.FLOAT)
    assert "rounds" in reason(floats("x"), computed, node("y", op, "z", T=DType.FLOAT), engine=engine)


@pytest.mark.parametrize("engine", BOTH)
def test_what_was_sent_may_become_an_integer_and_what_was_computed_may_not(engine: str) -> None:
    assert reason(floats("x"), node("y", "Cast", "x", SrcT=DType.FLOAT, DstT=DType.INT32), engine=engine) == ""
    nodes = [node("z", "Exp", "x", T=DType.FLOAT), node("y", "Cast", "z", SrcT=DType.FLOAT, DstT=DType.INT32)]
    assert "Cast" in reason(floats("x"), *nodes, engine=engine)


def test_a_branch_that_the_request_chooses_stays_and_one_that_shapes_choose_may_be_moved() -> None:
    ways = {"then_branch": "way", "else_branch": "way"}
    way = function("way", ["a"], [node("b", "Exp", "a", T=DType.FLOAT)], {"c": "b:y:0"})
    by_shape = [node("rank", "Rank", "x"), node("y", "StatelessIf", "rank", "x", function=ways)]
    by_value = [node("is", "Any", "x", "constant"), node("y", "StatelessIf", "is", "x", function=ways)]
    assert reason(floats("x"), *by_shape, functions=[way]) == ""
    assert "which way" in reason(floats("x"), CONSTANT, *by_value, functions=[way])


def loop(condition: FunctionDef) -> str:
    """A loop over a counter and a value that the value is added to."""
    body = function(
        "body",
        ["i", "v"],
        [node("next", "AddV2", "i", "i", T=DType.INT32), node("more", "AddV2", "v", "v", T=DType.FLOAT)],
        {"i_out": "next:z:0", "v_out": "more:z:0"},
    )
    turning = node("y", "StatelessWhile", "constant", "x", function={"body": "body", "cond": "cond"})
    return reason(floats("x"), CONSTANT, turning, functions=[body, condition])


def test_a_loop_that_counts_may_be_moved() -> None:
    assert loop(function("cond", ["i", "v"], [node("go", "Less", "i", "i", T=DType.INT32)], {"on": "go:z:0"})) == ""


def test_a_loop_that_the_request_ends_stays() -> None:
    condition = function("cond", ["i", "v"], [node("go", "Less", "v", "v", T=DType.FLOAT)], {"on": "go:z:0"})
    assert "how often" in loop(condition)


def test_a_loop_whose_counter_becomes_what_the_request_says_after_a_turn_stays() -> None:
    body = function("body", ["i", "v"], [], {"i_out": "v", "v_out": "v"})
    condition = function("cond", ["i", "v"], [node("go", "Less", "i", "i", T=DType.INT32)], {"on": "go:z:0"})
    turning = node("y", "While", "constant", "n", function={"body": "body", "cond": "cond"})
    assert "how often" in reason(integers("n"), CONSTANT, turning, functions=[body, condition])


def old_loop(limit: str) -> str:
    """A loop of TensorFlow 1, whose nodes go round in a circle."""
    nodes = [
        node("start", "Enter", "constant", T=DType.INT32),
        node("merged", "Merge", "start", "next", T=DType.INT32),
        node("more", "Less", "merged", limit, T=DType.INT32),
        node("go", "LoopCond", "more"),
        node("switch", "Switch", "merged", "go", T=DType.INT32),
        node("next", "NextIteration", "switch:1", T=DType.INT32),
        node("x_in", "Enter", "x", T=DType.FLOAT),
        node("x_merged", "Merge", "x_in", "x_next", T=DType.FLOAT),
        node("x_switch", "Switch", "x_merged", "go", T=DType.FLOAT),
        node("x_next", "NextIteration", "x_switch:1", T=DType.FLOAT),
        node("y", "Exit", "x_switch", T=DType.FLOAT),
    ]
    return reason(floats("x"), integers("n", DType.INT32), CONSTANT, *nodes)


def test_a_loop_of_tensorflow_1_is_seen_through() -> None:
    assert old_loop("constant") == ""
    assert "how Switch works" in old_loop("n")


def test_functions_are_looked_into() -> None:
    called = function(
        "called", ["a", "b"], [node("c", "GatherV2", "b", "a", "b", Tparams=DType.FLOAT)], {"d": "c:output:0"}
    )
    call = node("y", "StatefulPartitionedCall", "index", "constant", function={"f": "called"})
    assert reason(integers("index"), CONSTANT, call, functions=[called]) == ""
    computed = node("index", "Mul", "n", "n", T=DType.FLOAT)
    assert "indices" in reason(integers("n"), computed, CONSTANT, call, functions=[called])


def test_the_outputs_of_a_function_are_told_apart() -> None:
    called = function("called", ["a", "b"], [], {"first": "a", "second": "b"})
    call = node("both", "PartitionedCall", "n", "constant", function={"f": "called"})
    assert (
        reason(integers("n"), floats("x"), CONSTANT, call, node("y", "Reshape", "x", "both:1"), functions=[called])
        == ""
    )
    assert reason(integers("n"), floats("x"), CONSTANT, call, node("y", "Reshape", "x", "both"), functions=[called])


def test_control_inputs_say_nothing_of_values() -> None:
    assert reason(floats("x"), CONSTANT, node("y", "Reshape", "x", "constant", "^x", T=DType.FLOAT)) == ""


def test_what_ends_the_process_of_an_engine_is_not_given_to_it() -> None:
    nodes = [
        integers("at"),
        CONSTANT,
        node("y", "GatherNd", "constant", "at", Tparams=DType.FLOAT, Tindices=DType.INT64),
    ]
    assert "end the process" in reason(*nodes)
    assert reason(*nodes, engine=ONNXRUNTIME) == ""


def test_what_is_wrong_in_one_engine_may_be_moved_to_the_other() -> None:
    nodes = [floats("x"), node("y", "IsFinite", "x", T=DType.FLOAT)]
    assert "denormal" in reason(*nodes)
    assert reason(*nodes, engine=ONNXRUNTIME) == ""


def test_only_what_is_asked_for_is_looked_at() -> None:
    graph = GraphDef(node=[floats("x"), node("y", "Exp", "x", T=DType.FLOAT), node("z", "NeverHeardOf", "x")])
    assert why_unsafe(graph, OPENVINO, ["y:0"]) == ""
    assert why_unsafe(graph, OPENVINO, ["y:0", "z:0"]).startswith("NeverHeardOf")


def test_variables_that_nothing_writes_are_steady() -> None:
    nodes = [
        node("variable", "VarHandleOp", dtype=DType.FLOAT),
        node("value", "ReadVariableOp", "variable", dtype=DType.FLOAT),
        node("y", "MatMul", "x", "value", T=DType.FLOAT),
    ]
    assert reason(floats("x"), *nodes) == ""


def test_where_nobody_watches_indices_none_may_come_with_the_request() -> None:
    picked = node("y", "GatherV2", "constant", "ids", "constant", Tparams=DType.FLOAT, Tindices=DType.INT64)
    graph = GraphDef(node=[integers("ids"), CONSTANT, picked])
    assert why_unsafe(graph, OPENVINO) == ""
    assert "indices" in why_unsafe(graph, OPENVINO, are_indices_watched=False)


def test_where_shapes_vary_what_follows_from_them_does_too() -> None:
    # The size of the input steers: its own declared shape has been tried, others may end up anywhere.
    graph = GraphDef(
        node=[
            floats("x"),
            node("size", "Size", "x", T=DType.FLOAT, out_type=DType.INT32),
            node("y", "GatherV2", "constant", "size", "axis", Tparams=DType.FLOAT, Tindices=DType.INT32),
            CONSTANT,
            node("axis", "Const"),
        ]
    )
    assert why_unsafe(graph, ONNXRUNTIME) == ""
    assert "has indices" in why_unsafe(graph, ONNXRUNTIME, are_shapes_steady=False)


def test_zeros_and_ones_are_the_same_whatever_the_shape() -> None:
    graph = GraphDef(node=[floats("x"), node("zeros", "ZerosLike", "x", T=DType.FLOAT), node("y", "Neg", "zeros")])
    assert why_unsafe(graph, ONNXRUNTIME, are_shapes_steady=False) == ""
