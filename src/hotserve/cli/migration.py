"""What it takes to put hotserve in the place of a TensorFlow Serving that somebody starts with a given command line.

Looks, and changes nothing: config files are read as the server would read them, model folders are looked through, and
neither a server nor a framework is started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hotserve.cli.file_findings import file_findings
from hotserve.cli.findings import Finding, Grade
from hotserve.cli.flag_findings import flag_findings, refusal_here, with_effect
from hotserve.cli.invocation import Invocation, read_invocation
from hotserve.cli.line_models import line_models
from hotserve.config.compatibility import default_text
from hotserve.config.flags import REFUSED
from hotserve.config.options import ServerOptions
from hotserve.config.original_command_line import OriginalCommandLine, read_original_command_line

_START_SECTION = "What is otherwise"

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
    findings = [*_docker_findings(line, invocation), *flag_findings(line, invocation)]
    findings += file_findings(line, invocation)
    findings += line_models(line, invocation)
    findings += _differences(line)
    return Diagnosis(tuple(findings), _command(line, invocation))


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


def _differences(line: OriginalCommandLine) -> Iterator[Finding]:
    def note(subject: str, text: str) -> Finding:
        return Finding(_START_SECTION, Grade.NOTE, subject, text)

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
    if any(line.values.get(name) for name in REFUSED) or refusal_here(line) is not None:
        return None
    values = with_effect(line)
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
