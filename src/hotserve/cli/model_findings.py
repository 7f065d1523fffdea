"""What the doctor says of a model: its folder, the versions in it, and the packages that they need."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

from hotserve.cli.findings import Finding, Grade
from hotserve.cli.found_versions import CollectedWarnings, found_versions, warnings_handled_by
from hotserve.cli.invocation import Invocation
from hotserve.config.model_config import ModelConfig
from hotserve.core.source import AspiredVersion
from hotserve.errors import ConfigError
from hotserve.platforms.by_content import binds, check_platform, preferred_platform
from hotserve.platforms.registry import PlatformEntry, recognise

MODELS_SECTION = "Models"


def model_findings(model: ModelConfig, invocation: Invocation, preferred: str) -> Iterator[Finding]:
    """What a server would find of a model.

    Args:
        model: Its entry.
        invocation: Tells where the paths of containers are on this machine.
        preferred: The platform that is looked for first where a folder holds models of two kinds; empty for none.
    """
    if invocation.docker is not None:
        outside = invocation.local(str(model.base_path))
        if outside is None:
            yield not_here(MODELS_SECTION, f"{model.name} at {model.base_path}")
            return
        model = replace(model, base_path=outside.absolute())
    try:
        check_platform(model.name, model.platform)
    except ConfigError as error:
        yield Finding(MODELS_SECTION, Grade.ATTENTION, model.name, error.message)
    warnings = CollectedWarnings()
    with warnings_handled_by(warnings):
        versions = found_versions(model, preferred)
    for text in warnings.texts:
        yield Finding(MODELS_SECTION, Grade.ATTENTION, model.name, text)
    if not versions and not warnings.texts:
        yield Finding(MODELS_SECTION, Grade.ATTENTION, model.name, f"no version of {model.base_path} would be served")
    for version in reversed(versions):
        subject = f"{model.name} version {version.id.version}"
        platform = recognise(version.path, preferred_platform(model.platform, preferred))
        yield _version(model, subject, version, platform, in_container=invocation.docker is not None)


def _version(
    model: ModelConfig, subject: str, version: AspiredVersion, platform: PlatformEntry | None, *, in_container: bool
) -> Finding:
    if version.waiting_for or platform is None:
        text = f"not complete, and would not be loaded: {version.waiting_for}"
        return Finding(MODELS_SECTION, Grade.ATTENTION, subject, text)
    if binds(model.platform, platform):
        text = f"is of platform {platform.name}, but model_platform says {model.platform}"
        return Finding(MODELS_SECTION, Grade.ATTENTION, subject, text)
    if platform.package and not in_container and importlib.util.find_spec(platform.package) is None:
        text = f"is {platform.files.description}: {platform.package} is not installed: {platform.install_command}"
        return Finding(MODELS_SECTION, Grade.ATTENTION, subject, text)
    return Finding(MODELS_SECTION, Grade.OK, subject, f"{platform.files.description} in {version.path}")


def not_here(section: str, subject: str) -> Finding:
    """What is to be said of a path that only the container has."""
    return Finding(section, Grade.NOTE, subject, "is in the container's image or in a volume: not looked at")
