"""Takes the signatures of a SavedModel out of it, as graphs that other engines read; a program of its own.

    python -m hotserve.platforms.engines.conversion SAVED_MODEL TARGET TAG [TAG ...]

Each signature becomes TARGET/<number>.pb, a frozen GraphDef, and TARGET/<number>.onnx where tf2onnx is installed and
can convert it. TARGET/conversion.json says which signature has which number, and why there is no file where there is
none. The inputs are named `in_0`, `in_1`, ... and the outputs `out_0`, ..., in the order of the sorted aliases, so
that nothing depends on what an engine makes of TensorFlow's names.

It is a process of its own because it needs TensorFlow's Python package, which takes seconds and half a gigabyte, and
because a converter that ends the process must not end a server with it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before TensorFlow is imported: it reads this once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Where there is a GPU, it belongs to the server.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.grappler import tf_optimizer

try:
    from tf2onnx.convert import from_graph_def
except ImportError:
    from_graph_def = None

from hotserve.platforms.engines.apart import stand_back
from hotserve.platforms.engines.converted import ConvertedSignature, input_name, output_name, write_conversion

OPSET = 18
"""The version of ONNX's operators: read by every ONNX Runtime that hotserve takes."""

_AGAINST_INLINING = ("_XlaMustCompile", "_noinline", "api_implements", "api_preferred_device")

_MAX_PROTOBUF_BYTES = 2**31 - 1

NO_CONVERTER = "tf2onnx is not installed; pip install 'hotserve[engines]'"


def convert_saved_model(source: Path, target: Path, tags: Sequence[str]) -> None:
    """Writes what can be made of each signature, and what cannot.

    Args:
        source: The folder of the SavedModel.
        target: A folder that exists.
        tags: Those of the meta graph.

    Raises:
        Exception: Whatever TensorFlow raises where the SavedModel cannot be loaded.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    converted = []
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        meta_graph = v1.saved_model.load(session, list(tags), str(source))
        for number, name in enumerate(sorted(meta_graph.signature_def)):
            signature = meta_graph.signature_def[name]
            try:
                frozen = _freeze(session, signature)
                serialized = frozen.SerializeToString()
            except Exception as error:  # noqa: BLE001  # TensorFlow's converters raise all kinds
                reason = f"it cannot be frozen: {_short(error)}"
                converted.append(ConvertedSignature(name, number, {"openvino": reason, "onnxruntime": reason}))
                continue
            (target / f"{number}.pb").write_bytes(serialized)
            reason = _to_onnx(frozen, signature, target / f"{number}.onnx")
            converted.append(ConvertedSignature(name, number, {"onnxruntime": reason} if reason else {}))
    write_conversion(target, converted)


def _freeze(session: Any, signature: Any) -> Any:
    """A GraphDef of one signature with its variables as constants, and placeholders where it is fed."""
    graph = session.graph.as_graph_def()
    for info in (*signature.inputs.values(), *signature.outputs.values()):
        if info.WhichOneof("encoding") != "name":
            raise ValueError("an input or output is sparse or composite")
    if not signature.inputs or not signature.outputs:
        raise ValueError("it has no inputs, or no outputs")
    replaced: dict[str, str] = {}
    for place, alias in enumerate(sorted(signature.inputs)):
        info = signature.inputs[alias]
        node = graph.node.add(name=input_name(place), op="Placeholder")
        node.attr["dtype"].type = session.graph.get_tensor_by_name(info.name).dtype.base_dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(info.tensor_shape)
        replaced[_canonical(info.name)] = input_name(place)
    for node in graph.node:
        for position, source in enumerate(node.input):
            if not source.startswith("^") and _canonical(source) in replaced:
                node.input[position] = replaced[_canonical(source)]
    outputs = []
    for place, alias in enumerate(sorted(signature.outputs)):
        info = signature.outputs[alias]
        # A node of its own: what is fetched of a call of a function would keep the function from being inlined.
        node = graph.node.add(name=output_name(place), op="Identity")
        node.input.append(replaced.get(_canonical(info.name), info.name))
        node.attr["T"].type = session.graph.get_tensor_by_name(info.name).dtype.base_dtype.as_datatype_enum
        outputs.append(node.name)
    feeds = [input_name(place) for place in range(len(signature.inputs))]
    frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, _inlined(graph, feeds, outputs), outputs)
    # An input that nothing depends on is left out, but is fed all the same.
    there = {node.name for node in frozen.node}
    by_name = {node.name: node for node in graph.node}
    for name in replaced.values():
        if name not in there:
            frozen.node.add().CopyFrom(by_name[name])
    if frozen.ByteSize() > _MAX_PROTOBUF_BYTES:
        raise ValueError("it is larger than 2 GB")
    return frozen


def _to_onnx(frozen: Any, signature: Any, file: Path) -> str:
    """Writes a frozen signature as an ONNX model; returns why it cannot be, where that is so."""
    if from_graph_def is None:
        return NO_CONVERTER
    inputs = [f"{input_name(place)}:0" for place in range(len(signature.inputs))]
    outputs = [f"{output_name(place)}:0" for place in range(len(signature.outputs))]
    try:
        model, _ = from_graph_def(frozen, name="signature", input_names=inputs, output_names=outputs, opset=OPSET)
        file.write_bytes(model.SerializeToString())
    except Exception as error:  # noqa: BLE001  # tf2onnx raises all kinds
        return f"tf2onnx cannot convert it: {_short(error)}"
    return ""


def _inlined(graph: Any, feeds: Sequence[str], fetches: Sequence[str]) -> Any:
    """The graph with the bodies of functions in place of their calls, as far as it is needed for `fetches`."""
    config = tf.compat.v1.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.optimizers[:] = ["pruning", "function", "pruning"]
    # Also of calls that might have effects: signatures that have any are not converted.
    rewriting.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    rewriting.min_graph_nodes = -1
    _allow_inlining(graph)
    meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph)
    kept = meta_graph.collection_def["train_op"].node_list.value
    kept.extend([*feeds, *fetches])
    inlined = tf_optimizer.OptimizeGraph(config, meta_graph)
    _hand_resources_on(inlined.node, ":0")
    for function in inlined.library.function:
        _hand_resources_on(function.node_def, ":output:0")
    return inlined


def _hand_resources_on(nodes: Any, suffix: str) -> None:
    """Lets whoever uses a variable ask where it comes from: the freezing does not see through identities.

    Args:
        nodes: The nodes of a graph or of a function.
        suffix: How the output of an identity is named in there, after its own name.
    """
    origin = {
        node.name: node.input[0]
        for node in nodes
        if node.op == "Identity" and node.attr["T"].type == tf.resource.as_datatype_enum
    }
    for node in nodes:
        for position, source in enumerate(node.input):
            found = source
            while found.removesuffix(suffix) in origin:
                found = origin[found.removesuffix(suffix)]
            node.input[position] = found


def _allow_inlining(graph: Any) -> None:
    """Takes away what asks that functions stay as they are.

    Keras marks its LSTM and GRU as one of two implementations to choose from, and grouped convolutions as something for
    XLA; both are ordinary functions, which other engines only know as such.
    """
    for function in graph.library.function:
        for carrier in (function, *function.node_def):
            _drop(carrier.attr)
    for node in graph.node:
        _drop(node.attr)


def _drop(attributes: Any) -> None:
    for name in _AGAINST_INLINING:
        if name in attributes:
            del attributes[name]


def _canonical(tensor: str) -> str:
    """The name of a tensor with its output's index: `x` is `x:0`."""
    return tensor if ":" in tensor else f"{tensor}:0"


def _short(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or ['no reason given'])[0][:300]}"


def main(arguments: Sequence[str]) -> None:
    """The program."""
    stand_back()
    source, target, *tags = arguments
    convert_saved_model(Path(source), Path(target), tags)


if __name__ == "__main__":
    main(sys.argv[1:])
