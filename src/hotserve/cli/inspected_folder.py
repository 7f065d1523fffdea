"""What a model's folder holds: its versions, what would load them, and what they answer."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hotserve.cli.found_versions import CollectedWarnings, found_versions, warnings_handled_by
from hotserve.cli.inspected import Inspected, InspectedSignature, InspectedVersion, batching_of
from hotserve.codecs.prediction_log import read_log
from hotserve.codecs.signature_def import signature_from_proto
from hotserve.config.model_config import ModelConfig
from hotserve.core.version_policy import All
from hotserve.errors import NotFound, ServingError
from hotserve.handlers.recorded_warmup import WARMUP_FILE
from hotserve.platforms.by_content import ByContentLoader
from hotserve.platforms.engines.cache import EngineCache
from hotserve.platforms.engines.choice import choose
from hotserve.platforms.engines.engine import AUTO
from hotserve.platforms.engines.fingerprint import key_of
from hotserve.platforms.engines.graph_operations import read_signature_defs
from hotserve.platforms.engines.installed import installed_versions
from hotserve.platforms.registry import PlatformEntry, missing_parts, recognise
from hotserve.platforms.tensorflow import DEFAULT_TAGS
from hotserve.platforms.warmup import no_warm_up
from hotserve.sources.versions import version_number
from hotserve.tensors import Signature

_SAVED_MODEL: Final = "tensorflow"


def inspect_folder(path: Path, cache: EngineCache) -> Inspected:
    """Looks at a version folder, or at a base path with version folders; serves nothing.

    Args:
        path: The folder.
        cache: What is known of engines.

    Raises:
        NotFound: There is no such folder, or no version in it.
    """
    if not path.is_dir():
        raise NotFound(
            f"{path} is no folder. Expected one of a model, with a folder for each version, or of a version."
        )
    path = path.absolute()
    if recognise(path) is not None:
        return Inspected(str(path), [_version(version_number(path.name), path, "", cache)])
    warnings = CollectedWarnings()
    with warnings_handled_by(warnings):
        found = found_versions(ModelConfig(path.name, path, version_policy=All()))
    versions = [_version(one.id.version, one.path, one.waiting_for or "", cache) for one in reversed(found)]
    if not versions:
        raise NotFound(f"{path} holds no version. {' '.join(warnings.texts) or missing_parts(path)}")
    return Inspected(str(path), versions, warnings.texts)


def _version(number: int | None, path: Path, waits_for: str, cache: EngineCache) -> InspectedVersion:
    try:
        return _readable_version(number, path, waits_for, cache)
    except OSError as error:  # no permission, or a file that goes away meanwhile: the other versions are shown
        reason = waits_for or f"the folder cannot be read: {error.strerror or error}"
        return InspectedVersion(number, f"not complete: {reason}", path=str(path))


def _readable_version(number: int | None, path: Path, waits_for: str, cache: EngineCache) -> InspectedVersion:
    entry = recognise(path)
    missing = waits_for or missing_parts(path) or ""
    signatures: Mapping[str, InspectedSignature] = {}
    problem = ""
    if entry is not None and not missing:
        try:
            signatures = _signatures(path, entry, cache)
        except ServingError as error:
            problem = error.message
    return InspectedVersion(
        number,
        f"not complete: {missing}" if missing else "complete",
        signatures,
        problem,
        str(path),
        _platform(entry) if entry is not None else "",
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        _warm_up(path / WARMUP_FILE),
    )


def _platform(entry: PlatformEntry) -> str:
    text = f"{entry.name}: {entry.files.description}"
    if entry.package and importlib.util.find_spec(entry.package) is None:
        text += f"; {entry.package} is not installed: {entry.install_command}"
    return text


def _warm_up(file: Path) -> str:
    if not file.exists():
        return f"none; {WARMUP_FILE} would be the file"
    try:
        count = sum(1 for _ in read_log(file))
    except ServingError as error:
        return error.message
    return f"{count} request{'s' * (count != 1)} in {WARMUP_FILE}"


def _signatures(path: Path, entry: PlatformEntry, cache: EngineCache) -> Mapping[str, InspectedSignature]:
    if entry.name != _SAVED_MODEL:
        servable = ByContentLoader(warm_up=no_warm_up).load(path)
        found = {name: InspectedSignature(one, batching_of(one)) for name, one in servable.signatures.items()}
        servable.unload()
        return found
    protos = read_signature_defs(path, DEFAULT_TAGS)
    return _with_engines(path, {name: signature_from_proto(proto) for name, proto in protos.items()}, cache)


def _with_engines(
    path: Path, signatures: Mapping[str, Signature], cache: EngineCache
) -> Mapping[str, InspectedSignature]:
    """The signatures of a SavedModel, with what an examination has found out about engines for them."""
    versions = installed_versions()
    try:
        entry = cache.find(key_of(path, DEFAULT_TAGS, 0, cache.memory), versions, path) if versions else None
    except OSError:
        # A file of the model cannot be read, which the load would say; nothing is known of its engines.
        entry = None
    if entry is None:
        unknown = "tensorflow; others are not examined yet (hotserve tune, or serving it)" if versions else ""
        return {name: InspectedSignature(one, batching_of(one), unknown) for name, one in signatures.items()}
    if entry.examination.failure:
        failed = f"tensorflow: {entry.examination.failure}"
        return {name: InspectedSignature(one, batching_of(one), failed) for name, one in signatures.items()}
    choices = choose(entry.examination, AUTO, versions)
    found = {}
    for name, one in signatures.items():
        findings = entry.examination.signatures.get(name)
        if findings is None:
            found[name] = InspectedSignature(one, batching_of(one))
            continue
        agreeing = {engine: finding for engine, finding in findings.engines.items() if finding.agrees}
        found[name] = InspectedSignature(
            one,
            batching_of(one),
            f"{choices[name].engine}: {choices[name].reason}",
            {
                **({_SAVED_MODEL: findings.seconds} if findings.seconds else {}),
                **{engine: finding.seconds for engine, finding in agreeing.items()},
            },
            {engine: finding.absolute for engine, finding in agreeing.items()},
        )
    return found
