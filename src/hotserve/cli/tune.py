"""`hotserve tune`: finds out ahead of time which engine runs each signature of a SavedModel best."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hotserve.cli.inspected import InspectedVersion, document, lines
from hotserve.cli.inspected_folder import inspect_folder
from hotserve.cli.number_flags import positive
from hotserve.cli.tune_progress import TuneProgress
from hotserve.errors import FailedPrecondition, NotFound, ServingError
from hotserve.platforms.engines.cache import BESIDE_MODEL, EngineCache, Entry
from hotserve.platforms.engines.engine import TENSORFLOW
from hotserve.platforms.engines.examination import Job, end_process, examine_apart
from hotserve.platforms.engines.findings import Examination
from hotserve.platforms.engines.fingerprint import key_of
from hotserve.platforms.engines.installed import convertible, installed_versions
from hotserve.platforms.tensorflow import DEFAULT_TAGS

FAILED = 1
"""The exit code where a version could not be examined."""

_USUAL_THREADS = 0  # as many as follow from the size of the model; servers look for what was found with these


def tune(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    words = _parser().parse_args(arguments)
    cache = EngineCache(words.engine_cache_dir)
    progress = TuneProgress(sys.stderr)
    try:
        code = _tune(words, cache, progress)
        inspected = inspect_folder(words.path, cache)
    except ServingError as error:
        print(f"hotserve tune: {error.message}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"hotserve tune: {error.filename or words.path}: {error.strerror}", file=sys.stderr)
        return FAILED
    if words.json:
        print(json.dumps(document(inspected), indent=1))
    else:
        print("\n".join(lines(inspected)))
    return code


def _tune(words: argparse.Namespace, cache: EngineCache, progress: TuneProgress) -> int:
    versions = installed_versions()
    if importlib.util.find_spec(TENSORFLOW) is None:
        raise FailedPrecondition(
            "TensorFlow is not installed, whose answers those of other engines are compared with. Install it:"
            " pip install 'hotserve[tensorflow]'"
        )
    if not convertible(versions):
        raise FailedPrecondition(
            "No other engine is installed that a SavedModel can be converted for. Install some:"
            " pip install 'hotserve[engines]'"
        )
    found = [version for version in inspect_folder(words.path, cache).versions if _is_saved_model(version)]
    if not found:
        raise NotFound(
            f"{words.path} holds no complete SavedModel. Models of other formats have one engine: there is no choice."
        )
    code = 0
    for version in found:
        entry = _examined(Path(version.path), versions, words, cache, progress)
        if entry.examination.failure:
            print(f"{version.path}: {entry.examination.failure}", file=sys.stderr)
            code = FAILED
    return code


def _is_saved_model(version: InspectedVersion) -> bool:
    return version.platform.startswith(f"{TENSORFLOW}:") and bool(version.signatures)


def _examined(
    path: Path, versions: Mapping[str, str], words: argparse.Namespace, cache: EngineCache, progress: TuneProgress
) -> Entry:
    """What is found out about one version, and kept beside it."""
    key = key_of(path, DEFAULT_TAGS, _USUAL_THREADS, cache.memory)
    known = cache.find(key, versions, path)
    if known is not None and not words.again and known.folder.is_relative_to(path) and not known.examination.failure:
        progress.say(f"{path}: examined already; --again does it once more")
        return known
    engines = convertible(versions)
    progress.say(f"{path}: comparing {', '.join(engines)} with TensorFlow, which takes a minute or more")
    processes: list[subprocess.Popen[str]] = []

    def make(folder: Path) -> Examination:
        job = Job(path, folder, DEFAULT_TAGS, engines)
        return examine_apart(job, words.timeout, processes.append, progress.show)

    progress.begin(path)

    try:
        entry = cache.put(key, make, path)
    except KeyboardInterrupt:
        # It is in a session of its own, which the terminal does not interrupt.
        for process in processes:
            end_process(process)
        raise
    finally:
        progress.clear()
    progress.say(f"{path}: took {entry.examination.took:.0f} s; kept in {entry.folder}")
    return entry


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hotserve tune",
        description="Converts the SavedModels of a folder for the other engines that are installed, compares their"
        " answers with TensorFlow's, times them, and keeps what was found out beside each version, in"
        f" {BESIDE_MODEL}, where servers of the same kind of machine find it.",
        allow_abbrev=False,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a base path, or a version folder")
    parser.add_argument("--again", action="store_true", help="also where it has been done already")
    parser.add_argument("--timeout", type=positive(86_400.0), default=600.0, help="seconds for a version at most")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--engine_cache_dir", type=Path, metavar="FOLDER", help="as of hotserve serve")
    return parser
