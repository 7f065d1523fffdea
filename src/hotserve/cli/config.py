"""`hotserve config`: shows what a model config file means, and what a reload would do, before either is used."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hotserve.cli.found_versions import found_versions, warnings_handled_by
from hotserve.config.batching_config import describe, read_version_options
from hotserve.config.model_config import ModelConfig, read_model_config
from hotserve.config.reload import ModelChange, plan_reload, read_reloaded_config
from hotserve.core.source import AspiredVersion
from hotserve.core.version_policy import policy_text
from hotserve.errors import ServingError
from hotserve.platforms.by_content import ANY_PLATFORM, binds, check_platform, preferred_platform
from hotserve.platforms.registry import recognise

FAILED = 1
"""The exit code of a file that is wrong, and of a reload that would be refused."""


def config(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    words = _parser().parse_args(arguments)
    try:
        with warnings_handled_by(_on_stdout()):
            return _check(words.file) if words.action == "check" else _diff(words.old, words.new)
    except ServingError as error:
        print(f"hotserve config: {error.message}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hotserve config", description="Looks at model config files; serves nothing.")
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="what a file means: models, folders, versions, labels")
    check.add_argument("file", type=Path, help="a model config file")
    diff = actions.add_parser("diff", help="what a server of one file would do when it gets another")
    diff.add_argument("old", type=Path, help="what is served")
    diff.add_argument("new", type=Path, help="what shall be served")
    return parser


def _check(file: Path) -> int:
    models = read_model_config(file)
    print(f"{file}: {_counted(len(models), 'model')}")
    errors = 0
    for model in models:
        print(f"\n{model.name}")
        for error in _show(model):
            errors += 1
            _line("ERROR", error)
    if errors:
        print(f"\n{_counted(errors, 'error')}")
    return FAILED if errors else 0


def _show(model: ModelConfig) -> Iterator[str]:
    """Prints what a model means; yields what is wrong with it."""
    _line("base_path", str(model.base_path))
    _line("platform", "by content" if model.platform in ANY_PLATFORM else model.platform)
    _line("policy", policy_text(model.version_policy))
    versions = found_versions(model)
    for version in reversed(versions):
        yield from _show_version(model, version)
    served = {version.id.version for version in versions}
    for label, number in sorted(model.version_labels.items()):
        note = "" if number in served else ", which would not be served: the label waits for it"
        _line(f"label {label}", f"version {number}{note}")
    try:
        check_platform(model.name, model.platform)
    except ServingError as error:
        yield error.message


def _show_version(model: ModelConfig, version: AspiredVersion) -> Iterator[str]:
    title = f"version {version.id.version}"
    platform = recognise(version.path, preferred_platform(model.platform))
    if version.waiting_for or platform is None:
        _line(title, f"not complete: {version.waiting_for}")
        return
    _line(title, platform.name)
    try:
        batching = read_version_options(version.path)
    except ServingError as error:
        yield f"{error.message} With --enable_per_model_batching_parameters the version would not be served."
    else:
        if batching is not None:
            _line("", f"with --enable_per_model_batching_parameters batched: {describe(batching)}")
    if binds(model.platform, platform):
        yield (
            f"{version.path} holds a model of platform {platform.name}, but model_platform says {model.platform}."
            f' Set model_platform: "{platform.name}", or leave it out.'
        )


def _diff(old: Path, new: Path) -> int:
    served = read_model_config(old)
    wanted = read_reloaded_config(new)
    for model in wanted:
        check_platform(model.name, model.platform)
    change = plan_reload(served, wanted)
    for model in change.added:
        print(f"+ {model.name}  {model.base_path}")
    for name in change.removed:
        print(f"- {name}")
    for pair in change.changed:
        print(f"~ {pair.new.name}  {'; '.join(pair.describe())}")
        for label, number in _moved_labels(pair):
            print(f"    refused if label {label} is in use and version {number} is not AVAILABLE at that moment")
    print(f"{_counted(len(change.unchanged), 'model')} unchanged")
    return 0


def _moved_labels(pair: ModelChange) -> Iterator[tuple[str, int]]:
    for label, number in sorted(pair.new.version_labels.items()):
        if pair.old.version_labels.get(label, number) != number:
            yield label, number


def _line(title: str, text: str) -> None:
    below = "\n" + " " * 16
    print(f"  {title:<14}{text.replace(chr(10), below)}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _on_stdout() -> logging.Handler:
    """Shows what a server would log of the folders among the rest of the output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(f"  {'warning':<14}%(message)s"))
    return handler
