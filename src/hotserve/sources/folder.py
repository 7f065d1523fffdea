"""One model's base path, looked at again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredVersion
from hotserve.core.version_policy import Latest, Specific, VersionPolicy, aspired_versions
from hotserve.sources.admission import VersionAdmission
from hotserve.sources.storage import Storage
from hotserve.sources.versions import twins_among, version_number, versions_among

logger = logging.getLogger(__name__)

_MOST_NAMES = 5
"""So many of the files in a base path without versions are named."""


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """What to look for.

    Attributes:
        name: The model.
        base_path: The folder that holds the version folders; need not exist.
        policy: Which versions are wanted.
        platform: What `missing_parts` is told beside the folder: the platform that the versions are expected to be of,
            if one is; nothing else is made of it here.
    """

    name: str
    base_path: Path
    policy: VersionPolicy
    platform: str = ""


MissingParts = Callable[[Path, str], str | None]
"""Says what a version folder lacks to be a whole model of the platform given, if any; None for nothing."""


class ModelFolder:
    """Turns what a base path holds into aspired versions.

    Attributes:
        problem: Why the base path cannot be used just now, or has no version that the policy wants, in words for the
            user; empty when it can.
        last_look: When the base path was last read, in seconds since the epoch; 0 if it never was.
    """

    def __init__(
        self,
        model: WatchedModel,
        storage: Storage,
        missing_parts: MissingParts,
        clock: Callable[[], float],
    ) -> None:
        self.model = model
        self.problem = ""
        self.last_look = 0.0
        self._storage = storage
        self._missing_parts = missing_parts
        self._clock = clock
        self._found: Mapping[int, str] = {}
        self._admissions: dict[int, VersionAdmission] = {}
        self._reported: set[str] = set()
        self._names_without_version: tuple[str, ...] = ()
        self._told: set[int] = set()

    def set_policy(self, policy: VersionPolicy) -> None:
        """Wants other versions of the same folder; what is known of them is kept."""
        self.model = replace(self.model, policy=policy)

    def find(self) -> bool:
        """Looks which versions there are.

        Returns:
            Whether the base path could be read. If not, nothing is known, and nothing may be concluded: a storage
            that is away unloads nothing.
        """
        model = self.model
        try:
            names = tuple(self._storage.children(model.base_path))
        except OSError as error:
            outlook = "appears" if isinstance(error, FileNotFoundError) else "can be read"
            self._set_problem(
                f"Could not find base path {model.base_path} for servable {model.name}:"
                f" {error.strerror or error}. It is served when it {outlook}."
            )
            return False
        self.last_look = self._clock()
        self._found = versions_among(names)
        for number, twins in twins_among(names).items():
            self._report_once(
                f"Version {number} of servable {model.name} has several folders ({', '.join(twins)});"
                f" using {self._found[number]}."
            )
        if not self._found:
            if names != self._names_without_version or not self.problem:
                self._set_problem(self._no_version(names))
        elif missing := self._nothing_of_the_policy():
            self.problem = missing  # `aspired` logs each of the versions
        else:
            self._set_problem("")
        self._names_without_version = () if self._found else names
        return True

    def aspired(self) -> list[AspiredVersion]:
        """Looks at the folders of the versions that the policy wants, and says how they stand.

        Under `Latest`, versions that still wait do not count, so that the highest complete ones are served beside
        them until they are ready. Of lower ones that may have to stand in, those that have only just appeared are
        looked at and not told: by the next look, they are seldom wanted, and no status should name them then.
        """
        policy = self.model.policy
        if isinstance(policy, Specific):
            for number in self._missing_of(policy):
                self._report_once(self._not_there(number))
        untold: set[int] = set()
        if isinstance(policy, Latest):
            wanted: list[int] = []
            most = max(1, policy.num_versions)
            missing = most
            for number in sorted(self._found, reverse=True):
                if missing == 0:
                    break
                admission = self._look(number)
                if len(wanted) >= most and admission.is_settling and number not in self._told:
                    untold.add(number)
                wanted.append(number)
                missing -= admission.waiting_for == ""
        else:
            wanted = list(aspired_versions(policy, self._found))
            for number in wanted:
                self._look(number)
        self._admissions = {number: self._admissions[number] for number in wanted}
        for number in wanted:
            self._report_stuck(number)
            if self._admissions[number].has_changed:
                self._report_once(
                    f"The files of version {number} of servable {self.model.name} have changed. A version that serves"
                    " is not loaded again: give another model a number of its own."
                )
        self._told = set(wanted) - untold
        return [self._describe(number) for number in sorted(self._told)]

    @property
    def is_pending(self) -> bool:
        """Whether some version is on its way in, so that another look soon is worth it."""
        return any(admission.is_pending for admission in self._admissions.values())

    def _look(self, number: int) -> VersionAdmission:
        path = self.model.base_path / self._found[number]
        admission = self._admissions.get(number)
        if admission is None or admission.path != path:
            admission = VersionAdmission(path, self._storage, self._what_is_missing, self._clock)
            self._admissions[number] = admission
        admission.look()
        return admission

    def _report_stuck(self, number: int) -> None:
        admission = self._admissions[number]
        if admission.is_stuck:
            reason = " ".join(admission.waiting_for.splitlines()).rstrip(".")
            self._report_once(
                f"Version {number} of servable {self.model.name} is not loaded, because it is not complete: {reason}."
                " It is looked at again and again."
            )

    def _no_version(self, names: Sequence[str]) -> str:
        model = self.model
        text = (
            f"No versions of servable {model.name} found under base path {model.base_path}."
            " Did you forget to name your leaf directory as a number (eg. '/1/')?"
        )
        if not self._is_model_itself():
            there = ", ".join(sorted(names)[:_MOST_NAMES])
            more = len(names) - _MOST_NAMES
            return f"{text} There is: {there}{f', and {more} more' if more > 0 else ''}." if there else text
        if version_number(model.base_path.name) is not None:
            return f"{text} The folder is a version itself: give {model.base_path.parent} as the base path."
        return (
            f"{text} The folder holds a model itself: move that into a folder of its version, {model.base_path / '1'}."
        )

    def _is_model_itself(self) -> bool:
        try:
            return self._missing_parts(self.model.base_path, self.model.platform) is None
        except OSError:  # a file that cannot be read: then there is no more to say
            return False

    def _nothing_of_the_policy(self) -> str:
        policy = self.model.policy
        if not isinstance(policy, Specific) or not policy.versions:
            return ""
        missing = self._missing_of(policy)
        if len(missing) < len(set(policy.versions)):
            return ""
        there = ", ".join(str(number) for number in sorted(self._found))
        return (
            f"{'. '.join(self._not_there(number) for number in missing)}. Versions in {self.model.base_path}: {there}."
        )

    def _missing_of(self, policy: Specific) -> list[int]:
        return sorted(set(policy.versions) - self._found.keys())

    def _not_there(self, number: int) -> str:
        return (
            f"Version {number} of servable {self.model.name}, which was requested to be served as a 'specific'"
            " version in the servable's version policy, was not found in the file system"
        )

    def _what_is_missing(self, path: Path) -> str | None:
        return self._missing_parts(path, self.model.platform)

    def _describe(self, number: int) -> AspiredVersion:
        admission = self._admissions[number]
        return AspiredVersion(
            ServableId(self.model.name, number), admission.path, admission.fingerprint, admission.waiting_for
        )

    def _set_problem(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            if problem:
                logger.warning("%s", problem)

    def _report_once(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            logger.warning("%s", message)
