"""Reads a `docker run` line of the image tensorflow/serving: what the server in it is told, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hotserve.errors import ConfigError

PROGRAMS = frozenset({"docker", "podman", "nerdctl"})
"""The programs whose `run` command is read; their options are the same ones."""

# Options of `docker run` that stand alone; each other takes a value. Source: docker run --help, version 28.
_SWITCHES = frozenset(
    {
        *("detach", "disable-content-trust", "help", "init", "interactive", "no-healthcheck", "oom-kill-disable"),
        *("privileged", "publish-all", "quiet", "read-only", "rm", "sig-proxy", "tty"),
    }
)
_SHORT_SWITCHES = frozenset("ditPq")
_LONG_NAMES: Mapping[str, str] = {
    "e": "env",
    "p": "publish",
    "v": "volume",
    "w": "workdir",
    "u": "user",
}


@dataclass(frozen=True, slots=True)
class DockerCommand:
    """A `docker run` line.

    Attributes:
        before_image: The words up to the image.
        image: Its name.
        arguments: The words after it.
        environment: Variable -> value, of those that are set.
        mounts: Folder in the container -> folder or volume outside.
        published: Port of the container -> port outside, of those that are published under a number.
        options: The names of all options, without dashes, in the long form where it is known.
    """

    before_image: tuple[str, ...]
    image: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: Mapping[PurePosixPath, str]
    published: Mapping[int, int]
    options: tuple[str, ...]

    def outside(self, path: PurePosixPath) -> Path | None:
        """Where a path of the container is outside; None where it is in the image or a volume."""
        for folder in (path, *path.parents):
            source = self.mounts.get(folder)
            if source is not None:
                # Without a slash it is the name of a volume, whose folder is Docker's own affair.
                return Path(source).expanduser() / path.relative_to(folder) if "/" in source else None
        return None


def is_docker_command(words: Sequence[str]) -> bool:
    """Whether the words begin with `docker run`, or another program that takes the same options."""
    return len(words) > 1 and PurePosixPath(words[0]).name in PROGRAMS and "run" in words[1:3]


def read_docker_command(words: Sequence[str], environment: Mapping[str, str]) -> DockerCommand:
    """Reads the words of a `docker run` line.

    Args:
        words: As a shell would hand them over, for which `is_docker_command` holds.
        environment: The variables of the caller, for `-e NAME` without a value.

    Raises:
        ConfigError: The words end before there is an image, or an option has no value.
    """
    rest = list(words[words.index("run") + 1 :])
    options: list[tuple[str, str]] = []
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        options += _long(word, rest) if word.startswith("--") else _short(word, rest)
    if not rest:
        raise ConfigError(f"{' '.join(words)}: there is no image. Expected docker run [OPTIONS] IMAGE [FLAGS].")
    image, *arguments = rest
    return DockerCommand(
        before_image=tuple(words[: len(words) - len(rest)]),
        image=image,
        arguments=tuple(arguments),
        environment=dict(filter(None, (_variable(text, environment) for name, text in options if name == "env"))),
        mounts=dict(filter(None, map(_mount, options))),
        published=dict(filter(None, (_published(text) for name, text in options if name == "publish"))),
        options=tuple(name for name, _ in options),
    )


def _long(word: str, rest: list[str]) -> list[tuple[str, str]]:
    name, equals, text = word.removeprefix("--").partition("=")
    if not equals and name not in _SWITCHES:
        text = _next(word, rest)
    return [(name, text)]


def _short(word: str, rest: list[str]) -> list[tuple[str, str]]:
    """One word with one dash: switches together, and perhaps one option with its value (`-itp8501:8501`)."""
    options = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _SHORT_SWITCHES:
            options.append((letter, ""))
            continue
        text = letters.removeprefix("=") if letters else _next(word, rest)
        options.append((_LONG_NAMES.get(letter, letter), text))
        break
    return options


def _next(word: str, rest: list[str]) -> str:
    if not rest:
        raise ConfigError(f"{word}: this option of docker run has no value.")
    return rest.pop(0)


def _variable(text: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    name, equals, value = text.partition("=")
    if equals:
        return name, value
    return (name, environment[name]) if name in environment else None


def _mount(option: tuple[str, str]) -> tuple[PurePosixPath, str] | None:
    name, text = option
    if name == "volume":
        source, colon, target = text.partition(":")
        return (PurePosixPath(target.partition(":")[0]), source) if colon else None
    if name == "mount":
        fields = dict(field.partition("=")[::2] for field in text.split(","))
        source = fields.get("source") or fields.get("src") or ""
        target = fields.get("target") or fields.get("destination") or fields.get("dst") or ""
        return (PurePosixPath(target), source) if source and target else None
    return None


def _published(text: str) -> tuple[int, int] | None:
    """`8501:8501`, `127.0.0.1:8501:8501/tcp`; not a range, and not a port that the system chooses."""
    *_, outside, inside = ["", *text.removesuffix("/tcp").split(":")]
    return (int(inside), int(outside)) if inside.isdecimal() and outside.isdecimal() else None
