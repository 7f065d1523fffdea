"""Version labels: names such as `stable` that stand for a version number of one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hotserve.core.ids import ServableId
from hotserve.errors import FailedPrecondition, InvalidArgument


def _nobody() -> None:
    """Hears of no change."""


class Labels:
    """Which version each label of each model stands for.

    A label takes effect when its version becomes AVAILABLE for the first time. TensorFlow Serving refuses to start
    with a label on a version that is not loaded yet, which at the start is every version; we wait instead.

    Attributes:
        on_change: Is called, on any thread, after a label may have come to stand for another version.
    """

    def __init__(self, *, allow_unavailable: bool = False) -> None:
        """Makes an empty map.

        Args:
            allow_unavailable: Labels take effect at once, whether or not their version is AVAILABLE
                (`--allow_version_labels_for_unavailable_models`).
        """
        self._allow_unavailable = allow_unavailable
        self.on_change: Callable[[], None] = _nobody
        self._configured: dict[str, Mapping[str, int]] = {}
        self._seen: set[ServableId] = set()

    def configure(self, name: str, labels: Mapping[str, int]) -> None:
        """Replaces all labels of a model."""
        self._configured[name] = dict(labels)
        self.on_change()

    def check(self, name: str, labels: Mapping[str, int], is_available: Callable[[int], bool]) -> None:
        """Refuses labels that would lead clients who use them now to a version that does not answer.

        A label that is new, or has not taken effect yet, may name any version and waits for it. TensorFlow Serving
        refuses those too, so that a version and its label take two reloads there, and refuses every later reload once
        the version of a label is gone; neither protects anybody.

        Args:
            name: The model.
            labels: All its labels, as they shall be.
            is_available: Whether a version of the model is AVAILABLE now.

        Raises:
            FailedPrecondition: A label that is in effect is to stand for a version that is not AVAILABLE.

        Source: ServerCore::UpdateModelVersionLabelMap in tensorflow_serving/model_servers/server_core.cc.
        """
        current = self._configured.get(name, {})
        for label, version in labels.items():
            before = current.get(label)
            if before is None or before == version or not self._is_in_effect(name, before) or is_available(version):
                continue
            raise FailedPrecondition(
                f"Request to assign label to version {version} of model {name}, which is not currently available for"
                f" inference. Label {label} stands for version {before}, and requests that name it would fail: load"
                f" version {version} first (its policy must want it), then move the label."
            )

    def remove(self, name: str) -> None:
        """Forgets the labels of a model that is no longer served."""
        self._configured.pop(name, None)
        self.on_change()

    def on_available(self, id: ServableId) -> None:
        """Lets the labels of this version take effect."""
        self._seen.add(id)
        self.on_change()

    def resolve(self, name: str, label: str) -> int:
        """The version that a label stands for.

        Raises:
            InvalidArgument: The model has no such label, or its version has never been AVAILABLE.
        """
        labels = self._configured.get(name, {})
        version = labels.get(label)
        if version is None:
            known = ", ".join(sorted(labels)) or "none"
            raise InvalidArgument(f"Unrecognized servable version label: {label}. Labels of model {name}: {known}.")
        if not self._is_in_effect(name, version):
            raise InvalidArgument(
                f"Unrecognized servable version label: {label}. It is configured for version {version} of model"
                f" {name} and takes effect when that version becomes AVAILABLE."
            )
        return version

    def _is_in_effect(self, name: str, version: int) -> bool:
        return self._allow_unavailable or ServableId(name, version) in self._seen
