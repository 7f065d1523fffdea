from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hotserve.cli.invocation import Invocation, entry_point_flags, read_invocation

IMAGE_FLAGS = ("--port=8500", "--rest_api_port=8501", "--model_name=m", "--model_base_path=/models/m")


def read(text: str, **environment: str) -> Invocation:
    return read_invocation(shlex.split(text), environment)


@pytest.mark.parametrize(
    "text",
    [
        "tensorflow_model_server --port=1 --zzz",
        "/usr/bin/tensorflow_model_server --port=1 --zzz",
        "--port=1 --zzz",
        "sudo tensorflow_model_server --port=1 --zzz",
        "exec /usr/local/bin/my_model_server --port=1 --zzz",
        "TF_CPP_MIN_LOG_LEVEL=1 tensorflow_model_server --port=1 --zzz",
        "env A=b tensorflow_model_server --port=1 --zzz",
    ],
)
def test_the_program_may_stand_before_its_flags(text: str) -> None:
    assert read(text) == Invocation(("--port=1", "--zzz"), ("--port=1", "--zzz"))


def test_a_line_may_be_one_word_as_manifests_have_it() -> None:
    line = read_invocation(["tensorflow_model_server --port=1 --model_base_path='/a b'"], {})
    assert line.flags == ("--port=1", "--model_base_path=/a b")


def test_the_program_alone_has_no_flags() -> None:
    assert read("tensorflow_model_server") == Invocation((), ())


def test_the_entry_point_of_the_image_adds_its_flags_before_those_of_the_user() -> None:
    line = read("/usr/bin/tf_serving_entrypoint.sh --port=1", MODEL_NAME="m")
    assert line == Invocation((*IMAGE_FLAGS, "--port=1"), ("--port=1",))


def test_a_container_has_the_variables_of_its_options_only() -> None:
    line = read("docker run -v /srv/m:/models/m -e MODEL_NAME=m tensorflow/serving --port=1", MODEL_BASE_PATH="/other")
    assert line.flags == (*IMAGE_FLAGS, "--port=1")
    assert line.local("/models/m/1") == Path("/srv/m/1")
    assert line.local("/etc/models.config") is None


def test_another_entry_point_adds_nothing() -> None:
    assert read("docker run --entrypoint tensorflow_model_server image --port=1").flags == ("--port=1",)


def test_outside_of_containers_paths_are_what_they_are() -> None:
    assert read("tensorflow_model_server").local("models.config") == Path("models.config")


def test_the_entry_point_has_the_defaults_of_the_image() -> None:
    assert entry_point_flags({})[2:] == ("--model_name=model", "--model_base_path=/models/model")
    assert entry_point_flags({"MODEL_BASE_PATH": "/m"})[3] == "--model_base_path=/m/model"
