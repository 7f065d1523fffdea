"""Tells whether two frozen signatures compute the same, by a digest in which no name of a node has a part.

A Keras model is exported with its default signature under two names, and a graph of its own for each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Final

from hotserve.protos.messages import GraphDef, NodeDef

_NAMED: Final = frozenset({"Placeholder"})
"""Operations whose name says which one of several they are."""


def digest_of(graph: GraphDef, outputs: Collection[str]) -> str:
    """The digest of a graph that is converted for one signature.

    Args:
        graph: Its placeholders have the names that `converted.py` gives to inputs.
        outputs: The names of the nodes that are its outputs.

    Returns:
        The same digits for graphs that compute the same outputs of the same inputs by the same operations; empty for a
        graph that goes round in circles, of which nothing is said.
    """
    nodes = {node.name: node for node in graph.node}
    sources = {name: [_node_of(source) for source in node.input] for name, node in nodes.items()}
    digests: dict[str, bytes] = {}
    try:
        for name in TopologicalSorter(sources).static_order():
            if name not in nodes:
                return ""
            digests[name] = _digest(nodes[name], digests)
    except CycleError:
        return ""
    whole = hashlib.blake2b(digest_size=16)
    for function in sorted(function.SerializeToString(deterministic=True) for function in graph.library.function):
        whole.update(hashlib.blake2b(function).digest())
    for name in sorted({*outputs, *(name for name, node in nodes.items() if node.op in _NAMED)}):
        whole.update(f"{name}\0".encode())
        whole.update(digests[name])
    return whole.hexdigest()


def _digest(node: NodeDef, digests: Mapping[str, bytes]) -> bytes:
    found = hashlib.blake2b(node.op.encode(), digest_size=16)
    if node.op in _NAMED:
        found.update(f"\0{node.name}".encode())
    for source in node.input:
        name = _node_of(source)
        # What is left says which output of the node it is, or that nothing is read of it.
        found.update(f"\0{source.replace(name, '', 1)}\0".encode())
        found.update(digests[name])
    for key in sorted(node.attr):
        # The others are remarks: where a node stood, what shape it was seen to have.
        if not key.startswith("_"):
            found.update(f"\0{key}\0".encode())
            found.update(hashlib.blake2b(node.attr[key].SerializeToString(deterministic=True)).digest())
    return found.digest()


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
