"""What the doctor says of the flags of a TensorFlow Serving command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final

from hotserve.cli.findings import Finding, Grade
from hotserve.cli.invocation import Invocation
from hotserve.config.batching_config import batching_setup
from hotserve.config.compatibility import (
    FORMER_FLAGS,
    ORIGINAL_FLAGS,
    FlagState,
    default_text,
    flag_compatibility,
)
from hotserve.config.flags import FLAGS, FlagValue
from hotserve.config.options import ServerOptions
from hotserve.config.original_command_line import OriginalCommandLine, refusal_at_start
from hotserve.config.session_config import session_bundle_config
from hotserve.errors import ConfigError
from hotserve.server.channel_arguments import read_channel_arguments
from hotserve.server.endpoints import check_endpoints

FLAGS_SECTION: Final = "Flags"


def flag_findings(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    """What becomes of each flag, and of what is none.

    Args:
        line: What TensorFlow Serving would take the words for.
        invocation: The words.
    """
    refusal = refusal_at_start(line)
    for text in (*line.unreadable, *([refusal] if refusal else [])):
        yield Finding(FLAGS_SECTION, Grade.ATTENTION, "TensorFlow Serving does not start with these", text)
    own_refusal = refusal_here(line)
    if own_refusal is not None:
        yield Finding(FLAGS_SECTION, Grade.ATTENTION, "hotserve does not start with these", own_refusal)
    for name, value in line.values.items():
        yield _flag(name, value)
    yield from _unknown(line, invocation)
    if ports_clash(line):
        text = "TensorFlow Serving logs an error and starts without REST; hotserve wants a port of its own for each"
        yield Finding(FLAGS_SECTION, Grade.ATTENTION, "--port and --rest_api_port are the same", text)


def _flag(name: str, value: FlagValue) -> Finding:
    subject = f"--{name}={default_text(value)}"
    known = flag_compatibility(name)
    text = f"{known.state.value}: {known.text}" if known.text else known.state.value
    match known.state:
        case FlagState.WORKS | FlagState.BETTER:
            grade = Grade.OK
        case FlagState.REFUSED:
            grade = Grade.ATTENTION if value else Grade.OK
            text = text if value else "works"
        case FlagState.WITHOUT_EFFECT:
            asks_for_nothing = value == known.flag.default
            grade = Grade.OK if asks_for_nothing else Grade.NOTE if known.flag.tuning else Grade.ATTENTION
    return Finding(FLAGS_SECTION, grade, subject, text)


def _unknown(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    words = list(line.unknown)
    while words:
        word = words.pop(0)
        name = word.lstrip("-").partition("=")[0]
        text = "TensorFlow Serving takes it for unknown, prints its usage, and starts without it"
        if word.startswith("--") and name in ORIGINAL_FLAGS:
            value = words.pop(0) if words and _follows(word, words[0], invocation.flags) else None
            subject = word if value is None else f"{word} {value}"
            meant = value or ORIGINAL_FLAGS[name].kind.__name__.upper()
            text += (
                f": it wants --{name}={meant}. hotserve takes both ways to write it; the command below is without it"
            )
        else:
            subject = word
            text += f". {_meant(word, name)}"
        yield Finding(FLAGS_SECTION, Grade.ATTENTION, subject, text)


def _follows(word: str, value: str, words: Sequence[str]) -> bool:
    """Whether a word that is no flag stands right behind one that lacks its value."""
    return not value.startswith("-") and (word, value) in pairwise(words)


def _meant(word: str, name: str) -> str:
    if name in FORMER_FLAGS:
        return f"It has no such flag any more: {FORMER_FLAGS[name]}."
    if name in {flag.name for flag in FLAGS} - ORIGINAL_FLAGS.keys():
        return "hotserve has such a flag; to use it, add it to the command below."
    if not word.startswith("-"):
        return "Flags are written --name=value."
    if name in ORIGINAL_FLAGS:
        return f"It wants two dashes: --{name}."
    close = get_close_matches(name.removeprefix("no"), list(ORIGINAL_FLAGS), n=1, cutoff=0.6)
    return f"Perhaps --{close[0]} was meant." if close else "Leave it out."


def refusal_here(line: OriginalCommandLine) -> str | None:
    """Why hotserve would not start with the flags as they are; None if it would. Files are another matter."""
    values: dict[str, Any] = {"rest_api_port": 0, **with_effect(line)}
    if not values.get("model_base_path") and not values.get("model_config_file"):
        return "no model is named"
    try:
        options = ServerOptions(**values)
        check_endpoints(options)
        read_channel_arguments(options.grpc_channel_arguments, options.max_message_bytes)
        session_bundle_config(replace(options, platform_config_file="", tensorflow_session_config_file=""))
        if not options.enable_batching and not options.platform_config_file:
            batching_setup(options)
    except ConfigError as error:
        return error.message
    return None


def ports_clash(line: OriginalCommandLine) -> bool:
    """Whether both APIs are to have the same port."""
    return bool(line.value("port")) and line.value("port") == line.value("rest_api_port")


def with_effect(line: OriginalCommandLine) -> dict[str, FlagValue]:
    """The flags that do something here; of two ports that are the same, the one that the original opens."""
    names = {flag.name for flag in FLAGS}
    values = {name: value for name, value in line.values.items() if name in names}
    if ports_clash(line):
        values["rest_api_port"] = 0
    return values
