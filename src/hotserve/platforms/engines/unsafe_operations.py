"""Which graphs another engine may be given: those of operations that have been compared, used as they were compared.

An examination tries some inputs; it cannot try all. So a graph is moved only where nothing can happen that the trials
would have missed. Every value in it is of one of three kinds: known before any request (`STEADY`: constants, and what
follows from shapes), an element of an input as it was sent, at most moved, cast or shifted by a constant (`SENT`), or
computed from inputs (`COMPUTED`). Then:

- What works on inputs at all has to be an operation of the tables below. One that nobody has compared stays.
- What steers has to be steady: a shape, an axis, the start of a slice, the number of turns of a loop, the choice of a
  branch. TensorFlow refuses some combinations that others answer, and a branch not taken has not been tried.
- An index into a table has to be steady or sent. The range of what is sent is learnt and watched, see `domain.py`; an
  index that is computed may lie outside though all inputs are as tried. TensorFlow refuses that, OpenVINO answers
  zeros, and ONNX Runtime counts negative ones from the end.
- What rounds has to round what was sent. Of two computed numbers that differ in the last digit, one may go up.
- Types and integers have limits of their own in each engine.

What was found, with OpenVINO 2026.4 and ONNX Runtime 1.32 against TensorFlow 2.21, on a processor: OpenVINO counts
int64 in 32 bits and float64 in 32 bits, reduces integers by way of float32, and lets small integers stop at their
largest value where TensorFlow begins anew; so does ONNX Runtime in sums and products along a dimension. Both divide
integers by zero without an error, keep one of several values that are scattered to the same place where TensorFlow adds
them, and leave out the rounding to float16 of a number that is cast there and back.

`why_unsafe` says nothing of operations that are random, stateful or checks; see `stateful_operations.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from hotserve.platforms.engines.engine import ONNXRUNTIME, OPENVINO
from hotserve.protos.messages import FunctionDef, GraphDef, NodeDef
from hotserve.tensors import DType, dtype_of_number


class Kind(IntEnum):
    """Where a value comes from; the larger one wins where values meet."""

    STEADY = 0
    SENT = 1
    COMPUTED = 2


_PLACEHOLDERS: Final = frozenset({"Placeholder"})

_ABOUT_SHAPES: Final = frozenset({"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"})
"""Their results depend on the shapes of what they are given only."""

_LIKE_OTHERS: Final = frozenset({"OnesLike", "ZerosLike"})
"""Those of them whose results have the same elements for all shapes."""

_MOVING: Final = frozenset(
    {
        *(
            "BatchToSpaceND",
            "BroadcastTo",
            "ConcatV2",
            "DepthToSpace",
            "Enter",
            "Exit",
            "ExpandDims",
            "Fill",
            "GatherNd",
        ),
        *("GatherV2", "Identity", "IdentityN", "LoopCond", "Merge", "MirrorPad", "NextIteration", "Pack", "Pad"),
        *("PadV2", "PreventGradient", "Reshape", "ReverseV2", "Roll", "Slice", "Snapshot", "SpaceToBatchND"),
        *("SpaceToDepth", "Split", "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Switch"),
        *("TensorListFromTensor", "TensorListGetItem", "TensorListReserve", "TensorListSetItem", "TensorListStack"),
        *("Tile", "Transpose", "Unpack"),
    }
)
"""They move elements about, or repeat them, and leave each as it is."""

_CHOOSING: Final = frozenset({"Select", "SelectV2"})
"""Their results are elements of the second and third input."""

_SHIFTING: Final = frozenset({"Add", "AddV2", "Maximum", "Minimum", "Sub"})
"""With a steady other input they leave the order of integers, so that a range stays a range."""

_COMPUTING: Final = frozenset(
    {
        # element by element
        *("Abs", "Acos", "Acosh", "AddN", "Asin", "Asinh", "Atan", "Atanh", "BiasAdd", "ClipByValue", "Cos", "Cosh"),
        *(
            "DivNoNan",
            "Elu",
            "Erf",
            "Erfc",
            "Exp",
            "Expm1",
            "LeakyRelu",
            "Log",
            "Log1p",
            "Mul",
            "MulNoNan",
            "Neg",
            "Pow",
        ),
        *("RealDiv", "Relu", "Relu6", "Rsqrt", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"),
        *("Softsign", "Sqrt", "Square", "SquaredDifference", "Tan", "Tanh", *_SHIFTING),
        # truth
        *("Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalNot", "LogicalOr", "NotEqual"),
        "IsFinite",
        # products
        *("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "Conv2DBackpropInput", "Conv3D"),
        *("Conv3DBackpropInputV2", "DepthwiseConv2dNative", "Einsum", "MatMul"),
        # along dimensions
        *("All", "Any", "ArgMax", "ArgMin", "AvgPool", "AvgPool3D", "Cumsum", "FusedBatchNorm", "FusedBatchNormV2"),
        *("FusedBatchNormV3", "L2Loss", "LogSoftmax", "Max", "MaxPool", "MaxPool3D", "MaxPoolV2", "Mean", "Min"),
        *("Prod", "Softmax", "Sum", "TopKV2"),
        # pictures
        *("ResizeBilinear", "ResizeNearestNeighbor"),
        "OneHot",
    }
)

_ROUNDING: Final = frozenset({"Bucketize", "Ceil", "Floor", "Rint", "Round"})

_ALLOWED: Final = _MOVING | _CHOOSING | _COMPUTING | _ROUNDING | {"Cast"}

_STEERING: Final[Mapping[str, Sequence[int]]] = MappingProxyType(
    {
        "All": (1,),
        "Any": (1,),
        "ArgMax": (1,),
        "ArgMin": (1,),
        "BatchToSpaceND": (1, 2),
        "BroadcastTo": (1,),
        "ConcatV2": (-1,),
        "Conv2DBackpropInput": (0,),
        "Conv3DBackpropInputV2": (0,),
        "Cumsum": (1,),
        "ExpandDims": (1,),
        "Fill": (0,),
        "GatherV2": (2,),
        "Max": (1,),
        "MaxPoolV2": (1, 2),
        "Mean": (1,),
        "Min": (1,),
        "MirrorPad": (1,),
        "OneHot": (1,),
        "Pad": (1,),
        "PadV2": (1,),
        "Prod": (1,),
        "Reshape": (1,),
        "ResizeBilinear": (1,),
        "ResizeNearestNeighbor": (1,),
        "ReverseV2": (1,),
        "Roll": (1, 2),
        "Slice": (1, 2),
        "SpaceToBatchND": (1, 2),
        "Split": (0,),
        "SplitV": (1, 2),
        "StridedSlice": (1, 2, 3),
        "Sum": (1,),
        "Switch": (1,),
        "TensorListFromTensor": (1,),
        "TensorListGetItem": (1, 2),
        "TensorListReserve": (0, 1),
        "TensorListSetItem": (1,),
        "TensorListStack": (1,),
        "Tile": (1,),
        "TopKV2": (1,),
        "Transpose": (1,),
    }
)
"""Operation -> the places of the inputs that say how it works and not on what; from the end, where negative."""

_INDEXED: Final[Mapping[str, int]] = MappingProxyType({"GatherNd": 1, "GatherV2": 1})
"""Operation -> the place of the indices."""

_NOT_IN: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        OPENVINO: {
            "GatherNd": "has been seen to end the process on an index beyond the table",
            "IsFinite": "takes denormal numbers for infinite ones",
        }
    }
)
"""Engine -> operation -> why it is not given it, though others are."""

_REDUCING_INTEGERS: Final = frozenset({"Cumsum", "Max", "Mean", "Min", "Prod", "Sum"})

_ARITHMETIC: Final = frozenset(
    {
        *("Abs", "AddN", "BiasAdd", "Einsum", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Mul", "Neg"),
        *("Pow", "Sign", "Square", "SquaredDifference", "RealDiv", "DivNoNan", *_SHIFTING),
    }
)
"""What may leave the range of an integer."""

_LOOPS: Final = frozenset({"StatelessWhile", "While"})
_BRANCHES: Final = frozenset({"Case", "If", "StatelessCase", "StatelessIf"})
_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})

_FLOATS: Final = frozenset({DType.FLOAT, DType.DOUBLE})
_WIDE_INTEGERS: Final = frozenset({DType.INT32, DType.INT64})
_INTEGERS: Final = _WIDE_INTEGERS | {DType.INT8, DType.INT16, DType.UINT8, DType.UINT16}
_VARIANT: Final = 21  # a list of tensors, in loops

_TYPES: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {
        OPENVINO: frozenset({DType.FLOAT, DType.BOOL, _VARIANT, *_INTEGERS}),
        ONNXRUNTIME: frozenset({*_FLOATS, DType.BOOL, _VARIANT, *_INTEGERS}),
    }
)
"""Engine -> the types that it computes as TensorFlow does."""


def why_unsafe(
    graph: GraphDef,
    engine: str,
    outputs: Collection[str] = (),
    are_indices_watched: bool = True,
    are_shapes_steady: bool = True,
) -> str:
    """Why an engine must not be given a graph.

    Args:
        graph: One signature, frozen; or a whole graph with its variables, which nothing writes.
        engine: The name of the engine.
        outputs: Tensors; only what they need is looked at. All of the graph, if there are none.
        are_indices_watched: Whether requests whose indices may lie outside of a table are kept from the engine.
        are_shapes_steady: Whether the inputs have the shapes that the graph was made for, so that nothing that follows
            from them is a surprise; otherwise a size is taken for something that is computed.

    Returns:
        The reason, in words for the user; empty where there is none.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    nodes = _needed(graph.node, outputs) if outputs else graph.node
    try:
        _Walk(engine, functions, are_indices_watched, are_shapes_steady).through(nodes, {})
    except _UnsafeError as error:
        return str(error)
    return ""


class _UnsafeError(Exception):
    """Carries the reason out of the walk."""


Kinds = Sequence[Kind]
"""Those of a node's outputs, or of a function's arguments; one for all outputs, where they are of one kind."""


class _Walk:
    """Goes through the nodes of a graph and of its functions, from what comes in to what goes out."""

    def __init__(
        self, engine: str, functions: Mapping[str, FunctionDef], are_indices_watched: bool, are_shapes_steady: bool
    ) -> None:
        self._engine = engine
        self._of_size = Kind.STEADY if are_shapes_steady else Kind.COMPUTED
        self._functions = functions
        self._highest_index = Kind.SENT if are_indices_watched else Kind.STEADY
        self._types = _TYPES[engine]
        self._called: dict[tuple[str, tuple[Kind, ...]], Kinds] = {}

    def through(self, nodes: Sequence[NodeDef], given: Mapping[str, Kinds]) -> Mapping[str, Kinds]:
        """Finds out the kinds of everything, and checks every node.

        Args:
            nodes: All nodes of a graph or a function.
            given: Argument -> its kind.

        Returns:
            Name of node or argument -> kinds.

        Raises:
            _UnsafeError: There is a node that must not be moved.
        """
        found = dict(given)
        # Kinds only grow, so that this ends where nodes go round in circles, as the loops of TensorFlow 1 do.
        has_changed = True
        while has_changed:
            has_changed = False
            for node in nodes:
                kinds = self._kinds(node, _inputs(node, found))
                if kinds != found.get(node.name):
                    found[node.name] = kinds
                    has_changed = True
        for node in nodes:
            self._check(node, _inputs(node, found))
        return found

    def _kinds(self, node: NodeDef, inputs: Kinds) -> Kinds:
        if node.op in _PLACEHOLDERS:
            return (Kind.SENT,)
        if node.op in _ABOUT_SHAPES:
            # Zeros and ones are the same whatever the shape.
            return (Kind.STEADY if node.op in _LIKE_OTHERS else self._of_size,)
        if node.op in _LOOPS:
            return self._turned(node, inputs)
        if node.op in _BRANCHES:
            ways = [self._call(name, inputs[1:]) for name in _functions_of(node)]
            return tuple(max(way) for way in zip(*ways, strict=True))
        if node.op in _CALLS:
            return self._call(node.attr["f"].func.name, inputs)
        if node.op in self._functions:
            return self._call(node.op, inputs)
        highest = max(inputs, default=Kind.STEADY)
        if highest is Kind.STEADY:
            return (Kind.STEADY,)
        if node.op in _CHOOSING:
            return (max(inputs[1:]),)
        if node.op in _INDEXED:
            return (inputs[0] if inputs[_INDEXED[node.op]] is Kind.STEADY else Kind.COMPUTED,)
        if node.op in _MOVING or node.op == "Cast":
            return (highest,)
        if node.op in _SHIFTING and _type(node, "T") in _WIDE_INTEGERS and Kind.STEADY in inputs:
            return (highest,)
        return (Kind.COMPUTED,)

    def _check(self, node: NodeDef, inputs: Kinds) -> None:
        if node.op in _PLACEHOLDERS:
            self._check_types(node)
        if node.op in _ABOUT_SHAPES or node.op in _CALLS or node.op in self._functions:
            return
        if max(inputs, default=Kind.STEADY) is Kind.STEADY:
            return
        if node.op in _LOOPS:
            if max(self._call(node.attr["cond"].func.name, self._turned(node, inputs))) is not Kind.STEADY:
                raise _UnsafeError(f"a request says how often {node.op} turns, and not every number can be tried")
            return
        if node.op in _BRANCHES:
            if inputs[0] is not Kind.STEADY:
                raise _UnsafeError(f"a request says which way {node.op} takes, and not every way can be tried")
            return
        fault = _NOT_IN.get(self._engine, {}).get(node.op)
        if fault:
            raise _UnsafeError(f"{node.op} of {self._engine} {fault}")
        if node.op not in _ALLOWED:
            raise _UnsafeError(f"{node.op} works on the inputs, and has not been compared in other engines")
        self._check_types(node)
        self._check_steering(node, inputs)
        self._check_integers(node, inputs)

    def _turned(self, node: NodeDef, inputs: Kinds) -> Kinds:
        """The values of a loop after any number of turns."""
        values = tuple(inputs)
        while True:
            after = self._call(node.attr["body"].func.name, values)
            grown = tuple(max(before, now) for before, now in zip(values, after, strict=True))
            if grown == values:
                return values
            values = grown

    def _call(self, name: str, values: Kinds) -> Kinds:
        """The kinds of the results of a function."""
        key = name, tuple(values)
        if key not in self._called:
            function = self._functions[name]
            names = [argument.name for argument in function.signature.input_arg]
            given = {name: (value,) for name, value in zip(names, values, strict=True)}
            found = self.through(function.node_def, given)
            self._called[key] = tuple(
                _kind_of(function.ret[argument.name], found) for argument in function.signature.output_arg
            )
        return self._called[key]

    def _check_types(self, node: NodeDef) -> None:
        for value in node.attr.values():
            if value.WhichOneof("value") == "type" and value.type not in self._types:
                label = dtype_of_number(value.type).label
                raise _UnsafeError(f"{node.op} is of {label}, which {self._engine} computes otherwise or not at all")

    def _check_steering(self, node: NodeDef, inputs: Sequence[Kind]) -> None:
        for place in _STEERING.get(node.op, ()):
            if inputs[place] is not Kind.STEADY:
                raise _UnsafeError(f"a request says how {node.op} works, not only on what")
        place = _INDEXED.get(node.op, -1)
        if place >= 0 and inputs[place] > self._highest_index:
            raise _UnsafeError(f"{node.op} has indices that come with the request, which {self._engine} does not check")
        if node.op in _ROUNDING and inputs[0] is Kind.COMPUTED:
            raise _UnsafeError(f"{node.op} rounds what is computed, and engines differ in the last digit")
        if node.op == "OneHot" and self._engine == ONNXRUNTIME and inputs[0] is Kind.COMPUTED:
            raise _UnsafeError("OneHot has indices that are computed; ONNX Runtime counts negative ones from the end")

    def _check_integers(self, node: NodeDef, inputs: Sequence[Kind]) -> None:
        if node.op == "Cast":
            source, target = _type(node, "SrcT"), _type(node, "DstT")
            if source in _FLOATS and target not in _FLOATS:
                if target not in _WIDE_INTEGERS or inputs[0] is Kind.COMPUTED:
                    raise _UnsafeError("Cast makes an integer or a truth value of what is computed")
            elif target in _INTEGERS - _WIDE_INTEGERS:
                raise _UnsafeError("Cast makes a small integer, which engines do differently where it does not fit")
            return
        dtype = _type(node, "T")
        if dtype not in _INTEGERS:
            return
        if node.op in _REDUCING_INTEGERS:
            raise _UnsafeError(f"{node.op} of integers, which other engines compute by way of floating-point numbers")
        if node.op in _ARITHMETIC:
            is_shift = node.op in _SHIFTING and Kind.STEADY in inputs and Kind.COMPUTED not in inputs
            if dtype not in _WIDE_INTEGERS or (self._engine == OPENVINO and not is_shift):
                raise _UnsafeError(
                    f"{node.op} of integers, which may leave their range; {self._engine} goes on otherwise"
                )


def _needed(nodes: Sequence[NodeDef], tensors: Collection[str]) -> Sequence[NodeDef]:
    """The nodes that some tensors are computed by."""
    by_name = {node.name: node for node in nodes}
    waiting = [tensor.partition(":")[0] for tensor in tensors]
    found: dict[str, NodeDef] = {}
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found[name] = by_name[name]
            waiting += [source.removeprefix("^").partition(":")[0] for source in by_name[name].input]
    return list(found.values())


def _inputs(node: NodeDef, found: Mapping[str, Kinds]) -> Kinds:
    return [_kind_of(source, found) for source in node.input if not source.startswith("^")]


def _kind_of(tensor: str, found: Mapping[str, Kinds]) -> Kind:
    """The kind of `node`, `node:1` or, in a function, `node:output:1`; steady as long as it is not known."""
    parts = tensor.split(":")
    kinds = found.get(parts[0], (Kind.STEADY,))
    return kinds[int(parts[-1])] if len(parts) > 1 and len(kinds) > 1 else max(kinds, default=Kind.STEADY)


def _functions_of(node: NodeDef) -> Iterator[str]:
    """The functions among a node's attributes."""
    for value in node.attr.values():
        if value.WhichOneof("value") == "func":
            yield value.func.name
        elif value.WhichOneof("value") == "list":
            yield from (function.name for function in value.list.func)


def _type(node: NodeDef, attribute: str) -> int:
    return node.attr[attribute].type if attribute in node.attr else 0
