"""Version labels: names such as `stable` that stand for a version number of one model."""

from __future__ import annotations

from collections.abc import Mapping

from hotserve.core.ids import ServableId
from hotserve.errors import InvalidArgument


class Labels:
    """Which version each label of each model stands for.

    A label takes effect when its version becomes AVAILABLE for the first time. TensorFlow Serving refuses to start
    with a label on a version that is not loaded yet, which at the start is every version; we wait instead.
    """

    def __init__(self, *, allow_unavailable: bool = False) -> None:
        """Makes an empty map.

        Args:
            allow_unavailable: Labels take effect at once, whether or not their version is AVAILABLE
                (`--allow_version_labels_for_unavailable_models`).
        """
        self._allow_unavailable = allow_unavailable
        self._configured: dict[str, Mapping[str, int]] = {}
        self._seen: set[ServableId] = set()

    def configure(self, name: str, labels: Mapping[str, int]) -> None:
        """Replaces all labels of a model."""
        self._configured[name] = dict(labels)

    def on_available(self, id: ServableId) -> None:
        """Lets the labels of this version take effect."""
        self._seen.add(id)

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
        if not self._allow_unavailable and ServableId(name, version) not in self._seen:
            raise InvalidArgument(
                f"Unrecognized servable version label: {label}. It is configured for version {version} of model"
                f" {name} and takes effect when that version becomes AVAILABLE."
            )
        return version
