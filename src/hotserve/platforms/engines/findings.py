"""What has been found out about a version: for each signature, what each engine makes of it, and how fast it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf, log
from typing import Any, Final

from hotserve.platforms.engines.domain import Domain, domain_from_json

FORMAT: Final = 3
"""Raised when what is written changes its meaning: what an earlier release has written is then not read."""


@dataclass(frozen=True, slots=True)
class EngineFinding:
    """What one engine makes of one signature.

    Attributes:
        refusal: Why it cannot run it, or how its answers differ from TensorFlow's; empty where it runs it and agrees.
        differs: Whether the reason is that its answers differ.
        domain: Which inputs it may be given; None where it is refused.
        of_tolerance: The largest difference of its answers, in parts of what is allowed.
        absolute: The largest difference between two numbers.
        seconds: Rows -> what a run takes, in seconds.
    """

    refusal: str = ""
    differs: bool = False
    domain: Domain | None = None
    of_tolerance: float = 0.0
    absolute: float = 0.0
    seconds: Mapping[int, float] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether it may answer in place of TensorFlow."""
        return not self.refusal and self.domain is not None


@dataclass(frozen=True, slots=True)
class SignatureFindings:
    """What has been found out about one signature.

    Attributes:
        number: The name of its files; signatures that compute the same have the same.
        bound: Why it stays with TensorFlow, whatever other engines do; empty where nothing binds it.
        seconds: Rows -> what a run takes in TensorFlow, in seconds.
        engines: Engine -> what it makes of it.
        trials: With how many sets of inputs it has been tried.
        alternatives: The same for inputs of other shapes than it declares; the domain of each finding has them.
        spread: How far the times can be trusted: see `timing.Times`.
        timings: How often it has been timed.
    """

    number: int = 0
    bound: str = ""
    seconds: Mapping[int, float] = field(default_factory=dict)
    engines: Mapping[str, EngineFinding] = field(default_factory=dict)
    trials: int = 0
    alternatives: Sequence[SignatureFindings] = ()
    spread: float = 0.0
    timings: int = 1

    def speed(self, engine: str) -> float:
        """How many times as fast as TensorFlow an engine is: the geometric mean over the numbers of rows."""
        finding = self.engines[engine]
        ratios = [
            seconds / finding.seconds[rows] for rows, seconds in self.seconds.items() if finding.seconds.get(rows)
        ]
        return exp(sum(map(log, ratios)) / len(ratios)) if ratios and min(ratios) > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Examination:
    """What has been found out about one version.

    Attributes:
        signatures: Signature name -> what has been found.
        versions: Engine -> the version of it that was looked at.
        made: When, in seconds since the epoch.
        took: How long it took, in seconds.
        failure: Why there is nothing in it; empty where the examination came to its end.
    """

    signatures: Mapping[str, SignatureFindings] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    made: float = 0.0
    took: float = 0.0
    failure: str = ""

    def to_json(self) -> str:
        """As it is kept in a file."""
        return json.dumps(
            {
                "format": FORMAT,
                "versions": dict(self.versions),
                "made": self.made,
                "took": self.took,
                "failure": self.failure,
                "signatures": {name: _signature_json(found) for name, found in self.signatures.items()},
            },
            indent=1,
        )


def examination_from_json(text: str) -> Examination:
    """Reads what `Examination.to_json` has made.

    Raises:
        ValueError: It is something else, or of another release.
    """
    try:
        value = json.loads(text)
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']}, expected {FORMAT}")
        return Examination(
            {str(name): _signature_from(found) for name, found in value["signatures"].items()},
            {str(name): str(version) for name, version in value["versions"].items()},
            float(value["made"]),
            float(value["took"]),
            str(value["failure"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no record of an examination: {type(error).__name__}: {error}") from error


def _signature_json(found: SignatureFindings) -> dict[str, Any]:
    return {
        "number": found.number,
        "bound": found.bound,
        "trials": found.trials,
        "seconds": {str(rows): seconds for rows, seconds in found.seconds.items()},
        "engines": {
            name: {
                "refusal": finding.refusal,
                "differs": finding.differs,
                "domain": finding.domain.to_json() if finding.domain is not None else None,
                # JSON has no infinity.
                "of_tolerance": finding.of_tolerance if finding.of_tolerance < inf else None,
                "absolute": finding.absolute,
                "seconds": {str(rows): seconds for rows, seconds in finding.seconds.items()},
            }
            for name, finding in found.engines.items()
        },
        "alternatives": [_signature_json(other) for other in found.alternatives],
        "spread": found.spread,
        "timings": found.timings,
    }


def _signature_from(value: Any) -> SignatureFindings:
    return SignatureFindings(
        int(value["number"]),
        str(value["bound"]),
        {int(rows): float(seconds) for rows, seconds in value["seconds"].items()},
        {
            str(name): EngineFinding(
                str(finding["refusal"]),
                bool(finding["differs"]),
                domain_from_json(finding["domain"]) if finding["domain"] is not None else None,
                inf if finding["of_tolerance"] is None else float(finding["of_tolerance"]),
                float(finding["absolute"]),
                {int(rows): float(seconds) for rows, seconds in finding["seconds"].items()},
            )
            for name, finding in value["engines"].items()
        },
        int(value["trials"]),
        tuple(_signature_from(other) for other in value["alternatives"]),
        float(value["spread"]),
        int(value["timings"]),
    )
