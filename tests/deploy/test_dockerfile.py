from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ["slim", "tensorflow"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, its lines joined."""

    keyword: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, in order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


DOCKERFILE = instructions((ROOT / "deploy" / "docker" / "Dockerfile").read_text())


def stages() -> dict[str, tuple[str, list[Instruction]]]:
    """Stage -> the image or the stage that it builds on, and its own instructions."""
    found: dict[str, tuple[str, list[Instruction]]] = {}
    for instruction in DOCKERFILE:
        if instruction.keyword == "FROM":
            base, _, name = instruction.value.split()
            current: list[Instruction] = []
            found[name] = (base, current)
        elif found:
            current.append(instruction)
    return found


def image(target: str) -> list[Instruction]:
    """All that makes up an image: its own instructions, after those of the stages below it."""
    base, own = stages()[target]
    return [*(image(base) if base in stages() else []), *own]


def values(target: str, keyword: str) -> list[str]:
    return [instruction.value for instruction in image(target) if instruction.keyword == keyword]


def copies(target: str) -> dict[str, str]:
    """Path in the image -> path in this repository."""
    words = [
        [word for word in shlex.split(value) if not word.startswith("--chmod")] for value in values(target, "COPY")
    ]
    return {parts[-1]: parts[0] for parts in words if not parts[0].startswith("--from")}


@pytest.mark.parametrize("target", TARGETS)
def test_the_contract_of_the_original_image_is_kept(target: str) -> None:
    environment = dict(word.split("=", 1) for value in values(target, "ENV") for word in shlex.split(value))
    ports = {port for value in values(target, "EXPOSE") for port in value.split()}

    assert ports == {"8500", "8501"}
    assert environment["MODEL_NAME"] == "model"
    assert environment["MODEL_BASE_PATH"] == "/models"
    assert [json.loads(value) for value in values(target, "ENTRYPOINT")] == [["/usr/bin/tf_serving_entrypoint.sh"]]
    assert (ROOT / copies(target)["/usr/bin/tf_serving_entrypoint.sh"]).is_file()
    assert not values(target, "CMD")
    assert any("mkdir -p /models " in value for value in values(target, "RUN"))
    (links,) = re.findall(r"ln -s (.*) /usr/bin/", " ".join(values(target, "RUN")))
    assert "/opt/hotserve/bin/tensorflow_model_server" in links.split()


@pytest.mark.parametrize("target", TARGETS)
def test_the_user_is_a_number_and_not_root(target: str) -> None:
    user, group = values(target, "USER")[-1].split(":")

    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_health_check_runs_a_script_that_is_in_the_image(target: str) -> None:
    (value,) = values(target, "HEALTHCHECK")
    command = json.loads(value.partition("CMD")[2])

    assert command[0] == "/opt/hotserve/bin/python3"
    assert (ROOT / copies(target)[command[-1]]).is_file()


@pytest.mark.parametrize("target", TARGETS)
def test_the_image_gets_its_packages_from_a_stage_before_and_installs_none_itself(target: str) -> None:
    installed = rf"--from={target}-packages /opt/hotserve /opt/hotserve"

    assert installed in values(target, "COPY")
    assert not [value for value in values(target, "RUN") if re.search(r"\b(pip|apt-get|apk)\b", value)]
    assert all("--no-cache-dir" in value for value in values(f"{target}-packages", "RUN"))


def test_every_stage_stands_on_the_base_that_the_builder_chose() -> None:
    names = stages().keys()
    (argument,) = [instruction.value for instruction in DOCKERFILE if instruction.keyword == "ARG"]
    name, default = argument.split("=")

    assert name == "BASE_IMAGE"
    assert "/" not in default, "a default with a host or an account would bind everyone to it"
    assert {base for base, _ in stages().values() if base not in names} == {"${BASE_IMAGE}"}


def test_a_build_without_a_target_makes_the_slim_image() -> None:
    assert list(stages())[-1] == "slim"


def test_the_build_sees_every_file_that_it_copies_and_that_the_package_needs() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for stage in stages()
        for value in values(stage, "COPY")
        if "--from" not in value
        for word in shlex.split(value)[:-1]
        if not word.startswith("--")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {path.split("/")[0] for path in copied} == allowed
    assert all((ROOT / path).exists() for path in copied)
    assert copied >= {"pyproject.toml", project["readme"], *project["license-files"]}
