"""Which engine serves each signature, by what has been found out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hotserve.platforms.engines.engine import AUTO, TENSORFLOW
from hotserve.platforms.engines.findings import Examination, SignatureFindings

WORTH_IT: Final = 1.1
"""How many times as fast as TensorFlow an engine has to be to be chosen by itself."""


_ENOUGH_TIMINGS: Final = 3
"""How often a signature is timed at most, in different starts of a server."""

_WIDE: Final = 0.5
"""The spread from which on times say little, however far apart they are."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What serves one signature.

    Attributes:
        engine: Its name.
        reason: Why, in words for the user.
        alternatives: What serves inputs of other shapes than the signature declares, for each of those that have been
            examined, in the order of the findings.
    """

    engine: str
    reason: str
    alternatives: Sequence[Choice] = ()


def choose(examination: Examination, wanted: str, available: Collection[str]) -> Mapping[str, Choice]:
    """Chooses for every signature.

    Args:
        examination: What has been found out.
        wanted: `auto` for the fastest of those that agree with TensorFlow, where it is worth it; or the one engine that
            is used wherever it agrees.
        available: The engines that there are here.

    Returns:
        Signature name -> choice.
    """
    return {name: _choose_all(found, wanted, available) for name, found in examination.signatures.items()}


def is_doubtful(examination: Examination, available: Collection[str]) -> bool:
    """Whether measuring once more might lead to another choice, by itself.

    It may where the two best, TensorFlow among them, are closer to each other than the measurements were to themselves,
    or where these were far apart: the machine was busy. It does no more after some measurements.

    Args:
        examination: What has been found out.
        available: The engines that there are here.
    """
    return any(_is_doubtful(found, available) for found in examination.signatures.values())


def _is_doubtful(found: SignatureFindings, available: Collection[str]) -> bool:
    if found.bound or found.timings >= _ENOUGH_TIMINGS:
        return False
    speeds = [found.speed(name) for name, finding in found.engines.items() if finding.agrees and name in available]
    if not speeds:
        return False
    best, second = sorted([*speeds, WORTH_IT], reverse=True)[:2]
    return found.spread > _WIDE or best < second * (1 + found.spread)


def _choose_all(found: SignatureFindings, wanted: str, available: Collection[str]) -> Choice:
    choice = _choose(found, wanted, available)
    return replace(choice, alternatives=tuple(_choose(other, wanted, available) for other in found.alternatives))


def _choose(found: SignatureFindings, wanted: str, available: Collection[str]) -> Choice:
    if found.bound:
        return Choice(TENSORFLOW, found.bound)
    agreeing = {
        name: found.speed(name) for name, finding in found.engines.items() if finding.agrees and name in available
    }
    if wanted not in (AUTO, TENSORFLOW):
        if wanted in agreeing:
            return Choice(wanted, f"--engine says so; {agreeing[wanted]:.1f} times as fast as TensorFlow")
        finding = found.engines.get(wanted)
        return Choice(TENSORFLOW, finding.refusal if finding is not None else f"{wanted} has not been tried")
    best = max(agreeing, key=lambda name: agreeing[name], default="")
    if best and agreeing[best] >= WORTH_IT:
        return Choice(best, f"{agreeing[best]:.1f} times as fast as TensorFlow")
    if best:
        return Choice(TENSORFLOW, f"{best} is only {agreeing[best]:.1f} times as fast")
    reasons = "; ".join(f"{name}: {finding.refusal}" for name, finding in sorted(found.engines.items()))
    return Choice(TENSORFLOW, reasons or "no other engine has been tried")
