"""What it takes to put hotserve in the place of a TensorFlow Serving that somebody starts with a given command line.

Looks, and changes nothing: config files are read as the server would read them, model folders are looked through, and
neither a server nor a framework is started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from hotserve.cli.findings import Finding, Grade
from hotserve.cli.found_versions import CollectedWarnings, warnings_handled_by
from hotserve.cli.invocation import Invocation, read_invocation
from hotserve.cli.model_findings import MODELS_SECTION, model_findings, not_here
from hotserve.config.batching_config import batching_setup, read_batching_options
from hotserve.config.compatibility import (
    FORMER_FLAGS,
    ORIGINAL_FLAGS,
    FlagState,
    default_text,
    flag_compatibility,
)
from hotserve.config.flags import FLAGS, REFUSED, FlagValue
from hotserve.config.model_config import ModelConfig, local_path, model_configs_from_proto
from hotserve.config.monitoring_config import metrics_path
from hotserve.config.options import ServerOptions
from hotserve.config.original_command_line import OriginalCommandLine, read_original_command_line, refusal_at_start
from hotserve.config.session_config import log_unused_config, session_bundle_config
from hotserve.config.text_proto import read_text_proto
from hotserve.config.tls_config import read_tls_config
from hotserve.errors import ConfigError, ServingError
from hotserve.protos import messages
from hotserve.server.assemble import preferred_by
from hotserve.server.channel_arguments import read_channel_arguments
from hotserve.server.endpoints import check_endpoints

FLAGS_SECTION = "Flags"
FILES_SECTION = "Config files"
START_SECTION = "What is otherwise"

_FILES: Mapping[str, type[Message]] = {
    "monitoring_config_file": messages.MonitoringConfig,
    "ssl_config_file": messages.SSLConfig,
    "batching_parameters_file": messages.BatchingParameters,
    "platform_config_file": messages.PlatformConfigMap,
    "tensorflow_session_config_file": messages.ConfigProto,
    "thread_pool_factory_config_file": messages.ThreadPoolFactoryConfig,
}
"""The flags that name a file beside the model config, and what is in it."""

_REPOSITORY, _TAG = "hotserve", "tensorflow"
_IMAGE = f"{_REPOSITORY}:{_TAG}"
"""The image of deploy/docker that serves SavedModels."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that there is to say.

    Attributes:
        findings: In the order in which they are shown.
        command: The command to use; None where there is none that does the same.
    """

    findings: tuple[Finding, ...]
    command: tuple[str, ...] | None


def diagnose(words: Sequence[str], environment: Mapping[str, str]) -> Diagnosis:
    """Looks at a command line of TensorFlow Serving.

    Args:
        words: All of it, with the program or without.
        environment: The variables that it would see.

    Raises:
        ConfigError: It is a `docker run` line that cannot be read.
        ValueError: It is one word with quotes that are not closed.
    """
    invocation = read_invocation(words, environment)
    line = read_original_command_line(invocation.flags)
    findings = [*_docker_findings(line, invocation), *_flags(line, invocation)]
    findings += _files(line, invocation)
    findings += _models(line, invocation)
    findings += _differences(line)
    return Diagnosis(tuple(findings), _command(line, invocation))


# The command line.


def _docker_findings(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    docker = invocation.docker
    if docker is None:
        return
    section = "Container"
    if "serving" not in docker.image.rpartition("/")[2]:
        text = "is read as if its entry point were that of tensorflow/serving"
        yield Finding(section, Grade.NOTE, docker.image, text)
    for inside in sorted(docker.published.keys() - {line.value("port"), line.value("rest_api_port")}):
        text = "is published, and the server is told to listen on no such port"
        yield Finding(section, Grade.ATTENTION, f"port {inside}", text)
    if "gpus" in docker.options or docker.image.endswith("-gpu"):
        yield Finding(section, Grade.ATTENTION, "GPU", f"the image {_IMAGE} runs models on the processor only")
    if "env-file" in docker.options:
        text = "is not read here; if MODEL_NAME or MODEL_BASE_PATH are in it, say them with -e"
        yield Finding(section, Grade.ATTENTION, "--env-file", text)
    if "entrypoint" in docker.options:
        yield Finding(section, Grade.NOTE, "--entrypoint", "adds no flags; all of them stand after the image's name")
    if "user" not in docker.options:
        text = "the server is not root: the model's files must be readable for user 10001, or for that of --user"
        yield Finding(section, Grade.NOTE, "user", text)


def _flags(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    refusal = refusal_at_start(line)
    for text in (*line.unreadable, *([refusal] if refusal else [])):
        yield Finding(FLAGS_SECTION, Grade.ATTENTION, "TensorFlow Serving does not start with these", text)
    own_refusal = _refusal_here(line)
    if own_refusal is not None:
        yield Finding(FLAGS_SECTION, Grade.ATTENTION, "hotserve does not start with these", own_refusal)
    for name, value in line.values.items():
        yield _flag(name, value)
    yield from _unknown(line, invocation)
    if _ports_clash(line):
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


def _refusal_here(line: OriginalCommandLine) -> str | None:
    """Why hotserve would not start with the flags as they are; None if it would. Files are another matter."""
    values: dict[str, Any] = {"rest_api_port": 0, **_with_effect(line)}
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


def _ports_clash(line: OriginalCommandLine) -> bool:
    return bool(line.value("port")) and line.value("port") == line.value("rest_api_port")


def _with_effect(line: OriginalCommandLine) -> dict[str, FlagValue]:
    """The flags that do something here; of two ports that are the same, the one that the original opens."""
    names = {flag.name for flag in FLAGS}
    values = {name: value for name, value in line.values.items() if name in names}
    if _ports_clash(line):
        values["rest_api_port"] = 0
    return values


# Config files.


def _files(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    for name, message_class in _FILES.items():
        text = str(line.value(name) or "")
        if not text:
            continue
        path = invocation.local(text)
        if path is None:
            yield not_here(FILES_SECTION, text)
            continue
        warnings = CollectedWarnings()
        try:
            with warnings_handled_by(warnings):
                _read_file(name, path, message_class, line)
        except ServingError as error:
            yield Finding(FILES_SECTION, Grade.ATTENTION, text, error.message)
        else:
            known = flag_compatibility(name)
            if known.state is FlagState.WITHOUT_EFFECT:
                yield Finding(FILES_SECTION, Grade.NOTE, text, f"can be read; what it says has no effect: {known.text}")
            else:
                yield Finding(FILES_SECTION, Grade.OK, text)
            for warning in warnings.texts:
                yield Finding(FILES_SECTION, Grade.NOTE, text, warning.removeprefix(f"{path}: "))


def _read_file(name: str, path: Path, message_class: type[Message], line: OriginalCommandLine) -> None:
    """Reads a file as the server would, which logs what has no effect.

    Raises:
        ServingError: What is wrong with it.
    """
    if name == "ssl_config_file":
        read_tls_config(path, name)
    elif name == "monitoring_config_file":
        metrics_path(str(path))
    elif name == "batching_parameters_file":
        read_batching_options(path)
    elif name == "platform_config_file":
        values: dict[str, Any] = {**_with_effect(line), name: str(path)}
        log_unused_config(ServerOptions(**values))
    else:
        read_text_proto(path, message_class)


# Models.


def _models(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    file = str(line.value("model_config_file") or "")
    name, base_path = str(line.value("model_name")), str(line.value("model_base_path") or "")
    if file:
        yield from _models_of_file(file, line, invocation)
    elif base_path:
        if not base_path.startswith("/") and "://" not in base_path:
            text = "TensorFlow Serving refuses a base path that is not absolute; hotserve takes it"
            yield Finding(MODELS_SECTION, Grade.NOTE, name, text)
        try:
            model = ModelConfig(name, local_path(name, base_path).absolute())
            yield from model_findings(model, invocation, _preferred(line, invocation))
        except ConfigError as error:
            yield Finding(MODELS_SECTION, Grade.ATTENTION, name, error.message)


def _models_of_file(file: str, line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    path = invocation.local(file)
    if path is None:
        yield not_here(FILES_SECTION, file)
        return
    warnings = CollectedWarnings()
    try:
        with warnings_handled_by(warnings):
            config = read_text_proto(path, messages.ModelServerConfig)
            models = model_configs_from_proto(config, path.absolute().parent)
    except ServingError as error:
        yield Finding(FILES_SECTION, Grade.ATTENTION, file, error.message)
        return
    number = f"{len(models)} model{'' if len(models) == 1 else 's'}"
    yield Finding(FILES_SECTION, Grade.OK, file, number)
    for text in warnings.texts:
        yield Finding(FILES_SECTION, Grade.NOTE, file, text)
    labels_allowed = bool(line.value("allow_version_labels_for_unavailable_models"))
    for entry, model in zip(config.model_config_list.config, models, strict=True):
        for text in _refused_by_the_original(entry, labels_allowed):
            yield Finding(MODELS_SECTION, Grade.NOTE, model.name, f"TensorFlow Serving does not start with {text}")
        yield from model_findings(model, invocation, _preferred(line, invocation))


def _preferred(line: OriginalCommandLine, invocation: Invocation) -> str:
    """The platform that is looked for first; what is wrong with the file that may say so is told elsewhere."""
    file = str(line.value("platform_config_file") or "")
    path = invocation.local(file) if file else None
    options = ServerOptions(
        prefer_tflite_model=bool(line.value("prefer_tflite_model")), platform_config_file=str(path) if path else ""
    )
    try:
        with warnings_handled_by(CollectedWarnings()):
            return preferred_by(options)
    except ServingError:
        return ""


def _refused_by_the_original(entry: messages.ModelConfig, labels_allowed: bool) -> Iterator[str]:
    if not entry.base_path.startswith("/") and "://" not in entry.base_path:
        yield "a base_path that is not absolute; hotserve takes it from the folder of the config file"
    if not entry.model_platform and not entry.model_type:
        yield "a model that has no model_platform; hotserve tells it by the folder's content"
    if entry.version_labels and not labels_allowed:
        yield (
            "version_labels, unless --allow_version_labels_for_unavailable_models is given; with hotserve a label"
            " waits until its version is AVAILABLE"
        )
    if entry.HasField("logging_config"):
        yield "a logging_config; hotserve logs requests as it says"


# What a user will notice although every flag works.


def _differences(line: OriginalCommandLine) -> Iterator[Finding]:
    def note(subject: str, text: str) -> Finding:
        return Finding(START_SECTION, Grade.NOTE, subject, text)

    yield note(
        "start",
        "the ports open once the models that are there have loaded or failed. TensorFlow Serving waits without end for"
        " one that is missing, and ends when one fails; wait for GET /readyz or grpc.health.v1 in place of the port",
    )
    if not line.value("rest_api_port"):
        text = "has no port of its own, as before; `hotserve serve` without --rest_api_port opens 8501"
        yield note("REST", text)
    if not line.value("monitoring_config_file"):
        yield note("metrics", "are at /monitoring/prometheus/metrics; a --monitoring_config_file can turn them off")
    if ServerOptions().natural_batching and not line.value("enable_batching"):
        text = "requests may share runs where a signature's rows are independent; --natural_batching=false prevents it"
        yield note("batching", text)
    if "max_num_load_retries" not in line.values:
        yield note(
            "--max_num_load_retries",
            f"{ServerOptions().max_num_load_retries} in place of 5: a version that fails to load says so at once, and"
            " is tried again when its files change",
        )
    yield note("stop", "SIGTERM lets requests in flight finish, up to --drain_timeout_seconds")


def _command(line: OriginalCommandLine, invocation: Invocation) -> tuple[str, ...] | None:
    if any(line.values.get(name) for name in REFUSED) or _refusal_here(line) is not None:
        return None
    values = _with_effect(line)
    if values.get("model_config_file"):
        # The original does not look at them beside a config file, nor does hotserve.
        values.pop("model_name", None)
        values.pop("model_base_path", None)
    if invocation.docker is not None:
        own = read_original_command_line(invocation.own).values
        flags = [f"--{name}={default_text(value)}" for name, value in values.items() if name in own]
        return (*invocation.docker.before_image, _IMAGE, *flags)
    values.setdefault("rest_api_port", 0)
    return ("hotserve", "serve", *(f"--{name}={default_text(value)}" for name, value in values.items()))
