"""Requests like one that has been answered: what the checks said of that one holds for all of its kind.

Names, dtypes and shapes are all that the checks of a predict request look at, and clients send the same ones again and
again. Of a request whose kind is known nothing is left to do but to make arrays of its values. What is known is kept
with the version (`Lease.remembered`), and gone with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

from hotserve.batching.seats import Seat
from hotserve.codecs.compiled import CODES, Pattern, Place
from hotserve.core.handle import Lease
from hotserve.tensors import Array, Signature

_MAX_KINDS: Final = 1024
"""How many kinds of requests are remembered of a version; clients choose them."""


class CheckedKind:
    """What all requests of a kind have in common.

    Attributes:
        signature_name: What they call.
        signature: The signature of that name.
        outputs: The output aliases that they want.
        version: The number of the version, as metrics have it.
        places: What is known of their inputs.
        letters: The letter of each input by where its values stand; see `Place`.
        seat: Where they gather to share runs; None where they do not, or where nobody has asked.
        may_gather: Whether it is worth asking.
        pattern: Reads others of the kind that are written in JSON; None where nobody has made one.
    """

    __slots__ = (
        "letters",
        "may_gather",
        "outputs",
        "pattern",
        "places",
        "seat",
        "signature",
        "signature_name",
        "version",
    )

    def __init__(
        self, lease: Lease, signature_name: str, signature: Signature, outputs: Sequence[str], places: Sequence[Place]
    ) -> None:
        self.signature_name = signature_name
        self.signature = signature
        self.outputs = tuple(outputs)
        self.version = str(lease.id.version)
        self.places = tuple(places)
        self.letters = {index: letter for _, index, _, _, letter in places}
        self.seat: Seat | None = None
        self.may_gather = True
        self.pattern: Pattern | None = None


def remember_kind(
    lease: Lease,
    key: Hashable,
    signature_name: str,
    signature: Signature,
    outputs: Sequence[str],
    inputs: Mapping[str, Array],
    aliases: Sequence[str | None],
) -> None:
    """Remembers a request that has passed the checks: from now on `lease.remembered[key]` is its `CheckedKind`.

    Args:
        lease: The version that has answered.
        key: Whatever of the request the checks have looked at, the signature that it names and the outputs among it.
        signature_name: What was called.
        signature: The signature of that name.
        outputs: The outputs that were wanted.
        inputs: The arrays that were checked.
        aliases: The inputs in the order of the request, and None for the only one where it had no name. Those that
            are not among `inputs` were not looked at.
    """
    if signature.defaults:
        return  # the arrays that go to the engine are not only those of the request
    if len(lease.remembered) >= _MAX_KINDS:
        lease.remembered.clear()
    places = []
    for index, alias in enumerate(aliases):
        name = next(iter(inputs)) if alias is None else alias
        if name in inputs:
            array = inputs[name]
            letter = CODES.get(signature.inputs[name].dtype, "")
            places.append((name, index, array.shape, array.dtype, letter))
    lease.remembered[key] = CheckedKind(lease, signature_name, signature, outputs, places)
