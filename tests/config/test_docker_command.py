from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.config.docker_command import DockerCommand, is_docker_command, read_docker_command
from hotserve.errors import ConfigError


def read(text: str, **environment: str) -> DockerCommand:
    return read_docker_command(shlex.split(text), environment)


def test_the_usual_line_is_read() -> None:
    line = read("docker run -t --rm -p 8501:8501 -v /srv/m:/models/m:ro -e MODEL_NAME=m tensorflow/serving --port=1 x")
    assert line.image == "tensorflow/serving"
    assert line.arguments == ("--port=1", "x")
    assert line.before_image == tuple(
        shlex.split("docker run -t --rm -p 8501:8501 -v /srv/m:/models/m:ro -e MODEL_NAME=m")
    )
    assert line.environment == {"MODEL_NAME": "m"}
    assert line.published == {8501: 8501}
    assert line.outside(PurePosixPath("/models/m/1")) == Path("/srv/m/1")


@pytest.mark.parametrize(
    "options",
    [
        "-itp 80:8501 -vm/../m:/models/m -eMODEL_NAME=m",
        "-dp80:8501 --volume=m/../m:/models/m --env=MODEL_NAME=m --detach=true",
        "-p=80:8501 --mount type=bind,source=m/../m,target=/models/m --env MODEL_NAME=m --name s --gpus all",
        "--publish 127.0.0.1:80:8501/tcp --mount type=bind,src=m/../m,dst=/models/m,readonly -e MODEL_NAME --net host",
    ],
)
def test_options_may_be_written_in_every_way_that_docker_takes(options: str) -> None:
    line = read(f"docker run {options} image --flag", MODEL_NAME="m")
    assert (line.image, line.arguments) == ("image", ("--flag",))
    assert line.environment == {"MODEL_NAME": "m"}
    assert line.published == {8501: 80}
    assert line.outside(PurePosixPath("/models/m")) == Path("m/../m")


def test_a_variable_that_is_not_set_outside_is_not_set_inside() -> None:
    assert read("docker run -e MODEL_NAME image").environment == {}


@pytest.mark.parametrize("path", ["/models", "/models/other", "/etc/f"])
def test_what_is_not_mounted_is_nowhere_outside(path: str) -> None:
    assert read("docker run -v /srv/m:/models/m image").outside(PurePosixPath(path)) is None


def test_a_volume_is_nowhere_outside() -> None:
    assert read("docker run -v models:/models image").outside(PurePosixPath("/models/m")) is None


def test_the_innermost_mount_counts() -> None:
    line = read("docker run -v /a:/models -v /b:/models/m image")
    assert line.outside(PurePosixPath("/models/m/1")) == Path("/b/1")
    assert line.outside(PurePosixPath("/models/n")) == Path("/a/n")


@pytest.mark.parametrize("published", ["8501", "8500-8501:8500-8501", "[::1]::8501"])
def test_ports_under_no_number_of_ones_choice_are_left_out(published: str) -> None:
    assert read(f"docker run -p {published} image").published == {}


@pytest.mark.parametrize("text", ["docker run", "docker run -p 1:1", "docker run -p", "docker run --env"])
def test_a_line_without_an_image_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker run image", True),
        ("/usr/bin/podman run image", True),
        ("docker container run image", True),
        ("docker ps", False),
        ("docker", False),
        ("tensorflow_model_server run", False),
        ("", False),
    ],
)
def test_a_docker_line_is_told_by_its_first_words(text: str, expected: bool) -> None:
    assert is_docker_command(text.split()) is expected


@given(st.lists(st.text(max_size=8) | st.sampled_from(["-p", "-it", "--env", "-v", "--mount", "--rm", "a=b,c", "x:y"])))
def test_no_words_make_it_fail_in_another_way(words: list[str]) -> None:
    try:
        line = read_docker_command(["docker", "run", *words], {})
    except ConfigError:
        return
    assert [*line.before_image, line.image, *line.arguments] == ["docker", "run", *words]
    line.outside(PurePosixPath("/models/m"))
