"""The private descriptor pool that all messages of hotserve live in.

TensorFlow registers `tensorflow.TensorProto` and its kin in protobuf's default pool when it is imported, and a pool
refuses a second definition of a name. Ours are in a pool of their own, so both can be in one process, in any order.
A message of one pool is none of the other: hand bytes over, not messages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from google.protobuf import any_pb2, descriptor_pb2, wrappers_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

# Made of the .proto files beside it by scripts/compile_protos.py.
DESCRIPTOR_SET: Final = Path(__file__).with_name("messages.binpb")


def load_pool(descriptor_set: bytes) -> DescriptorPool:
    """Makes a pool of its own from a compiled set of .proto files.

    Args:
        descriptor_set: A serialized `google.protobuf.FileDescriptorSet`, each file after those it imports; of the
            well-known types, only `any.proto` and `wrappers.proto` may be imported.
    """
    pool = DescriptorPool()
    # The well-known types come from the installed protobuf: the set does not depend on the version of a compiler.
    for well_known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(well_known.DESCRIPTOR.serialized_pb)
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL: Final = load_pool(DESCRIPTOR_SET.read_bytes())


def message_class(full_name: str) -> type[Message]:
    """The class of a message in the private pool.

    Args:
        full_name: With its package, e.g. `tensorflow.TensorProto`.

    Raises:
        KeyError: No .proto file of ours defines it.
    """
    return GetMessageClass(POOL.FindMessageTypeByName(full_name))
