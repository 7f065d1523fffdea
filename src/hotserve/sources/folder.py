"""One model's base path, looked at again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hotserve.core.ids import ServableId
from hotserve.core.source import AspiredVersion
from hotserve.core.version_policy import Latest, Specific, VersionPolicy, aspired_versions
from hotserve.sources.admission import VersionAdmission
from hotserve.sources.storage import Storage
from hotserve.sources.versions import twins_among, versions_among

logger = logging.getLogger(__name__)


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
        problem: Why the base path cannot be used just now, in words for the user; empty when it can.
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
            names = self._storage.children(model.base_path)
        except OSError as error:
            self._set_problem(
                f"Could not find base path {model.base_path} for servable {model.name}:"
                f" {error.strerror or error}. It is served when it appears."
            )
            return False
        self.last_look = self._clock()
        self._found = versions_among(names)
        for number, twins in twins_among(names).items():
            self._report_once(
                f"Version {number} of servable {model.name} has several folders ({', '.join(twins)});"
                f" using {self._found[number]}."
            )
        if self._found:
            self._set_problem("")
        else:
            self._set_problem(
                f"No versions of servable {model.name} found under base path {model.base_path}."
                " Did you forget to name your leaf directory as a number (eg. '/1/')?"
            )
        return True

    def aspired(self) -> list[AspiredVersion]:
        """Looks at the folders of the versions that the policy wants, and says how they stand.

        Under `Latest`, versions that still wait do not count, so that the highest complete ones are served beside
        them until they are ready.
        """
        policy = self.model.policy
        if isinstance(policy, Specific):
            for number in sorted(set(policy.versions) - self._found.keys()):
                self._report_once(
                    f"Version {number} of servable {self.model.name}, which was requested to be served as a 'specific'"
                    " version in the servable's version policy, was not found in the file system"
                )
        if isinstance(policy, Latest):
            wanted: list[int] = []
            missing = max(1, policy.num_versions)
            for number in sorted(self._found, reverse=True):
                if missing == 0:
                    break
                wanted.append(number)
                missing -= self._look(number).waiting_for == ""
        else:
            wanted = list(aspired_versions(policy, self._found))
            for number in wanted:
                self._look(number)
        self._admissions = {number: self._admissions[number] for number in wanted}
        return [self._describe(number) for number in sorted(wanted)]

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
