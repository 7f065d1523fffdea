"""How somebody starts TensorFlow Serving: the program itself, its image's entry point, or a `docker run` line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hotserve.config.docker_command import DockerCommand, is_docker_command, read_docker_command

PROGRAM = "tensorflow_model_server"
ENTRY_POINT = "tf_serving_entrypoint.sh"

_IMAGE_ENVIRONMENT: Mapping[str, str] = {"MODEL_NAME": "model", "MODEL_BASE_PATH": "/models"}


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the server is told in the end.

    Attributes:
        flags: All words that the server gets, those of the entry point first.
        own: Those of them that the user has written.
        docker: The line that it is in, if any.
    """

    flags: tuple[str, ...]
    own: tuple[str, ...]
    docker: DockerCommand | None = None

    def local(self, path: str) -> Path | None:
        """Where a path that the server is told is on this machine; None where it cannot be looked at."""
        if self.docker is None or not path.startswith("/"):
            return Path(path) if self.docker is None else None
        return self.docker.outside(PurePosixPath(path))


def read_invocation(words: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Reads a command line.

    Args:
        words: As a shell hands them over, or all in one; with the program or without it.
        environment: The variables that the command would see.

    Raises:
        ConfigError: A `docker run` line that cannot be read.
        ValueError: Quotes of a command line that is one word are not closed.
    """
    if len(words) == 1 and any(map(str.isspace, words[0])):
        words = shlex.split(words[0])
    words = _without_prefixes(words)
    if is_docker_command(words):
        return _docker(read_docker_command(words, environment))
    name = PurePosixPath(words[0]).name if words else ""
    if name == ENTRY_POINT:
        own = tuple(words[1:])
        return Invocation((*entry_point_flags(environment), *own), own)
    own = tuple(words[1:] if words and not words[0].startswith("-") else words)
    return Invocation(own, own)


def entry_point_flags(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the image's entry point tells the server before the user's own words.

    Source: tensorflow_serving/tools/docker/Dockerfile.
    """
    variables = {**_IMAGE_ENVIRONMENT, **environment}
    name, folder = variables["MODEL_NAME"], variables["MODEL_BASE_PATH"]
    return ("--port=8500", "--rest_api_port=8501", f"--model_name={name}", f"--model_base_path={folder}/{name}")


def _docker(docker: DockerCommand) -> Invocation:
    own = docker.arguments
    if "entrypoint" not in docker.options:
        return Invocation((*entry_point_flags(docker.environment), *own), own, docker)
    return Invocation(own, own, docker)


def _without_prefixes(words: Sequence[str]) -> list[str]:
    """Without what shells and service managers write before a program."""
    rest = list(words)
    while rest and (rest[0] in ("sudo", "exec", "nohup", "env") or _is_assignment(rest[0])):
        rest.pop(0)
    return rest


def _is_assignment(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()
