from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.config.compatibility import ORIGINAL_FLAGS
from hotserve.config.original_command_line import read_original_command_line, refusal_at_start


def test_values_stand_after_an_equals_sign_and_booleans_may_stand_alone() -> None:
    line = read_original_command_line(["--port=9000", "--enable_batching", "--model_name=m", "--enable_profiler=FALSE"])
    assert line.values == {"port": 9000, "enable_batching": True, "model_name": "m", "enable_profiler": False}
    assert (line.unknown, line.unreadable) == ((), ())


def test_of_a_flag_that_is_given_twice_the_last_counts() -> None:
    assert read_original_command_line(["--port=1", "--port=2"]).values == {"port": 2}


@pytest.mark.parametrize(
    "words",
    [
        ["--port", "9000"],
        ["-port=9000"],
        ["--noenable_batching"],
        ["--model_version_policy=x"],
        ["--"],
        ["--host=127.0.0.1"],
        ["stray"],
        ["--model_name"],
        ["--PORT=1"],
        [""],
    ],
)
def test_whatever_else_there_is_is_unknown_and_passed_over(words: list[str]) -> None:
    line = read_original_command_line(["--model_base_path=/m", *words])
    assert line.unknown == tuple(words)
    assert line.values == {"model_base_path": "/m"}


@pytest.mark.parametrize("word", ["--port=eight", "--port=", "--enable_batching=yes", "--port=8.5"])
def test_a_value_that_cannot_be_read_is_told(word: str) -> None:
    (text,) = read_original_command_line([word]).unreadable
    assert text.startswith("Couldn't interpret value")


def test_what_was_not_given_has_its_default_there() -> None:
    line = read_original_command_line(["--port=1"])
    assert (line.value("port"), line.value("rest_api_port"), line.value("max_num_load_retries")) == (1, 0, 5)
    assert line.value("grpc_max_threads") is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Both server_options.model_base_path and server_options.model_config_file are empty!"),
        (["--model_base_path=/m", "--port=0"], "At least one of server_options.grpc_port or"),
        (["--model_base_path=/m", "--use_alts_credentials", "--ssl_config_file=f"], "Either use_alts_credentials"),
        (["--model_base_path=/m", "--batching_parameters_file=f"], "server_options.batching_parameters_file is set"),
        (
            [
                "--model_base_path=/m",
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "Either configure server_options.tensorflow_session_parallelism or",
        ),
    ],
)
def test_flags_that_the_original_does_not_start_with(words: list[str], text: str) -> None:
    assert (refusal_at_start(read_original_command_line(words)) or "").startswith(text)


@pytest.mark.parametrize(
    "words", [["--model_base_path=/m"], ["--model_config_file=/f", "--port=0", "--grpc_socket_path=s"]]
)
def test_flags_that_it_starts_with(words: list[str]) -> None:
    assert refusal_at_start(read_original_command_line(words)) is None


@given(st.lists(st.text(max_size=20) | st.sampled_from([f"--{name}=1" for name in ORIGINAL_FLAGS]), max_size=8))
def test_every_word_is_a_value_unknown_or_unreadable(words: list[str]) -> None:
    line = read_original_command_line(words)
    assert len(line.values) + len(line.unknown) + len(line.unreadable) <= len(words)
    assert bool(words) == bool(line.values or line.unknown or line.unreadable)
