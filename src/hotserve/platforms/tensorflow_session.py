"""A SavedModel loaded by TensorFlow's C++ loader, the one that TensorFlow Serving uses, and run in its session."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from ctypes import c_char_p, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotserve.errors import InvalidArgument
from hotserve.platforms.tensorflow_c_api import CApi, Status, TfBuffer, TfOutput
from hotserve.platforms.tensorflow_tensors import array_of, new_tensor
from hotserve.platforms.wire_format import MemoryBytes, Message
from hotserve.protos.messages import ConfigProto, GPUOptions
from hotserve.tensors import Array, DType, dtype_of_number

_SIGNATURE_DEF: Final = 5  # MetaGraphDef
_KEY, _VALUE = 1, 2  # An entry of a map field.

# oneDNN's kernels for these end the process on an input of the wrong rank (a failed CHECK in tensor_format.h, seen in
# 2.21), where TensorFlow's own say what is wrong. Inputs of the right rank and any size are safe: tried with thousands.
RANK_SENSITIVE: Final = (
    b"AvgPool",
    b"AvgPool3D",
    b"Conv2D",
    b"Conv2DBackpropInput",
    b"Conv3D",
    b"Conv3DBackpropInputV2",
    b"DepthwiseConv2dNative",
    b"FusedBatchNorm",
    b"FusedBatchNormV2",
    b"FusedBatchNormV3",
    b"LRN",
    b"MaxPool",
    b"MaxPool3D",
    b"MaxPoolV2",
    b"MaxPoolWithArgmax",
)
# As they stand in a serialized NodeDef: field 2, `op`, with its length. Found by search, since a graph may be large.
_RANK_SENSITIVE_NODE: Final = re.compile(
    b"\x12(?:" + b"|".join(re.escape(bytes((len(op),)) + op) for op in RANK_SENSITIVE) + b")"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One output of one operation in the graph: what is fed or fetched.

    Attributes:
        name: `operation:index`.
        output: Where it is.
        dtype: Its type; of a reference, the type that it refers to.
    """

    name: str
    output: TfOutput
    dtype: DType


class Call:
    """What is fed and what is fetched, in the form that the session takes: made once, used by any thread."""

    def __init__(self, feeds: Sequence[Endpoint], fetches: Sequence[Endpoint]) -> None:
        self.feeds = tuple(feeds)
        self.fetches = tuple(fetches)
        self.feed_outputs = (TfOutput * len(feeds))(*(feed.output for feed in feeds))
        self.fetch_outputs = (TfOutput * len(fetches))(*(fetch.output for fetch in fetches))


class SavedModelSession:
    """A loaded meta graph.

    Attributes:
        signature_defs: Signature name -> serialized SignatureDef.
        is_rank_sensitive: Whether the graph has operations that must not be run on an input of the wrong rank.
    """

    def __init__(self, api: CApi, path: Path, tags: Sequence[str], config: ConfigProto) -> None:
        """Loads the meta graph, restores its variables from the checkpoint, if there is one, and runs its init op.

        Args:
            api: TensorFlow.
            path: The folder of the SavedModel.
            tags: The tags of the meta graph; exactly these.
            config: Options of the session.

        Raises:
            ServingError: TensorFlow refuses the model.
        """
        self._api = api
        serialized = config.SerializeToString()
        meta_graph = api.quick.TF_NewBuffer()
        options = api.quick.TF_NewSessionOptions()
        self._graph = api.slow.TF_NewGraph()
        self._session: int | None = None
        try:
            with Status(api) as status:
                api.quick.TF_SetConfig(options, serialized, len(serialized), status.address)
                status.check()
                self._session = api.slow.TF_LoadSessionFromSavedModel(
                    options,
                    None,
                    os.fsencode(path),
                    (c_char_p * len(tags))(*(tag.encode() for tag in tags)),
                    len(tags),
                    self._graph,
                    meta_graph,
                    status.address,
                )
            serialized_graph = _bytes_of(meta_graph.contents)
            self.signature_defs = _signature_defs(serialized_graph)
            self.is_rank_sensitive = _RANK_SENSITIVE_NODE.search(serialized_graph) is not None
        except BaseException:
            self.close()
            raise
        finally:
            api.quick.TF_DeleteSessionOptions(options)
            api.quick.TF_DeleteBuffer(meta_graph)

    def find(self, tensor_name: str) -> Endpoint:
        """Finds a tensor of the graph.

        Args:
            tensor_name: `operation:index`, or `operation` for its first output.

        Raises:
            InvalidArgument: There is none of that name.
        """
        operation_name, _, index_text = tensor_name.rpartition(":") if ":" in tensor_name else (tensor_name, "", "0")
        operation = self._api.quick.TF_GraphOperationByName(self._graph, operation_name.encode())
        if not operation:
            raise InvalidArgument(f"the graph has no operation {operation_name!r}")
        outputs = self._api.quick.TF_OperationNumOutputs(operation)
        if not index_text.isdecimal() or int(index_text) >= outputs:
            raise InvalidArgument(f"the operation {operation_name!r} has {outputs} outputs, no {tensor_name!r}")
        output = TfOutput(operation, int(index_text))
        return Endpoint(tensor_name, output, dtype_of_number(self._api.quick.TF_OperationOutputType(output)))

    def run(self, call: Call, values: Sequence[Array]) -> list[Array]:
        """Runs what `call` fetches; the calling thread works, and with it those of the session.

        Args:
            call: What is fed and fetched.
            values: One array for each of `call.feeds`, of its type.

        Returns:
            One array for each of `call.fetches`.

        Raises:
            ServingError: What TensorFlow reports.
        """
        api = self._api
        feeds = (c_void_p * len(call.feeds))()
        results = (c_void_p * len(call.fetches))()
        try:
            for position, (feed, value) in enumerate(zip(call.feeds, values, strict=True)):
                feeds[position] = new_tensor(api, value, feed.dtype)
            with Status(api) as status:
                api.slow.TF_SessionRun(
                    self._session,
                    None,
                    call.feed_outputs,
                    feeds,
                    len(feeds),
                    call.fetch_outputs,
                    results,
                    len(results),
                    None,
                    0,
                    None,
                    status.address,
                )
            return [array_of(api, result) for result in results if result]
        finally:
            for tensor in (*feeds, *results):
                if tensor:
                    api.quick.TF_DeleteTensor(tensor)

    def close(self) -> None:
        """Frees the session, its variables and the graph. Nothing may run any more."""
        try:
            if self._session:
                with Status(self._api) as status:
                    self._api.slow.TF_CloseSession(self._session, status.address)
                    # Whatever closing reports, what the session holds is freed.
                    self._api.slow.TF_DeleteSession(self._session, status.address)
        finally:
            self._api.slow.TF_DeleteGraph(self._graph)


def start_shared_threads(api: CApi, config: ConfigProto) -> bool:
    """Has TensorFlow start the threads that its sessions share, as urgent as the calling one is now; 10 ms once.

    It does so with the first session of its process. This one has no graph, and is closed again.

    Args:
        api: TensorFlow.
        config: Options of the sessions to come.

    Returns:
        Whether these have no other threads.

    Raises:
        ServingError: TensorFlow refuses the options.
    """
    if config.use_per_session_threads or config.session_inter_op_thread_pool:
        return False
    serialized = config.SerializeToString()
    options = api.quick.TF_NewSessionOptions()
    graph = api.slow.TF_NewGraph()
    try:
        with Status(api) as status:
            api.quick.TF_SetConfig(options, serialized, len(serialized), status.address)
            status.check()
            session = api.slow.TF_NewSession(graph, options, status.address)
            status.check()
            api.slow.TF_DeleteSession(session, status.address)
    finally:
        api.quick.TF_DeleteSessionOptions(options)
        api.slow.TF_DeleteGraph(graph)
    return True


def session_config(asked: ConfigProto | None = None) -> ConfigProto:
    """The options of a session.

    Args:
        asked: What is asked for; what it leaves unset is as it suits serving.

    Returns:
        A new message.
    """
    config = ConfigProto(
        # Operations run one after the other in the calling thread, which is faster unless a graph has long parallel
        # branches.
        inter_op_parallelism_threads=-1,
        # A graph that was exported with places for its operations runs where it can.
        allow_soft_placement=True,
        # Without this, the first session takes all memory of every GPU.
        gpu_options=GPUOptions(allow_growth=True),
    )
    if asked is not None:
        config.MergeFrom(asked)
    return config


def _bytes_of(buffer: TfBuffer) -> memoryview:
    """The bytes of a buffer, not copied; they live as long as it does."""
    return memoryview((ctypes.c_char * buffer.length).from_address(buffer.data)).cast("B")


def _signature_defs(meta_graph: memoryview) -> Mapping[str, bytes]:
    """The signatures in a serialized MetaGraphDef, which is not copied: its graph may be large."""
    # What TensorFlow has written itself is read as it stands.
    message = Message(MemoryBytes(meta_graph))
    signatures = {}
    for entry in message.children(_SIGNATURE_DEF):
        fields = {field.number: field for field in entry.fields()}
        value = entry.child(fields[_VALUE]) if _VALUE in fields else None
        signatures[entry.text(fields[_KEY]) if _KEY in fields else ""] = (
            value.source.read(value.start, value.end) if value else b""
        )
    return signatures
