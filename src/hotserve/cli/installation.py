"""Whether this machine and this installation are fit to serve."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from hotserve.cli.findings import Finding, Grade
from hotserve.codecs import compiled
from hotserve.config.options import ServerOptions
from hotserve.errors import ConfigError
from hotserve.platforms.engines.engine import ONNXRUNTIME, OPENVINO
from hotserve.platforms.engines.installed import CONVERTER, install_command
from hotserve.platforms.registry import PLATFORMS
from hotserve.processors import usable_cpus
from hotserve.server.listen import bind
from hotserve.version import __version__

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<rest>.*)")

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def examine_installation(options: ServerOptions) -> Iterator[Finding]:
    """Looks at Python, packages, ports and processors; loads no framework.

    Args:
        options: Their ports are looked at.
    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding("Program", Grade.OK, f"hotserve {__version__}", str(Path(__file__).parents[1]))
    yield Finding("Program", Grade.OK, python, f"{sys.executable}, {platform.platform()}")
    yield _codec()
    yield from _packages()
    yield from _platforms()
    for flag, number in (("port", options.port), ("rest_api_port", options.rest_api_port)):
        if number:
            yield _port(flag, number)
    yield from _processors()


def _codec() -> Finding:
    # No problem, but a loss of speed that nobody would see otherwise.
    return Finding("Program", Grade.OK if compiled.IS_USED else Grade.NOTE, "JSON codec", compiled.describe_codec())


def _packages() -> Iterator[Finding]:
    try:
        requirements = requires("hotserve") or []
    except PackageNotFoundError:
        yield Finding("Packages", Grade.NOTE, "hotserve", "is not installed as a package: run from its sources")
        return
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in requirement or ("win32" in requirement and sys.platform == "win32"):
            continue
        yield _package("Packages", match["name"], match["rest"].partition(";")[0].strip(), Grade.ATTENTION)


def _platforms() -> Iterator[Finding]:
    for entry in PLATFORMS:
        if entry.package and entry.extra:
            yield _package("Extras", entry.package, f"for {entry.files.description}: {entry.install_command}")
    yield _package("Extras", OPENVINO, f"an engine for SavedModels: {install_command(OPENVINO)}")
    yield _package("Extras", CONVERTER, f"converts SavedModels for ONNX Runtime: {install_command(ONNXRUNTIME)}")


def _package(section: str, name: str, what: str, grade: Grade = Grade.NOTE) -> Finding:
    try:
        return Finding(section, Grade.OK, f"{name} {version(name)}")
    except PackageNotFoundError:
        return Finding(section, grade, name, f"is not installed ({what})")


def _port(flag: str, number: int) -> Finding:
    try:
        bind("", number, flag).close()
    except ConfigError as error:
        return Finding("Ports", Grade.ATTENTION, f"--{flag}={number}", error.message)
    return Finding("Ports", Grade.OK, f"--{flag}={number}", "is free")


def _processors() -> Iterator[Finding]:
    yield Finding("Processors", Grade.OK, f"{usable_cpus()} of {os.cpu_count()}", "may be used by this process")
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        share = int(quota) / int(period)
    except (OSError, ValueError):  # no such group, or "max": no limit
        return
    yield Finding("Processors", Grade.NOTE, f"{share:g}", "processors' time is what the control group may take")
