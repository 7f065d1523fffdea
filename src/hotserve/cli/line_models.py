"""What the doctor says of the models that a TensorFlow Serving command line names, by a file or by flags."""

from __future__ import annotations

from collections.abc import Iterator

from hotserve.cli.file_findings import FILES_SECTION
from hotserve.cli.findings import Finding, Grade
from hotserve.cli.found_versions import CollectedWarnings, warnings_handled_by
from hotserve.cli.invocation import Invocation
from hotserve.cli.model_findings import MODELS_SECTION, model_findings, not_here
from hotserve.config.model_config import ModelConfig, local_path, model_configs_from_proto
from hotserve.config.options import ServerOptions
from hotserve.config.original_command_line import OriginalCommandLine
from hotserve.config.text_proto import read_text_proto
from hotserve.errors import ConfigError, ServingError
from hotserve.protos import messages
from hotserve.server.assemble import preferred_by


def line_models(line: OriginalCommandLine, invocation: Invocation) -> Iterator[Finding]:
    """What a server would find of each model.

    Args:
        line: What TensorFlow Serving would take the words for.
        invocation: Tells where the paths of containers are on this machine.
    """
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
