"""The platform tensorflow with other engines: loads SavedModels, and sees to it that the best engine serves them."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from hotserve.background import give_way, run_apart
from hotserve.codecs.signature_def import signature_from_proto
from hotserve.core.servable import Servable
from hotserve.errors import FailedPrecondition, ServingError
from hotserve.platforms.engines.background import BackgroundExaminations
from hotserve.platforms.engines.cache import EngineCache, Entry
from hotserve.platforms.engines.choice import Choice, choose, is_doubtful
from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.engine import AUTO, CHECK_SECONDS, TENSORFLOW, Engine
from hotserve.platforms.engines.examination import Job, examine_apart
from hotserve.platforms.engines.findings import Examination, SignatureFindings
from hotserve.platforms.engines.fingerprint import key_of
from hotserve.platforms.engines.graph_operations import read_signature_defs
from hotserve.platforms.engines.installed import Engines, convertible, install_command, installed_versions
from hotserve.platforms.engines.observer import EngineObserver, Unobserved
from hotserve.platforms.engines.reference import Reference
from hotserve.platforms.engines.report import report
from hotserve.platforms.engines.switching_servable import Served, SwitchingServable
from hotserve.platforms.engines.untried import load_untried
from hotserve.platforms.engines.ways import Way, Ways
from hotserve.platforms.saved_model_files import GRAPH_FILE
from hotserve.platforms.tensorflow import DEFAULT_TAGS, TensorFlowLoader
from hotserve.protos.messages import ConfigProto
from hotserve.tensors import Array, Signature, shape_text

logger = logging.getLogger(__name__)

SHORT_SECONDS = 0.0005
"""What TensorFlow may take, with the largest batch that was timed, for its runs to stay on the event loop."""

WARM_UP_ROWS = (1, 2, 8, 32)
"""With how many rows each compiled signature is run before it serves: an engine may prepare for each shape."""


@dataclass(slots=True)
class EngineRoom:
    """What the loaders of all models have in common.

    Attributes:
        cache: Where what has been found out is kept.
        check_seconds: How long an examination may take.
        engines: The engines of this process.
        background: Examines versions that serve already.
    """

    cache: EngineCache = field(default_factory=EngineCache)
    check_seconds: float = CHECK_SECONDS
    engines: Engines = field(default_factory=Engines)
    background: BackgroundExaminations = field(default_factory=BackgroundExaminations)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _makeshift: Path | None = None

    def writable_cache(self) -> EngineCache:
        """The cache; or one that goes with the machine's temporary files, where the cache cannot be written."""
        with self._lock:
            problem = self.cache.problem()
            if problem:
                folder = Path(tempfile.mkdtemp(prefix="hotserve-engines-"))
                logger.warning("%s; what is found out about engines is kept in %s for this run only", problem, folder)
                self.cache, self._makeshift = EngineCache(folder), folder
            return self.cache

    def close(self) -> None:
        """Ends what goes on in the background, and takes a cache for this run only away."""
        self.background.close()
        if self._makeshift is not None:
            shutil.rmtree(self._makeshift, ignore_errors=True)


class SavedModelLoader:
    """Loads SavedModels; see `Loader`."""

    def __init__(
        self,
        tags: Collection[str] = DEFAULT_TAGS,
        config: ConfigProto | None = None,
        engine: str = TENSORFLOW,
        room: EngineRoom | None = None,
        observer: EngineObserver | None = None,
    ) -> None:
        """Makes a loader.

        Args:
            tags: As for `TensorFlowLoader`.
            config: As for `TensorFlowLoader`.
            engine: What runs the versions; one of `engine.CHOICES`.
            room: What the loaders of all models have in common.
            observer: Told what happens.
        """
        self._tensorflow = TensorFlowLoader(tags, config)
        self._tags = tuple(sorted(set(tags)))
        self._config = config or ConfigProto()
        self._engine = engine
        self._room = room or EngineRoom()
        self._observer = observer or Unobserved()
        self._threads = max(0, self._config.intra_op_parallelism_threads)

    def load(self, path: Path) -> Servable:
        has_tensorflow = importlib.util.find_spec(TENSORFLOW) is not None
        if self._engine == TENSORFLOW or not (path / GRAPH_FILE).exists() or self._is_unusual():
            return self._tensorflow.load(path)
        versions = self._wanted_versions()
        entry, key = None, ""
        if versions:
            try:
                key = run_apart(self._key_of, path)
                entry = self._room.cache.find(key, versions, path)
            except OSError as error:
                logger.warning("Engines for %s are not looked for: %s", path, error)
        if entry is None and not has_tensorflow:
            return self._load_untried(path)
        if entry is None and key and self._engine != AUTO:
            entry = self._examine(path, key, versions, lambda process: None, lambda: False)
        if entry is not None:
            try:
                servable = self._from_entry(path, entry, versions)
            except ServingError as error:
                logger.warning(
                    "What is kept in %s for %s cannot be used, and is made again: %s", entry.folder, path, error
                )
                self._room.cache.drop(entry)
                servable = entry = None
            if servable is not None:
                if entry is not None and self._may_choose_otherwise(entry, versions):
                    self._time_later(path, key, versions, entry, servable)
                return servable
        if not has_tensorflow:
            return self._load_untried(path)
        loaded = self._tensorflow.load(path)
        if entry is not None and self._may_choose_otherwise(entry, versions):
            servable = self._servable(path, loaded.signatures, self._reference(path, loaded), {})
            self._time_later(path, key, versions, entry, servable)
            return servable
        if entry is not None or not convertible(versions) or not key:
            return loaded
        return self._examined_later(path, key, versions, loaded)

    def _key_of(self, path: Path) -> str:
        give_way()
        return key_of(path, self._tags, self._threads, self._room.cache.memory)

    def _load_untried(self, path: Path) -> Servable:
        room = self._room
        return load_untried(path, self._tags, self._engine, self._threads, room.engines, self._observer)

    def _is_unusual(self) -> bool:
        """Whether the sessions compute in another way than other engines do, on purpose."""
        rewriting = self._config.graph_options.rewrite_options
        return bool(rewriting.auto_mixed_precision_onednn_bfloat16 or rewriting.auto_mixed_precision)

    def _wanted_versions(self) -> Mapping[str, str]:
        """Engine -> version, of those that come into question.

        Raises:
            FailedPrecondition: The one that is asked for is not installed.
        """
        installed = installed_versions()
        if self._engine == AUTO:
            return {name: installed[name] for name in convertible(installed)} or installed
        if self._engine not in installed:
            raise FailedPrecondition(
                f"--engine={self._engine}: that engine is not installed here. Install it:"
                f" {install_command(self._engine)}"
            )
        if not convertible([self._engine]):
            logger.warning(
                "--engine=%s: tf2onnx is not installed here, without which a SavedModel is served only if it has been"
                " converted elsewhere. Install it: %s",
                self._engine,
                install_command(self._engine),
            )
        return {self._engine: installed[self._engine]}

    # With what is known.

    def _from_entry(self, path: Path, entry: Entry, versions: Mapping[str, str]) -> SwitchingServable | None:
        """The version as an entry has it; None where TensorFlow serves all of it.

        Raises:
            ServingError: The entry proves broken.
        """
        choices = choose(entry.examination, self._engine, versions)
        if not any(choice.engine != TENSORFLOW for choice in choices.values()):
            self._tell(path, choices, entry.examination)
            return None
        signatures = {
            name: signature_from_proto(serialized) for name, serialized in read_signature_defs(path, self._tags).items()
        }
        served = self._restore(entry, choices, signatures)
        reference = self._reference(path, None)
        needs_it = [name for name in signatures if name not in served and _is_callable(signatures[name])]
        if reference is None and needs_it:
            logger.warning(
                "Signatures of %s that need TensorFlow, which is not installed here, answer with an error: %s",
                path,
                ", ".join(f"{name} ({choices[name].reason})" for name in needs_it),
            )
        if reference is not None and needs_it:
            reference = self._reference(path, self._tensorflow.load(path))
        servable = self._servable(path, signatures, reference, served)
        servable.findings = report(choices, entry.examination)
        self._observer.examined(path, "found", 0.0)
        self._tell(path, choices, entry.examination)
        return servable

    def _reference(self, path: Path, loaded: Servable | None) -> Reference | None:
        if importlib.util.find_spec(TENSORFLOW) is None:
            return None
        return Reference(partial(self._tensorflow.load, path), loaded)

    def _servable(
        self,
        path: Path,
        signatures: Mapping[str, Signature],
        reference: Reference | None,
        served: Mapping[str, Served],
    ) -> SwitchingServable:
        observer = self._observer
        servable = SwitchingServable(
            signatures, self._tags, reference, served, lambda name, reason: observer.fell_back(path, name, reason)
        )
        servable.when_unloaded(lambda: observer.unloaded(path))
        return servable

    def _restore(
        self, entry: Entry, choices: Mapping[str, Choice], signatures: Mapping[str, Signature]
    ) -> Mapping[str, Served]:
        """Makes ready what has been chosen.

        Raises:
            ServingError: A file is broken, or an engine does not run what it has run in the examination.
        """
        served = {}
        ready: dict[tuple[str, int], Way] = {}
        for name, choice in choices.items():
            found = entry.examination.signatures[name]
            if choice.engine == TENSORFLOW or name not in signatures:
                continue
            ways = []
            for one, chosen in zip((found, *found.alternatives), (choice, *choice.alternatives), strict=True):
                # Signatures that compute the same have one between them.
                key = chosen.engine, one.number
                if key not in ready and chosen.engine != TENSORFLOW:
                    ready[key] = self._way(entry, chosen.engine, one, signatures[name])
                if key in ready:
                    ways.append(ready[key])
            is_short = max(found.seconds.values(), default=1.0) <= SHORT_SECONDS
            served[name] = Served(Ways(ways), is_short)
        return served

    def _way(self, entry: Entry, name: str, found: SignatureFindings, signature: Signature) -> Way:
        finding = found.engines[name]
        if finding.domain is None:
            raise FailedPrecondition(f"it is not said which inputs {name} may be given")
        engine = self._room.engines.get(name)
        runner = run_apart(engine.restore, entry.folder / str(found.number), signature, self._threads)
        way = Way(name, runner, finding.domain)
        _warm_up(way, engine, signature, max(finding.seconds, default=1))
        return way

    # Finding out.

    def _examined_later(self, path: Path, key: str, versions: Mapping[str, str], loaded: Servable) -> Servable:
        servable = self._servable(path, loaded.signatures, self._reference(path, loaded), {})

        def work(starting: Callable[[subprocess.Popen[str]], None], given_up: Callable[[], bool]) -> None:
            entry = self._examine(path, key, versions, starting, given_up)
            if entry is not None and not given_up():
                self._switch(path, servable, entry, versions)

        servable.when_unloaded(self._room.background.submit(work).cancel)
        return servable

    def _may_choose_otherwise(self, entry: Entry, versions: Mapping[str, str]) -> bool:
        """Whether it is worth while to measure once more what was measured when the machine was busy."""
        return (
            self._engine == AUTO
            and importlib.util.find_spec(TENSORFLOW) is not None
            and self._room.cache.has(entry)
            and is_doubtful(entry.examination, versions)
        )

    def _time_later(
        self, path: Path, key: str, versions: Mapping[str, str], entry: Entry, servable: SwitchingServable
    ) -> None:
        def work(starting: Callable[[subprocess.Popen[str]], None], given_up: Callable[[], bool]) -> None:
            try:
                timed = self._timed_again(path, key, versions, entry, starting, given_up)
            except (OSError, FailedPrecondition) as error:
                logger.info("The engines of %s stay as they were chosen, and are not timed again: %s", path, error)
                return
            if timed is None or given_up():
                return
            before, now = (choose(one.examination, self._engine, versions) for one in (entry, timed))
            if _engines_of(before) != _engines_of(now):
                self._switch(path, servable, timed, versions)
            else:
                servable.findings = report(now, timed.examination)
                self._tell(path, now, timed.examination)

        servable.when_unloaded(self._room.background.submit(work).cancel)

    def _timed_again(
        self,
        path: Path,
        key: str,
        versions: Mapping[str, str],
        entry: Entry,
        starting: Callable[[subprocess.Popen[str]], None],
        given_up: Callable[[], bool],
    ) -> Entry | None:
        """The entry with new times, by us or by another process; None where it was given up or is gone.

        Raises:
            OSError: It cannot be written.
            FailedPrecondition: The measuring has failed.
        """
        cache = self._room.writable_cache()
        with cache.turn(key, given_up) as is_ours:
            known = cache.find(key, versions, path) if is_ours else None
            if known is None or known.examination != entry.examination:
                return known
            logger.info("Timing the engines of %s once more: the machine was busy", path)
            folder_before = known.folder

            def make(folder: Path) -> Examination:
                shutil.copytree(folder_before, folder, dirs_exist_ok=True)
                config = self._config.SerializeToString()
                job = Job(path, folder, self._tags, convertible(versions), self._threads, config, is_known=True)
                examination = examine_apart(job, self._room.check_seconds, starting)
                if given_up() or examination.failure:
                    raise FailedPrecondition(examination.failure or "The version is gone.")
                return examination

            return cache.put(key, make)

    def _examine(
        self,
        path: Path,
        key: str,
        versions: Mapping[str, str],
        starting: Callable[[subprocess.Popen[str]], None],
        given_up: Callable[[], bool],
    ) -> Entry | None:
        """What is known, found out now if need be; None where it was given up or cannot be kept."""
        try:
            cache = self._room.writable_cache()
            with cache.turn(key, given_up) as is_ours:
                if not is_ours:
                    return None
                entry = cache.find(key, versions, path)
                if entry is not None:
                    return entry
                start = time.perf_counter()
                logger.info("Examining engines for %s: %s", path, ", ".join(sorted(versions)))

                def make(folder: Path) -> Examination:
                    job = Job(
                        path, folder, self._tags, convertible(versions), self._threads, self._config.SerializeToString()
                    )
                    examination = examine_apart(job, self._room.check_seconds, starting)
                    if given_up():
                        raise FailedPrecondition("The version is gone.")
                    return examination

                entry = cache.put(key, make)
        except FailedPrecondition:
            return None
        except OSError as error:
            logger.warning(
                "Engines for %s cannot be examined, and TensorFlow serves it: %s in %s (--engine_cache_dir names"
                " another folder)",
                path,
                error.strerror or error,
                self._room.cache.folder,
            )
            return None
        seconds = time.perf_counter() - start
        failure = entry.examination.failure
        if failure:
            logger.warning("The examination of engines for %s failed, and TensorFlow serves it: %s", path, failure)
        self._observer.examined(path, "failed" if failure else "done", seconds)
        return entry

    def _switch(self, path: Path, servable: SwitchingServable, entry: Entry, versions: Mapping[str, str]) -> None:
        choices = choose(entry.examination, self._engine, versions)
        try:
            served = self._restore(entry, choices, servable.signatures)
        except ServingError as error:
            logger.warning("What was found out about %s cannot be used: %s", path, error)
            self._room.cache.drop(entry)
            return
        servable.switch(served)
        servable.findings = report(choices, entry.examination)
        self._tell(path, choices, entry.examination)
        moved = all(name in served for name, signature in servable.signatures.items() if _is_callable(signature))
        if moved and run_apart(servable.let_reference_go):
            logger.info("TensorFlow's session of %s is closed: other engines serve all of its signatures", path)

    def _tell(self, path: Path, choices: Mapping[str, Choice], examination: Examination) -> None:
        self._observer.chosen(path, choices, examination)
        if choices:
            logger.info("Engines of %s: %s", path, "; ".join(_in_words(choices, examination)))
        for name, found in sorted(examination.signatures.items()):
            for engine, finding in sorted(found.engines.items()):
                if finding.differs:
                    logger.warning("%s does not serve signature %s of %s: %s", engine, name, path, finding.refusal)


def _in_words(choices: Mapping[str, Choice], examination: Examination) -> Sequence[str]:
    words = []
    for name, choice in sorted(choices.items()):
        found = examination.signatures[name]
        if found.bound:
            words.append(f"{name}: {choice.engine}, {choice.reason}")
            continue
        times = [f"{TENSORFLOW} {_microseconds(found.seconds)}"]
        times += [
            f"{engine} {_microseconds(finding.seconds)}, largest difference {finding.absolute:.2g}"
            for engine, finding in sorted(found.engines.items())
            if finding.agrees
        ]
        also = f"; {', '.join(others)} likewise" if (others := _others(choice, found)) else ""
        words.append(f"{name}: {choice.engine}, {choice.reason} ({'; '.join(times)}){also}")
    return words


def _engines_of(choices: Mapping[str, Choice]) -> Mapping[str, Sequence[str]]:
    """Signature name -> what runs it, and what runs inputs of each of the other shapes."""
    return {name: [choice.engine, *(other.engine for other in choice.alternatives)] for name, choice in choices.items()}


def _others(choice: Choice, found: SignatureFindings) -> Sequence[str]:
    """The shapes beside the declared ones that are not left to TensorFlow."""
    words = []
    for chosen, other in zip(choice.alternatives, found.alternatives, strict=True):
        domain = other.engines[chosen.engine].domain if chosen.engine != TENSORFLOW else None
        if domain is not None:
            words.append(" and ".join(shape_text(shape) for shape in domain.shapes.values()))
    return words


def _microseconds(seconds: Mapping[int, float]) -> str:
    listed = "/".join(f"{1e6 * seconds[rows]:.0f}" for rows in sorted(seconds))
    rows = "/".join(str(rows) for rows in sorted(seconds))
    return f"{listed} us for {rows} rows"


def _is_callable(signature: Signature) -> bool:
    return bool(signature.inputs and signature.outputs)


def _warm_up(way: Way, engine: Engine, signature: Signature, most_rows: int) -> None:
    """Runs it on values that are allowed, and has the engine give back what only the larger runs have needed.

    Raises:
        ServingError: It does not run.
    """
    is_varied = any(shape[:1] == (None,) for shape in way.domain.shapes.values())
    for rows in (rows for rows in WARM_UP_ROWS if rows == 1 or (is_varied and rows <= most_rows)):
        try:
            way.runner.run(_allowed(way.domain, signature, rows), list(signature.outputs))
        except ServingError as error:
            if not any(None in shape[1:] for shape in way.domain.shapes.values()):
                raise
            # Which sizes of other dimensions go together is the model's own matter.
            logger.debug("%s is not warmed up: %s", way.engine, error)
            return
    engine.settle(way.runner, _allowed(way.domain, signature, 1))


def _allowed(domain: Domain, signature: Signature, rows: int) -> Mapping[str, Array]:
    """Inputs of a domain, the smallest ones of so many rows."""
    inputs: dict[str, Array] = {}
    for alias, shape in domain.shapes.items():
        sizes = [(rows if place == 0 else 1) if size is None else size for place, size in enumerate(shape)]
        bounds = domain.bounds.get(alias)
        value = 0 if bounds is None else min(max(0, bounds.lowest), bounds.highest)
        inputs[alias] = np.full(sizes, value, signature.inputs[alias].dtype.numpy)
    return inputs
