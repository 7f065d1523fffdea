"""Takes the signatures of a SavedModel out of it, as graphs that other engines read; a program of its own.

    python -m hotserve.platforms.engines.conversion SAVED_MODEL TARGET TAGS SIGNATURES [--declared]

TAGS and SIGNATURES are lists in JSON; with --declared, no other shapes than declared are tried. Each of the signatures
becomes TARGET/<number>.pb, a frozen GraphDef, and TARGET/<number>.onnx where tf2onnx is installed and can convert it;
two signatures that compute the same have the same files. Where TensorFlow takes inputs of other shapes than declared,
there are such files for those, too. TARGET/conversion.json says which signature has which number, and why there is no
file where there is none. The inputs are named `in_0`, `in_1`, ... and the outputs `out_0`, ..., in the order of the
sorted aliases, so that nothing depends on what an engine makes of TensorFlow's names.

It is a process of its own because it needs TensorFlow's Python package, which takes seconds and half a gigabyte, and
because a converter that ends the process must not end a server with it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

# Before TensorFlow is imported: it reads this once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Where there is a GPU, it belongs to the server.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.grappler import tf_optimizer

try:
    from tf2onnx.convert import from_graph_def
except ImportError:
    from_graph_def = None

from hotserve.platforms.engines.apart import stand_back
from hotserve.platforms.engines.converted import (
    DECLARED_ONLY,
    ConvertedAlternative,
    ConvertedSignature,
    input_name,
    output_name,
    write_conversion,
)
from hotserve.platforms.engines.graph_digest import digest_of
from hotserve.platforms.engines.other_shapes import PROBES, other_shapes, sized
from hotserve.platforms.tensorflow_session import RANK_SENSITIVE
from hotserve.tensors import Shape

logger = logging.getLogger(__name__)

OPSET = 18
"""The version of ONNX's operators: read by every ONNX Runtime that hotserve takes."""

_AGAINST_INLINING = ("_XlaMustCompile", "_noinline", "api_implements", "api_preferred_device")

_REMARKS = ("_output_shapes",)
"""What was known of the shapes when the model was saved, which need not hold for inputs of other shapes."""

_MAX_PROTOBUF_BYTES = 2**31 - 1

MAX_ALTERNATIVE_BYTES = 8 << 20
"""A larger signature is served for the shapes that it declares only: for each other, an engine has all of its constants
once more."""

NO_CONVERTER = "tf2onnx is not installed; pip install 'hotserve[engines]'"


def convert_saved_model(
    source: Path, target: Path, tags: Sequence[str], names: Sequence[str], declared_only: bool = False
) -> None:
    """Writes what can be made of each signature, and what cannot.

    Args:
        source: The folder of the SavedModel.
        target: A folder that exists.
        tags: Those of the meta graph.
        names: The signatures. They are run, too, so that none of them may have effects.
        declared_only: Whether no other shapes than declared are tried, so that nothing is run.

    Raises:
        Exception: Whatever TensorFlow raises where the SavedModel cannot be loaded.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        meta_graph = v1.saved_model.load(session, list(tags), str(source))
        conversion = _Conversion(session, target, declared_only)
        converted = [conversion.convert(name, meta_graph.signature_def[name]) for name in sorted(names)]
    write_conversion(target, converted)


class _Conversion:
    """Converts the signatures of a session, one after the other."""

    def __init__(self, session: Any, target: Path, declared_only: bool) -> None:
        self._declared_only = declared_only
        self._session = session
        self._target = target
        self._numbers: Iterator[int] = count()
        self._known: dict[tuple[object, ...], ConvertedSignature] = {}

    def convert(self, name: str, signature: Any) -> ConvertedSignature:
        """Writes what can be made of a signature."""
        number = next(self._numbers)
        try:
            frozen = _freeze(self._session, signature)
        except Exception as error:  # noqa: BLE001  # TensorFlow's converters raise all kinds
            reason = f"it cannot be frozen: {_short(error)}"
            return ConvertedSignature(name, number, {"openvino": reason, "onnxruntime": reason})
        digest = digest_of(frozen, [output_name(place) for place in range(len(signature.outputs))])
        key = digest, *_aliases(signature)
        same = self._known.get(key)
        if same is not None:
            return ConvertedSignature(name, same.number, same.refusals, same.alternatives)
        refusals = self._write(frozen, signature, number)
        converted = ConvertedSignature(name, number, refusals, list(self._alternatives(frozen, signature)))
        if digest:
            self._known[key] = converted
        return converted

    def _write(self, frozen: Any, signature: Any, number: int) -> Mapping[str, str]:
        """Writes the files of a frozen signature; returns why there are none, by engine."""
        (self._target / f"{number}.pb").write_bytes(frozen.SerializeToString())
        reason = _to_onnx(frozen, signature, self._target / f"{number}.onnx")
        return {"onnxruntime": reason} if reason else {}

    def _alternatives(self, frozen: Any, signature: Any) -> Iterator[ConvertedAlternative]:
        """What can be made of a signature for other shapes than it declares; changes the frozen one."""
        if self._declared_only or frozen.ByteSize() > MAX_ALTERNATIVE_BYTES:
            return
        declared = {
            alias: None
            if info.tensor_shape.unknown_rank
            else tuple(dimension.size if dimension.size >= 0 else None for dimension in info.tensor_shape.dim)
            for alias, info in signature.inputs.items()
        }
        for shapes in other_shapes(declared, are_ranks_free=not _is_rank_sensitive(self._session.graph)):
            if not self._takes(signature, shapes):
                continue
            number = next(self._numbers)
            _reshape(frozen, shapes)
            yield ConvertedAlternative(number, shapes, self._write(frozen, signature, number))

    def _takes(self, signature: Any, shapes: Mapping[str, Shape]) -> bool:
        """Whether TensorFlow takes ones of these shapes, in several sizes."""
        infos = [signature.inputs[alias] for alias in shapes]
        try:
            # `Session.run` would compare with the shapes of the graph's placeholders, which nothing else does.
            run = self._session._make_callable_from_options(
                config_pb2.CallableOptions(
                    feed=[info.name for info in infos], fetch=[info.name for info in signature.outputs.values()]
                )
            )
            for rows, size in PROBES if any(None in shape for shape in shapes.values()) else PROBES[:1]:
                run(
                    *(
                        np.ones(sized(shape, rows, size), tf.as_dtype(info.dtype).as_numpy_dtype)
                        for info, shape in zip(infos, shapes.values(), strict=True)
                    )
                )
        except Exception as error:  # noqa: BLE001  # whatever it is, they are not taken
            logger.debug("TensorFlow does not take inputs of %s: %s", shapes, _short(error))
            return False
        return True


def _aliases(signature: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sorted(signature.inputs)), tuple(sorted(signature.outputs))


def _is_rank_sensitive(graph: Any) -> bool:
    """Whether the graph has operations that end the process on an input of another rank."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return any(node.op.encode() in RANK_SENSITIVE for node in nodes)


def _reshape(frozen: Any, shapes: Mapping[str, Shape]) -> None:
    """Gives the placeholders of a frozen signature other shapes."""
    _drop(frozen, _REMARKS)
    wanted = {input_name(place): shapes[alias] for place, alias in enumerate(sorted(shapes))}
    for node in frozen.node:
        if node.name in wanted:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(wanted[node.name]).as_proto())


def _freeze(session: Any, signature: Any) -> Any:
    """A GraphDef of one signature with its variables as constants, and placeholders where it is fed."""
    graph = session.graph.as_graph_def()
    _drop(graph, _AGAINST_INLINING)
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
        _spell_erfc_out(frozen)
        model, _ = from_graph_def(frozen, name="signature", input_names=inputs, output_names=outputs, opset=OPSET)
        file.write_bytes(model.SerializeToString())
    except Exception as error:  # noqa: BLE001  # tf2onnx raises all kinds
        return f"tf2onnx cannot convert it: {_short(error)}"
    return ""


def _spell_erfc_out(frozen: Any) -> None:
    """Replaces `Erfc`, which the exact GELU is made of and ONNX has no word for, by one less `Erf`.

    Far out it has fewer correct digits, in numbers that are next to nothing beside the others; whether that is within
    what is allowed, the comparison tells.
    """
    for node in [node for node in frozen.node if node.op == "Erfc"]:
        dtype = node.attr["T"].type
        one = frozen.node.add(name=f"{node.name}/one", op="Const")
        one.attr["dtype"].type = dtype
        one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0, dtype))
        erf = frozen.node.add(name=f"{node.name}/erf", op="Erf", input=node.input)
        erf.attr["T"].type = dtype
        node.op = "Sub"
        del node.input[:]
        node.input.extend([one.name, erf.name])


def _inlined(graph: Any, feeds: Sequence[str], fetches: Sequence[str]) -> Any:
    """The graph with the bodies of functions in place of their calls, as far as it is needed for `fetches`."""
    config = tf.compat.v1.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.optimizers[:] = ["pruning", "function", "pruning"]
    # Also of calls that might have effects: signatures that have any are not converted.
    rewriting.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    rewriting.min_graph_nodes = -1
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


def _drop(graph: Any, attributes: Sequence[str]) -> None:
    """Takes attributes away from all nodes and functions of a graph.

    Keras marks its LSTM and GRU as one of two implementations to choose from, and grouped convolutions as something for
    XLA; both are ordinary functions, which other engines only know as such.
    """
    carriers = list(graph.node)
    for function in graph.library.function:
        carriers += [function, *function.node_def]
    for carrier in carriers:
        for name in attributes:
            if name in carrier.attr:
                del carrier.attr[name]


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
    source, target, tags, names, *rest = arguments
    convert_saved_model(Path(source), Path(target), json.loads(tags), json.loads(names), DECLARED_ONLY in rest)


if __name__ == "__main__":
    main(sys.argv[1:])
