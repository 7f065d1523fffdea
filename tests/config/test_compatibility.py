from __future__ import annotations

import pytest

from hotserve.config.compatibility import (
    FORMER_FLAGS,
    ORIGINAL_FLAGS,
    FlagState,
    default_text,
    flag_compatibility,
    own_default,
)
from hotserve.config.flags import FLAGS, REFUSED, WITHOUT_EFFECT
from hotserve.config.options import ServerOptions

KIND_OF = {flag.name: flag.kind for flag in FLAGS} | {name: entry.kind for name, entry in WITHOUT_EFFECT.items()}


def test_the_original_has_48_flags() -> None:
    assert len(ORIGINAL_FLAGS) == 48


def test_no_flag_of_old_guides_is_one_of_them() -> None:
    assert not FORMER_FLAGS.keys() & KIND_OF.keys()


@pytest.mark.parametrize("name", ORIGINAL_FLAGS)
def test_every_flag_of_the_original_is_read_here_under_its_kind(name: str) -> None:
    # Pauses may have a fraction here.
    assert KIND_OF[name] is ORIGINAL_FLAGS[name].kind or (ORIGINAL_FLAGS[name].kind, KIND_OF[name]) == (int, float)


def test_every_flag_without_an_effect_is_one_of_the_original() -> None:
    assert WITHOUT_EFFECT.keys() <= ORIGINAL_FLAGS.keys()


@pytest.mark.parametrize("name", ORIGINAL_FLAGS)
def test_the_state_of_a_flag_is_what_reading_flags_makes_of_it(name: str) -> None:
    expected = {
        FlagState.WORKS: name in {flag.name for flag in FLAGS} or ORIGINAL_FLAGS[name].always,
        FlagState.BETTER: name in {flag.name for flag in FLAGS} or ORIGINAL_FLAGS[name].always,
        FlagState.WITHOUT_EFFECT: name in WITHOUT_EFFECT.keys() - REFUSED.keys(),
        FlagState.REFUSED: name in REFUSED,
    }
    assert expected[flag_compatibility(name).state]


@pytest.mark.parametrize("name", ORIGINAL_FLAGS)
def test_whatever_is_not_plainly_so_is_said(name: str) -> None:
    known = flag_compatibility(name)
    assert known.text or known.state is FlagState.WORKS
    assert not known.text.endswith(".")


def test_a_flag_that_is_always_so_need_not_have_an_effect() -> None:
    # One that has an effect is not "always so": then the mark is out of date.
    assert {name for name, flag in ORIGINAL_FLAGS.items() if flag.always} <= WITHOUT_EFFECT.keys()


@pytest.mark.parametrize("name", sorted(ORIGINAL_FLAGS.keys() & {flag.name for flag in FLAGS}))
def test_a_default_that_differs_is_mentioned(name: str) -> None:
    flag = ORIGINAL_FLAGS[name]
    if flag.default is not None and flag.default != getattr(ServerOptions(), name):
        assert flag.note


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "by processors"), (True, "true"), (0.0, "0"), (60_000_000, "60000000"), ("serve", "serve")],
)
def test_a_default_is_shown_as_a_command_line_has_it(value: bool | int | float | str | None, text: str) -> None:
    assert default_text(value) == text


def test_the_own_default_is_that_of_the_options_where_the_flag_has_an_effect() -> None:
    assert own_default("max_num_load_retries") == "0"
    assert own_default("rest_api_port") == "8501"
    assert own_default("flush_filesystem_caches") == ""
