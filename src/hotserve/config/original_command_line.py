"""How TensorFlow Serving itself would read a command line, with all that it passes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hotserve.config.compatibility import ORIGINAL_FLAGS
from hotserve.config.flags import FlagValue, flag_value
from hotserve.errors import ConfigError


@dataclass(frozen=True, slots=True)
class OriginalCommandLine:
    """What the original makes of the words.

    Attributes:
        values: Flag -> its value, in the order in which they were first given; of several of a name the last counts.
        unknown: The words that it passes over, in order.
        unreadable: What is wrong with values that it cannot read: it ends with its usage.
    """

    values: Mapping[str, FlagValue]
    unknown: tuple[str, ...]
    unreadable: tuple[str, ...]

    def value(self, name: str) -> FlagValue | None:
        """A flag's value, or its default where it was not given; None for a default that the machine decides."""
        return self.values.get(name, ORIGINAL_FLAGS[name].default)


def read_original_command_line(words: Sequence[str]) -> OriginalCommandLine:
    """Reads the words after the program's name as the original does.

    `--name=value` is all that it takes, and a boolean's bare `--name`. Whatever else there is is no flag to it: one
    dash, a value after a blank, `--noname`.

    Source: Flags::Parse in tensorflow/core/util/command_line_flags.cc.
    """
    values: dict[str, FlagValue] = {}
    unknown: list[str] = []
    unreadable: list[str] = []
    for word in words:
        name, equals, text = word.removeprefix("--").partition("=")
        flag = ORIGINAL_FLAGS.get(name) if word.startswith("--") else None
        if flag is None or not (equals or flag.kind is bool):
            unknown.append(word)
            continue
        try:
            values[name] = flag_value(name, flag.kind, text if equals else "true")
        except ConfigError as error:
            unreadable.append(error.message)
    return OriginalCommandLine(values, tuple(unknown), tuple(unreadable))


def refusal_at_start(line: OriginalCommandLine) -> str | None:
    """Why the original would not start with these flags, in its own words; None if it would.

    Source: Server::BuildAndStart in tensorflow_serving/model_servers/server.cc.
    """

    def given(name: str) -> bool:
        return bool(line.value(name))

    def above_zero(name: str) -> bool:
        number = line.value(name)
        return isinstance(number, int) and number > 0

    if not given("port") and not given("grpc_socket_path"):
        return "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
    if given("use_alts_credentials") and given("ssl_config_file"):
        return "Either use_alts_credentials must be false or ssl_config_file must be empty."
    if not given("model_base_path") and not given("model_config_file"):
        return "Both server_options.model_base_path and server_options.model_config_file are empty!"
    if given("batching_parameters_file") and not given("enable_batching"):
        return "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
    threads = ("tensorflow_session_parallelism", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")
    if all(map(above_zero, threads)):
        return (
            "Either configure server_options.tensorflow_session_parallelism or"
            " (server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism)"
            " separately. You cannot configure all."
        )
    return None
