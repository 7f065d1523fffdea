"""Examines a SavedModel: converts it for other engines, compares their answers with TensorFlow's, and times them.

`examine` does it in the calling process and needs TensorFlow; `examine_apart` does it in one of its own, which may
crash, hang or take all memory without harm to a server.

    python -m hotserve.platforms.engines.examination [FILE] < JOB

is that process; JOB is a JSON object with the arguments of `examine`, FILE the descriptor of a pipe that it tells its
steps; see `steps.telling`.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from hotserve.child_python import module_command, module_environment
from hotserve.codecs.signature_def import signature_from_proto
from hotserve.core.servable import Servable
from hotserve.errors import ServingError
from hotserve.platforms.engines.apart import stand_back
from hotserve.platforms.engines.comparison import Difference, compare, largest_of
from hotserve.platforms.engines.converted import (
    DECLARED_ONLY,
    ConvertedAlternative,
    ConvertedSignature,
    read_conversion,
)
from hotserve.platforms.engines.engine import TENSORFLOW, Engine, Runner
from hotserve.platforms.engines.findings import EngineFinding, Examination, SignatureFindings, examination_from_json
from hotserve.platforms.engines.graph_operations import operations_of, read_graph, read_signature_defs
from hotserve.platforms.engines.installed import Engines, installed_versions
from hotserve.platforms.engines.made_up_inputs import SCALES, Inputs, Trial, Trials, can_be_made_up, make_trials
from hotserve.platforms.engines.other_shapes import SIZES
from hotserve.platforms.engines.recorded_inputs import read_samples
from hotserve.platforms.engines.stateful_operations import why_bound, writes
from hotserve.platforms.engines.steps import Progress, Step, follow, silent, step_of, telling
from hotserve.platforms.engines.timing import time_again, time_runs
from hotserve.platforms.engines.unsafe_operations import why_unsafe
from hotserve.platforms.tensorflow import TensorFlowLoader
from hotserve.protos.messages import ConfigProto, GraphDef, SignatureDef
from hotserve.tensors import Array, Signature

logger = logging.getLogger(__name__)

RESULT_FILE: Final = "examination.json"
"""What has been found out, in the folder of the files that belong to it."""

_INIT_OP: Final = "__saved_model_init_op"
"""The signature by which TensorFlow's loader finds the operation that it runs first, and nobody else does."""

_SHOWN_CHARACTERS: Final = 500

_BEFORE_SIGNATURES: Final = 3
"""Steps before the first signature is compared: the graph, the conversion, TensorFlow."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is examined, and how.

    Attributes:
        path: The version folder.
        target: The folder that the files of the engines go to; it exists and is empty.
        tags: Those of the meta graph.
        engines: The engines that are tried.
        threads: How many threads one run may use; 0 chooses by the size of the model.
        session_config: The options of TensorFlow's session, a serialized ConfigProto.
        is_known: Whether the folder has the files of an examination already, and only the times are to be measured once
            more.
    """

    path: Path
    target: Path
    tags: Sequence[str]
    engines: Sequence[str]
    threads: int = 0
    session_config: bytes = b""
    is_known: bool = False

    def to_json(self) -> str:
        """As the process of its own reads it."""
        return json.dumps(
            {
                "path": str(self.path),
                "target": str(self.target),
                "tags": list(self.tags),
                "engines": list(self.engines),
                "threads": self.threads,
                "session_config": base64.b64encode(self.session_config).decode(),
                "is_known": self.is_known,
            }
        )


def examine(job: Job, progress: Progress = silent) -> Examination:
    """Examines a version, in this process.

    In `job.target` are then, for each engine that agrees on some signature, the files that it is restored from.

    Args:
        job: What is examined.
        progress: Told of each step.

    Returns:
        What has been found out.

    Raises:
        ServingError: TensorFlow refuses the version.
    """
    start = time.perf_counter()
    progress("looking at the graph", 0.0)
    bounds = bound_signatures(job.path, job.tags)
    versions = {name: version for name, version in installed_versions().items() if name in job.engines}
    if all(bounds.values()):
        signatures = {name: SignatureFindings(bound=reason) for name, reason in bounds.items()}
        return Examination(signatures, versions, time.time(), time.perf_counter() - start)
    names = [name for name, reason in bounds.items() if not reason]
    # Before it is known which of them compute the same, each may have to be compared and timed by itself.
    steps = _BEFORE_SIGNATURES + 2 * len(names)
    progress("converting", 1 / steps)
    converted = _convert(job, names)
    progress("loading TensorFlow", 2 / steps)
    servable = TensorFlowLoader(job.tags, ConfigProto.FromString(job.session_config)).load(job.path)
    try:
        samples = read_samples(job.path, servable.signatures)
        engines = Engines()
        findings = {name: SignatureFindings(bound=reason) for name, reason in bounds.items() if reason}
        groups = _same(converted)
        steps = _BEFORE_SIGNATURES + 2 * len(groups)
        for place, same in enumerate(groups):
            name, step = same[0], _BEFORE_SIGNATURES + 2 * place
            progress(f"comparing signature {', '.join(same)}", step / steps)
            examiner = _Examiner(servable, name, engines, job)
            recorded = [sample.inputs for other in same for sample in samples.get(other, ())]
            found = examiner.examine(converted[name], recorded, step_of(progress, (step + 1) / steps))
            findings |= dict.fromkeys(same, found)
    finally:
        servable.unload()
    _clear(job, findings, engines)
    return Examination(findings, versions, time.time(), time.perf_counter() - start)


def measure_again(job: Job, progress: Progress = silent) -> Examination:
    """Measures the times of a version once more that has been examined, in this process.

    Args:
        job: What was examined; `target` has what was found out, and the files.
        progress: Told of each step.

    Returns:
        The same, with the shortest times of all measurements.

    Raises:
        ServingError: TensorFlow or an engine refuses what it has run before, or what was found out cannot be read.
    """
    try:
        known = examination_from_json((job.target / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServingError(f"What was found out cannot be read: {error}") from error
    engines = Engines()

    def restore(engine: str, number: int, signature: Signature) -> Runner:
        return engines.get(engine).restore(job.target / str(number), signature, job.threads)

    progress("loading TensorFlow", 0.0)
    servable = TensorFlowLoader(job.tags, ConfigProto.FromString(job.session_config)).load(job.path)
    measured: dict[int, SignatureFindings] = {}
    signatures = dict(known.signatures)
    try:
        for place, (name, found) in enumerate(known.signatures.items(), 1):
            progress(f"timing signature {name}", place / (1 + len(known.signatures)))
            if not found.bound and found.engines:
                # Signatures that compute the same have the same number.
                if found.number not in measured:
                    measured[found.number] = time_again(found, name, servable, restore)
                signatures[name] = measured[found.number]
    finally:
        servable.unload()
    return replace(known, signatures=signatures)


def bound_signatures(path: Path, tags: Sequence[str]) -> Mapping[str, str]:
    """Which signatures stay with TensorFlow, whatever other engines do.

    Args:
        path: The version folder.
        tags: The tags of the meta graph.

    Returns:
        Signature name -> the reason, in words for the user; empty where there is none.

    Raises:
        InvalidArgument: The SavedModel cannot be read.
    """
    definitions = {
        name: SignatureDef.FromString(serialized) for name, serialized in read_signature_defs(path, tags).items()
    }
    graph = read_graph(path, tags)
    operations = {name: operations_of(definition, graph) for name, definition in definitions.items()}
    # What runs once, when the version is loaded, fills tables that are constants from then on.
    writers = [
        name for name in definitions if name != _INIT_OP and definitions[name].outputs and writes(operations[name])
    ]
    reasons = {}
    for name, definition in definitions.items():
        reason = can_be_made_up(signature_from_proto(definition)) or why_bound(operations[name])
        if not reason and writers:
            reason = f"another signature of the model writes variables ({writers[0]})"
        reasons[name] = reason
    return reasons


def examine_apart(
    job: Job,
    timeout_seconds: float,
    starting: Callable[[subprocess.Popen[str]], None],
    progress: Progress = silent,
) -> Examination:
    """Examines a version in a process of its own, at low priority.

    Args:
        job: What is examined.
        timeout_seconds: How long it may take.
        starting: Told the process, so that it can be ended before its time.
        progress: Told several times a second how far it is.

    Returns:
        What has been found out; with `failure` set where the process has not come to its end.
    """
    with TemporaryFile("w+", encoding="utf-8") as said:
        said.write(job.to_json())
        said.seek(0)
        # Not its standard output: what it imports prints there.
        told, written = os.pipe()
        try:
            os.set_blocking(told, False)
            try:
                process = subprocess.Popen(
                    module_command("hotserve.platforms.engines.examination", str(written)),
                    env=module_environment(),
                    stdin=said,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    # A group, to be ended as a whole, and no session: where Linux groups the processes of each session
                    # (sched(7), autogroup), a low priority counts for nothing beside those of another one.
                    process_group=0,
                    pass_fds=(written,),
                )
            finally:
                os.close(written)
            starting(process)
            return _ended(job, process, timeout_seconds, told, progress)
        finally:
            os.close(told)


def _ended(
    job: Job, process: subprocess.Popen[str], timeout_seconds: float, told: int, progress: Progress
) -> Examination:
    """Waits for the process of an examination, and reads what it has left."""
    start = time.perf_counter()
    failure = ""
    try:
        errors = follow(process, timeout_seconds, told, progress)
    except subprocess.TimeoutExpired:
        end_process(process)
        process.communicate()
        failure = f"it took longer than {timeout_seconds:g} s (--engine_check_timeout)"
    else:
        if process.returncode != 0:
            last = errors.strip()[-_SHOWN_CHARACTERS:] or "no words"
            failure = f"the process of the examination ended with {process.returncode}: {last}"
    if not failure:
        try:
            return examination_from_json((job.target / RESULT_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            failure = f"the examination has left nothing that can be read: {error}"
    versions = {name: version for name, version in installed_versions().items() if name in job.engines}
    return Examination({}, versions, time.time(), time.perf_counter() - start, failure)


def end_process(process: subprocess.Popen[str]) -> None:
    """Kills an examination, with the conversion that it may have started; does nothing once it has ended."""
    if process.returncode is not None:
        return  # Its number may be that of another process by now.
    try:
        os.killpg(process.pid, 9)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _convert(job: Job, names: Sequence[str]) -> Mapping[str, ConvertedSignature]:
    words = [str(job.path), str(job.target), json.dumps(list(job.tags)), json.dumps(names)]
    ended = _run_conversion(words)
    if ended.returncode < 0:
        # Some operation of TensorFlow's ends the process on inputs of another rank, as several are known to do.
        logger.debug("The conversion ended with %d, and is done without other shapes", ended.returncode)
        ended = _run_conversion([*words, DECLARED_ONLY])
    try:
        return read_conversion(job.target)
    except (OSError, ValueError) as error:
        last = ended.stderr.strip()[-_SHOWN_CHARACTERS:] or str(error)
        raise ServingError(f"The conversion ended with {ended.returncode}: {last}") from error


def _run_conversion(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        module_command("hotserve.platforms.engines.conversion", *words),
        env=module_environment(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _same(converted: Mapping[str, ConvertedSignature]) -> Sequence[Sequence[str]]:
    """The names of the signatures, those together that compute the same."""
    found: dict[int, list[str]] = {}
    for name, signature in sorted(converted.items()):
        found.setdefault(signature.number, []).append(name)
    return list(found.values())


def _converted_graph(base: Path) -> GraphDef:
    return GraphDef.FromString(base.with_suffix(".pb").read_bytes())


@dataclass(slots=True)
class _Candidate:
    """An engine that has not been refused yet."""

    engine: Engine
    runner: Runner
    scale: float = 0.0
    of_tolerance: float = 0.0
    absolute: float = 0.0


class _Examiner:
    """Examines one signature."""

    def __init__(self, servable: Servable, name: str, engines: Engines, job: Job) -> None:
        self._servable = servable
        self._name = name
        self._signature: Signature = servable.signatures[name]
        self._outputs = list(self._signature.outputs)
        self._engines = engines
        self._job = job

    def examine(self, converted: ConvertedSignature, samples: Sequence[Inputs], step: Step) -> SignatureFindings:
        """Everything about the signature."""
        candidates, findings = self._candidates(converted, self._signature)
        if not candidates:
            return SignatureFindings(converted.number, "", {}, findings)
        trials = make_trials(self._signature, self._reference, samples)
        found = self._compare_and_time(converted.number, self._signature, trials, candidates, findings, step)
        if isinstance(trials, str) or not any(finding.agrees for finding in found.engines.values()):
            return found
        alternatives = [
            self._alternative(other, step) for other in converted.alternatives if other.shapes != trials.shapes
        ]
        return replace(found, alternatives=tuple(other for other in alternatives if other.engines))

    def _alternative(self, converted: ConvertedAlternative, step: Step) -> SignatureFindings:
        """Everything about the signature with inputs of other shapes; without engines where TensorFlow refuses some."""
        inputs = {alias: replace(spec, shape=converted.shapes[alias]) for alias, spec in self._signature.inputs.items()}
        signature = replace(self._signature, inputs=inputs)
        trials = make_trials(signature, self._reference, sizes=SIZES)
        if isinstance(trials, str):
            return SignatureFindings(converted.number)
        # Of what is refused nobody knows why: a shape that is taken in some sizes only has not been understood.
        if any(isinstance(self._answer(self._reference, trial), str) for trial in trials.trials):
            return SignatureFindings(converted.number)
        candidates, findings = self._candidates(converted, signature, are_shapes_steady=False)
        return self._compare_and_time(converted.number, signature, trials, candidates, findings, step)

    def _candidates(
        self, converted: ConvertedSignature | ConvertedAlternative, signature: Signature, are_shapes_steady: bool = True
    ) -> tuple[dict[str, _Candidate], dict[str, EngineFinding]]:
        """The engines that can run it, and why the others cannot."""
        base = self._job.target / str(converted.number)
        findings: dict[str, EngineFinding] = {}
        candidates: dict[str, _Candidate] = {}
        for name in self._job.engines:
            refusal = converted.refusals.get(name, "") or why_unsafe(
                _converted_graph(base), name, are_shapes_steady=are_shapes_steady
            )
            if not refusal:
                try:
                    engine = self._engines.get(name)
                    candidates[name] = _Candidate(engine, engine.compile(base, signature, self._job.threads))
                except ServingError as error:
                    refusal = error.message
            if refusal:
                findings[name] = EngineFinding(refusal)
        return candidates, findings

    def _compare_and_time(
        self,
        number: int,
        signature: Signature,
        trials: Trials | str,
        candidates: dict[str, _Candidate],
        findings: dict[str, EngineFinding],
        step: Step,
    ) -> SignatureFindings:
        if isinstance(trials, str):
            return SignatureFindings(number, f"it cannot be tried: {trials}", {}, findings)
        bound = self._compare_all(trials, candidates, findings)
        if bound:
            return SignatureFindings(number, bound, {}, findings)
        step(f"timing signature {self._name}")
        runs: dict[str, Callable[[Inputs], object]] = {TENSORFLOW: self._reference}
        for name, candidate in candidates.items():
            runner = candidate.runner
            runs[name] = lambda inputs, runner=runner: runner.run(inputs, self._outputs)  # type: ignore[misc]
        times = time_runs(runs, trials.timed)
        for name, candidate in candidates.items():
            candidate.engine.keep(candidate.runner, self._job.target / str(number))
            findings[name] = EngineFinding(
                domain=trials.domain(signature, candidate.scale),
                of_tolerance=candidate.of_tolerance,
                absolute=candidate.absolute,
                seconds=times.seconds[name],
            )
        seconds = times.seconds[TENSORFLOW]
        return SignatureFindings(number, "", seconds, findings, len(trials.trials), spread=times.spread)

    def _reference(self, inputs: Inputs) -> dict[str, Array]:
        return self._servable.run(self._name, inputs, self._outputs)

    def _compare_all(
        self, trials: Trials, candidates: dict[str, _Candidate], findings: dict[str, EngineFinding]
    ) -> str:
        """Runs the trials; engines that are refused become findings. Returns why the signature cannot be compared."""
        scales = sorted({trial.scale for trial in trials.trials})
        running = set(candidates)
        answered = False
        answers = [self._answer(self._reference, trial) for trial in trials.trials]
        largest: dict[str, float] = {}
        for trial, answer in zip(trials.trials, answers, strict=True):
            if trial.scale <= SCALES[0] and not isinstance(answer, str):
                largest = {name: max(number, largest.get(name, 0.0)) for name, number in largest_of(answer).items()}
        for scale in scales:
            for trial, expected in zip(trials.trials, answers, strict=True):
                if trial.scale != scale:
                    continue
                again = self._answer(self._reference, trial)
                if not isinstance(expected, str):
                    answered = True
                    if isinstance(again, str) or not compare(expected, again, largest).agrees:
                        return f"TensorFlow answers the same inputs in two ways ({trial.what})"
                for name in sorted(running):
                    candidate = candidates[name]
                    difference = self._difference(candidate.runner, trial, expected, largest)
                    if difference.agrees:
                        candidate.of_tolerance = max(candidate.of_tolerance, difference.of_tolerance)
                        candidate.absolute = max(candidate.absolute, difference.absolute)
                        continue
                    running.discard(name)
                    if scale > scales[0] and candidate.scale > 0:
                        continue  # Up to the scale before it agrees, and gets no larger numbers.
                    findings[name] = EngineFinding(
                        f"its answer to {trial.what} differs: {difference.where}",
                        True,
                        of_tolerance=difference.of_tolerance,
                        absolute=difference.absolute,
                    )
                    del candidates[name]
            for name in running:
                candidates[name].scale = scale
        if not answered:
            return "TensorFlow refuses all inputs that were tried"
        return ""

    def _answer(self, run: Callable[[Inputs], dict[str, Array]], trial: Trial) -> dict[str, Array] | str:
        """The answer, or the reason of a refusal."""
        try:
            return run(trial.inputs)
        except ServingError as error:
            return error.message

    def _difference(
        self, runner: Runner, trial: Trial, expected: dict[str, Array] | str, largest: Mapping[str, float]
    ) -> Difference:
        found = self._answer(lambda inputs: runner.run(inputs, self._outputs), trial)
        if isinstance(expected, str):
            # What both refuse is asked of TensorFlow, whose words the client then gets.
            where = "" if isinstance(found, str) else f"TensorFlow refuses it ({expected[:200]})"
            return Difference(inf if where else 0.0, 0.0, where)
        if isinstance(found, str):
            # Right, since TensorFlow then answers in its place, but of no use if it is the rule.
            return Difference(inf, 0.0, f"it refuses it ({found[:200]})")
        return compare(expected, found, largest)


def _clear(job: Job, findings: Mapping[str, SignatureFindings], engines: Engines) -> None:
    """Leaves only what engines that agree are restored from."""
    examined = [one for found in findings.values() for one in (found, *found.alternatives)]
    kept = {
        file
        for found in examined
        for name, finding in found.engines.items()
        if finding.agrees and not found.bound
        for file in engines.get(name).files(job.target / str(found.number))
    }
    for file in job.target.iterdir():
        if file not in kept:
            file.unlink()


def main() -> None:
    """The program."""
    stand_back()
    words = json.load(sys.stdin)
    job = Job(
        Path(words["path"]),
        Path(words["target"]),
        words["tags"],
        words["engines"],
        words["threads"],
        base64.b64decode(words["session_config"]),
        words["is_known"],
    )
    try:
        progress = telling(int(sys.argv[1])) if len(sys.argv) > 1 else silent
        examination = measure_again(job, progress) if job.is_known else examine(job, progress)
    except ServingError as error:
        examination = Examination(
            {}, {name: installed_versions().get(name, "") for name in job.engines}, time.time(), 0.0, error.message
        )
    partial = job.target / f"{RESULT_FILE}.part"
    partial.write_text(examination.to_json(), encoding="utf-8")
    partial.rename(job.target / RESULT_FILE)


if __name__ == "__main__":
    main()
