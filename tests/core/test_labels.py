from __future__ import annotations

import pytest

from hotserve.core.ids import ServableId
from hotserve.core.labels import Labels
from hotserve.errors import FailedPrecondition, InvalidArgument


def test_a_label_stands_for_its_version_once_that_has_been_available() -> None:
    labels = Labels()
    labels.configure("m", {"stable": 1, "canary": 2})
    labels.on_available(ServableId("m", 1))
    assert labels.resolve("m", "stable") == 1


def test_a_label_of_a_version_that_was_never_available_is_refused_and_says_when_it_takes_effect() -> None:
    labels = Labels()
    labels.configure("m", {"canary": 2})
    labels.on_available(ServableId("m", 1))
    labels.on_available(ServableId("other", 2))
    with pytest.raises(InvalidArgument) as refused:
        labels.resolve("m", "canary")
    assert refused.value.message == (
        "Unrecognized servable version label: canary. It is configured for version 2 of model m and takes effect when"
        " that version becomes AVAILABLE."
    )


def test_whoever_wants_to_know_is_told_after_each_change() -> None:
    labels = Labels()
    seen = []

    def look() -> None:
        try:
            seen.append(labels.resolve("m", "stable"))
        except InvalidArgument:
            seen.append(0)

    labels.on_change = look
    labels.configure("m", {"stable": 1})
    labels.on_available(ServableId("m", 1))
    labels.remove("m")
    assert seen == [0, 1, 0]


def test_an_unknown_label_is_refused_with_those_that_exist() -> None:
    labels = Labels()
    labels.configure("m", {"stable": 1, "canary": 2})
    with pytest.raises(InvalidArgument) as refused:
        labels.resolve("m", "latest")
    assert refused.value.message == ("Unrecognized servable version label: latest. Labels of model m: canary, stable.")


@pytest.mark.parametrize("name", ["m", "unknown"])
def test_a_label_of_a_model_without_labels_is_refused(name: str) -> None:
    labels = Labels()
    labels.configure("m", {})
    labels.configure("other", {"stable": 1})
    with pytest.raises(InvalidArgument, match=f"label: stable. Labels of model {name}: none."):
        labels.resolve(name, "stable")


def test_labels_of_unavailable_versions_are_allowed_where_the_flag_says_so() -> None:
    labels = Labels(allow_unavailable=True)
    labels.configure("m", {"canary": 2})
    assert labels.resolve("m", "canary") == 2


def test_the_labels_of_a_model_are_replaced_as_a_whole() -> None:
    labels = Labels(allow_unavailable=True)
    labels.configure("m", {"stable": 1, "canary": 2})
    labels.configure("m", {"stable": 2})
    assert labels.resolve("m", "stable") == 2
    with pytest.raises(InvalidArgument, match="Labels of model m: stable"):
        labels.resolve("m", "canary")


def test_later_changes_of_the_mapping_that_was_configured_do_not_matter() -> None:
    labels = Labels(allow_unavailable=True)
    configured = {"stable": 1}
    labels.configure("m", configured)
    configured["stable"] = 2
    assert labels.resolve("m", "stable") == 1


def test_a_label_that_has_taken_effect_stays_when_its_version_is_gone() -> None:
    # It resolves to a number, and the look-up of that number says that the version is not there.
    labels = Labels()
    labels.on_available(ServableId("m", 1))
    labels.configure("m", {"stable": 1})
    assert labels.resolve("m", "stable") == 1


def test_a_new_label_may_name_a_version_that_is_not_available_yet() -> None:
    labels = Labels()
    labels.configure("m", {"stable": 1})
    labels.check("m", {"stable": 1, "canary": 2}, {1}.__contains__)
    labels.check("unknown", {"canary": 2}, {1}.__contains__)


def test_a_label_in_effect_does_not_move_to_a_version_that_is_not_available() -> None:
    labels = Labels()
    labels.configure("m", {"stable": 1})
    labels.on_available(ServableId("m", 1))
    with pytest.raises(FailedPrecondition) as refused:
        labels.check("m", {"stable": 2}, {1}.__contains__)
    assert refused.value.message.startswith(
        "Request to assign label to version 2 of model m, which is not currently available for inference"
    )
    labels.check("m", {"stable": 2}, {1, 2}.__contains__)


def test_a_label_that_has_not_taken_effect_may_move_anywhere() -> None:
    labels = Labels()
    labels.configure("m", {"stable": 1})
    labels.check("m", {"stable": 2}, frozenset[int]().__contains__)


def test_every_label_is_in_effect_where_the_flag_says_so() -> None:
    labels = Labels(allow_unavailable=True)
    labels.configure("m", {"stable": 1})
    with pytest.raises(FailedPrecondition, match="Request to assign label to version 2 of model m"):
        labels.check("m", {"stable": 2}, {1}.__contains__)


def test_labels_that_stay_as_they_are_pass_also_when_their_version_is_gone() -> None:
    labels = Labels()
    labels.configure("m", {"stable": 1})
    labels.on_available(ServableId("m", 1))
    labels.check("m", {"stable": 1}, frozenset[int]().__contains__)


def test_a_model_that_is_removed_has_no_labels() -> None:
    labels = Labels(allow_unavailable=True)
    labels.configure("m", {"stable": 1})
    labels.remove("m")
    labels.remove("never configured")
    with pytest.raises(InvalidArgument, match="Labels of model m: none"):
        labels.resolve("m", "stable")
