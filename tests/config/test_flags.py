from __future__ import annotations

from dataclasses import fields

import pytest

from hotserve.config.flags import FLAGS, REFUSED, WITHOUT_EFFECT, help_text, parse_flags
from hotserve.config.options import AUTO_WORKERS, ServerOptions
from hotserve.errors import Code, ConfigError

# The flags of tensorflow_model_server 2.21, by the kind of their values.
ORIGINAL: dict[type, str] = {
    bool: """
        rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
        enable_per_model_batching_parameters flush_filesystem_caches use_alts_credentials enable_model_warmup version
        remove_unused_fields_from_bundle_metagraph prefer_tflite_model enable_signature_method_name_check
        xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler skip_initialize_tpu
        enable_grpc_healthcheck_service enable_serialization_as_tensor_content
    """,
    int: """
        port rest_api_port rest_api_num_threads rest_api_timeout_in_ms model_config_file_poll_wait_seconds
        num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros
        file_system_poll_wait_seconds tensorflow_session_parallelism tensorflow_intra_op_parallelism
        tensorflow_inter_op_parallelism grpc_max_threads num_request_iterations_for_warmup num_tflite_pools
        num_tflite_interpreters_per_pool
    """,
    float: "per_process_gpu_memory_fraction",
    str: """
        grpc_socket_path batching_parameters_file model_config_file model_name model_base_path
        tensorflow_session_config_file ssl_config_file platform_config_file saved_model_tags grpc_channel_arguments
        monitoring_config_file thread_pool_factory_config_file mixed_precision
    """,
}
KIND_OF = {name: kind for kind, names in ORIGINAL.items() for name in names.split()}


def options(*words: str) -> ServerOptions:
    return parse_flags(words).options


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_flags(words)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


# Spelling.


@pytest.mark.parametrize("words", [["--model_name=m"], ["--model_name", "m"]])
def test_a_value_stands_after_an_equals_sign_or_a_blank(words: list[str]) -> None:
    assert options(*words).model_name == "m"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--model_base_path=a=b"], "a=b"),
        (["--model_base_path="], ""),
        (["--model_base_path", ""], ""),
        (["--model_base_path=--odd"], "--odd"),
        (["--model_base_path", "-odd"], "-odd"),
        (["--model_base_path=/models/with blank"], "/models/with blank"),
    ],
)
def test_a_text_is_taken_as_it_is(words: list[str], value: str) -> None:
    assert options(*words).model_base_path == value


FLAG = "--allow_version_labels_for_unavailable_models"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], False),
        ([FLAG], True),
        ([f"{FLAG}=true"], True),
        ([f"{FLAG}=TRUE"], True),
        ([f"{FLAG}=1"], True),
        ([f"{FLAG}=false"], False),
        ([f"{FLAG}=False"], False),
        ([f"{FLAG}=0"], False),
        ([FLAG, "true"], True),
        ([FLAG, "false"], False),
        ([FLAG, "--port=1"], True),
        ([f"{FLAG}=true", f"{FLAG}=false"], False),
    ],
)
def test_a_boolean_may_stand_alone(words: list[str], value: bool) -> None:
    assert options(*words).allow_version_labels_for_unavailable_models is value


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0.0), ("2", 2.0), ("0.25", 0.25), (".5", 0.5), ("1e-2", 0.01), ("-1", -1.0), ("+3", 3.0)]
)
def test_a_number_may_have_a_fraction_where_it_counts_seconds(text: str, value: float) -> None:
    assert options(f"--file_system_poll_wait_seconds={text}").file_system_poll_wait_seconds == value


def test_the_last_one_of_a_name_wins() -> None:
    # Docker users append flags after those of the entry point.
    given = options("--port=8500", "--model_base_path=/models/m", "--port=9000", "--model_base_path", "/other")
    assert (given.port, given.model_base_path) == (9000, "/other")


def test_lists_add_up() -> None:
    given = options("--import=a,b", "--custom_op_libraries=/x.so", "--import", "c", "--custom_op_libraries=/y.so,/z.so")
    assert given.import_modules == "a,b,c"
    assert given.custom_op_libraries == "/x.so,/y.so,/z.so"


def test_a_command_line_without_flags_leaves_everything_at_its_default() -> None:
    assert parse_flags([]).options == ServerOptions()
    assert parse_flags([]).without_effect == ()


def test_defaults_can_be_others_and_flags_win_over_them() -> None:
    defaults = ServerOptions(rest_api_port=0, host="127.0.0.1")
    given = parse_flags(["--host=::1"], defaults).options
    assert (given.rest_api_port, given.host) == (0, "::1")
    assert given.port == ServerOptions().port


def test_the_original_command_line_of_its_docker_image_is_read() -> None:
    given = options("--port=8500", "--rest_api_port=8501", "--model_name=m", "--model_base_path=/models/m")
    assert given == ServerOptions(port=8500, rest_api_port=8501, model_name="m", model_base_path="/models/m")


# Which flags there are.


@pytest.mark.parametrize("name", KIND_OF)
def test_every_flag_of_the_original_is_known_under_its_kind(name: str) -> None:
    kinds = {flag.name: flag.kind for flag in FLAGS} | {name: entry.kind for name, entry in WITHOUT_EFFECT.items()}
    kind = kinds[name]
    # Pauses may have a fraction here.
    assert kind is KIND_OF[name] or (KIND_OF[name], kind) == (int, float)


def test_the_original_has_48_flags() -> None:
    assert len(KIND_OF) == 48


def test_a_flag_has_an_effect_or_has_none() -> None:
    assert not {flag.name for flag in FLAGS} & WITHOUT_EFFECT.keys()
    assert REFUSED.keys() <= WITHOUT_EFFECT.keys()


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_a_flag_without_an_effect_says_why_in_words_that_can_end_a_sentence(name: str) -> None:
    why = WITHOUT_EFFECT[name].why
    assert why == why.strip()
    assert len(why.split()) > 2
    assert not why.endswith(".")


def test_every_flag_with_an_effect_is_an_option_of_its_kind() -> None:
    defaults = ServerOptions()
    assert {flag.field for flag in FLAGS} == {field.name for field in fields(ServerOptions)}
    for flag in FLAGS:
        assert type(getattr(defaults, flag.field)) is flag.kind


def test_flags_without_an_effect_are_read_and_named_once_in_order() -> None:
    line = parse_flags(
        ["--enable_profiler", "false", "--port=1", "--grpc_max_threads=4", "--skip_initialize_tpu", "--enable_profiler"]
    )
    assert line.without_effect == ("enable_profiler", "grpc_max_threads", "skip_initialize_tpu")
    assert line.options == ServerOptions(port=1)


def test_a_flag_without_an_effect_still_needs_a_value_of_its_kind() -> None:
    assert refusal("--grpc_max_threads=many") == (
        "Couldn't interpret value many for flag grpc_max_threads. Expected a whole number."
    )


# What is refused.


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("--model_base_pth=x", "There is no flag --model_base_pth. Did you mean --model_base_path?"),
        ("--rest_port=1", "There is no flag --rest_port. Did you mean --rest_api_port?"),
        ("--enable_bathing", "There is no flag --enable_bathing. Did you mean --enable_batching?"),
        ("--zzz", "There is no flag --zzz. See --help for all flags."),
        ("--noenable_batching", "There is no flag --noenable_batching. Did you mean --enable_batching?"),
        ("--PORT=1", "There is no flag --PORT."),
        ("--use_saved_model=true", "There is no flag --use_saved_model."),
    ],
)
def test_a_flag_that_there_is_not_is_refused_with_the_one_that_may_have_been_meant(word: str, text: str) -> None:
    message = refusal("--port=1", word)
    assert message.startswith(f"unknown argument: {word}. {text}")


@pytest.mark.parametrize("word", ["models", "-port=1", "--", "--=x", "-", ""])
def test_a_word_that_is_no_flag_is_refused(word: str) -> None:
    assert refusal(word) == f"unknown argument: {word}. Expected flags such as --model_base_path=PATH."


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port"], "Flag --port needs a value: --port=INT"),
        (["--port", "--model_name=m"], "Flag --port needs a value: --port=INT"),
        (["--model_name"], "Flag --model_name needs a value: --model_name=STR"),
        (["--drain_timeout_seconds"], "Flag --drain_timeout_seconds needs a value: --drain_timeout_seconds=FLOAT"),
    ],
)
def test_a_flag_without_its_value_is_refused(words: list[str], expected: str) -> None:
    assert refusal(*words) == expected


def test_what_is_no_flag_can_be_passed_over_and_told() -> None:
    line = parse_flags(["--zzz=1", "--port=9000", "stray", "-port=1", "--model_name"], pass_over_unknown=True)
    assert line.options == ServerOptions(port=9000)
    assert line.passed_over == (
        "unknown argument: --zzz=1. There is no flag --zzz. See --help for all flags.",
        "unknown argument: stray. Expected flags such as --model_base_path=PATH.",
        "unknown argument: -port=1. Expected flags such as --model_base_path=PATH.",
        "Flag --model_name needs a value: --model_name=STR",
    )


@pytest.mark.parametrize("words", [["--port=eight"], ["--use_alts_credentials"]])
def test_what_is_a_flag_is_refused_all_the_same(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_flags(words, pass_over_unknown=True)


@pytest.mark.parametrize(
    "text", ["", "x", "8.5", "8500 ", " 8500", "8_500", "0x10", "1e3", "٨", "8500x", "--1", "nan", "9" * 5000]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    assert refusal(f"--port={text}") == f"Couldn't interpret value {text} for flag port. Expected a whole number."
    expected = f"Couldn't interpret value {text} for flag workers. Expected a whole number or auto."
    assert refusal(f"--workers={text}") == expected


@pytest.mark.parametrize("text", ["", "x", "1s", "1_0", "nan", "inf", "-Infinity", "1e", "1.2.3", ".", "1 "])
def test_what_is_no_number_is_refused(text: str) -> None:
    assert refusal(f"--drain_timeout_seconds={text}") == (
        f"Couldn't interpret value {text} for flag drain_timeout_seconds. Expected a number."
    )


@pytest.mark.parametrize("text", ["", "yes", "no", "2", "t", "on", "truee"])
def test_what_is_neither_true_nor_false_is_refused(text: str) -> None:
    assert refusal(f"--enable_batching={text}") == (
        f"Couldn't interpret value {text} for flag enable_batching. Expected true or false."
    )


def test_a_boolean_that_stands_alone_takes_no_word_that_is_no_boolean() -> None:
    assert (
        refusal("--enable_batching", "yes") == "unknown argument: yes. Expected flags such as --model_base_path=PATH."
    )


@pytest.mark.parametrize(
    ("name", "value", "least", "most"),
    [
        ("port", "-1", 0, 65535),
        ("port", "65536", 0, 65535),
        ("rest_api_port", "123456789012", 0, 65535),
        ("max_message_bytes", "0", 1, 2**63 - 1),
        ("drain_timeout_seconds", "-1.0", 0, 2**31 - 1),
        ("drain_timeout_seconds", "1e+300", 0, 2**31 - 1),
        ("file_system_poll_wait_seconds", "1e+10", 1 - 2**31, 2**31 - 1),
        ("rest_api_timeout_in_ms", str(10**400), 1 - 2**31, 2**31 - 1),
        ("num_load_threads", "-2", 0, 2**31 - 1),
        ("load_retry_interval_micros", str(2**62), -(10**6) * (2**31 - 1), 10**6 * (2**31 - 1)),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(name: str, value: str, least: int, most: int) -> None:
    message = refusal(f"--{name}={value}")
    assert message.startswith(f"--{name}=")
    assert message.endswith(f": expected a number from {least} to {most}.")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_options_made_in_a_program_are_checked_alike(value: float) -> None:
    with pytest.raises(ConfigError, match=r"--drain_timeout_seconds=.*expected a number from 0 to"):
        ServerOptions(drain_timeout_seconds=value)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--use_alts_credentials"], "--use_alts_credentials: ALTS is not available"),
        (["--use_alts_credentials=false", "--use_alts_credentials"], "--use_alts_credentials: ALTS is not available"),
    ],
)
def test_what_would_be_unsafe_to_pass_over_is_refused(words: list[str], text: str) -> None:
    message = refusal(*words)
    assert message.startswith(text)
    assert message.endswith("would be unsafe.")


@pytest.mark.parametrize(
    "words",
    [
        ["--ssl_config_file="],
        ["--use_alts_credentials=false"],
        ["--use_alts_credentials=true", "--use_alts_credentials=false"],
    ],
)
def test_a_refused_flag_that_asks_for_nothing_is_passed_over(words: list[str]) -> None:
    assert parse_flags(words).options == ServerOptions()


# Help.


def test_help_has_a_line_for_each_flag_with_its_default() -> None:
    lines = help_text().splitlines()
    assert len(lines) == len(FLAGS)
    assert any(line.split() == ["--port=int", "TCP", *line.split()[2:]] and "(default: 8500)" in line for line in lines)
    assert any("--allow_version_labels" in line and "(default: false)" in line for line in lines)
    assert any("--file_system_poll_wait_seconds=float" in line and "(default: 1)" in line for line in lines)
    assert any("--model_config_file=str" in line and "default" not in line for line in lines)


def test_help_shows_the_defaults_of_its_command() -> None:
    assert "TCP port for REST; 0 turns it off (default: 0)" in help_text(ServerOptions(rest_api_port=0))


def test_a_policy_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    assert refusal("--aspired_version_policy=eager") == (
        "--aspired_version_policy=eager: expected availability_preserving or resource_preserving."
    )
    assert options("--aspired_version_policy=resource_preserving").aspired_version_policy == "resource_preserving"


@pytest.mark.parametrize(("text", "workers"), [("4", 4), ("auto", AUTO_WORKERS), ("0", AUTO_WORKERS)])
def test_workers_are_a_number_or_chosen(text: str, workers: int) -> None:
    assert parse_flags([f"--workers={text}"]).options.workers == workers
    assert parse_flags(["--workers", text]).options.workers == workers


@pytest.mark.parametrize("text", ["many", "Auto", "-1", "1025"])
def test_any_other_word_for_workers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="workers"):
        parse_flags([f"--workers={text}"])
