"""Which of the versions that exist are aspired: pure functions of a policy and a set of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latest:
    """The highest numbers.

    Attributes:
        num_versions: How many; 0 means 1, as in `ServableVersionPolicy.Latest`.
    """

    num_versions: int = 1


@dataclass(frozen=True, slots=True)
class All:
    """Every number found."""


@dataclass(frozen=True, slots=True)
class Specific:
    """The numbers listed, where they exist.

    Attributes:
        versions: The numbers.
    """

    versions: tuple[int, ...]


VersionPolicy = Latest | All | Specific


def policy_text(policy: VersionPolicy) -> str:
    """A policy in words for the user: `latest 2`, `all`, `specific: 4, 7`."""
    match policy:
        case Latest(num_versions):
            return f"latest {max(1, num_versions)}"
        case All():
            return "all"
        case Specific(versions):
            return f"specific: {', '.join(map(str, versions)) or 'none'}"


def aspired_versions(policy: VersionPolicy, found: Iterable[int]) -> tuple[int, ...]:
    """The numbers that `policy` wants of those `found`, ascending.

    Source: FileSystemStoragePathSource's AspireLatestVersions, AspireAllVersions and AspireSpecificVersions.
    """
    ordered = sorted(set(found))
    match policy:
        case Latest(num_versions):
            return tuple(ordered[-max(1, num_versions) :])
        case All():
            return tuple(ordered)
        case Specific(versions):
            wanted = set(versions)
            return tuple(number for number in ordered if number in wanted)
