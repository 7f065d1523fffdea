"""SavedModels where TensorFlow is not installed, and nothing is known of them: OpenVINO reads the folder by itself.

Nothing can be compared with TensorFlow here but the answers that were recorded in the warm-up file, if there are any.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from hotserve.codecs.signature_def import signature_from_proto
from hotserve.core.servable import Servable
from hotserve.errors import FailedPrecondition, InvalidArgument, ServingError
from hotserve.platforms.engines.choice import Choice
from hotserve.platforms.engines.comparison import compare
from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.engine import AUTO, OPENVINO, TENSORFLOW, ReadsSavedModels, Runner
from hotserve.platforms.engines.examination import bound_signatures
from hotserve.platforms.engines.findings import Examination, SignatureFindings
from hotserve.platforms.engines.graph_operations import read_graph, read_signature_defs
from hotserve.platforms.engines.installed import Engines
from hotserve.platforms.engines.observer import UNVERIFIED, EngineObserver
from hotserve.platforms.engines.recorded_inputs import Sample, read_samples
from hotserve.platforms.engines.report import report
from hotserve.platforms.engines.switching_servable import Served, SwitchingServable
from hotserve.platforms.engines.unsafe_operations import why_unsafe
from hotserve.platforms.engines.ways import Way, Ways
from hotserve.tensors import DEFAULT_SIGNATURE, Signature

logger = logging.getLogger(__name__)

CONFIRMED = "its recorded answers are given again"


def load_untried(
    path: Path, tags: Sequence[str], wanted: str, threads: int, engines: Engines, observer: EngineObserver
) -> Servable:
    """Loads a version of which nothing is known, without TensorFlow.

    Args:
        path: The version folder.
        tags: The tags of the meta graph.
        wanted: What `--engine` says.
        threads: How many threads one run may use; 0 chooses by the size of the model.
        engines: The engines of this process.
        observer: Told what serves.

    Raises:
        FailedPrecondition: Nothing that is installed here can run it; the message says what to install.
        InvalidArgument: The folder cannot be read, or an answer differs from the recorded one.
    """
    if wanted not in (AUTO, OPENVINO) or importlib.util.find_spec(OPENVINO) is None:
        raise FailedPrecondition(
            "Loading a SavedModel (`saved_model.pb` or `saved_model.pbtxt`) needs the Python package tensorflow, which"
            " is not installed here. Install it: pip install 'hotserve[tensorflow]'. Ordinary models are served without"
            " it by OpenVINO: pip install 'hotserve[openvino]'; and by every engine once `assets.extra` of the version"
            " holds what an examination has found."
        )
    signatures = {
        name: signature_from_proto(serialized) for name, serialized in read_signature_defs(path, tags).items()
    }
    reasons = dict(bound_signatures(path, tags))
    samples = read_samples(path, signatures)
    served: dict[str, Served] = {}
    choices: dict[str, Choice] = {}
    for name, signature in signatures.items():
        if not reasons[name] and name != DEFAULT_SIGNATURE:
            reasons[name] = f"OpenVINO reads only the signature {DEFAULT_SIGNATURE} of a SavedModel"
        if not reasons[name]:
            # Nobody has found out which indices are in a table: what is looked up by a request is refused.
            outputs = [spec.tensor_name for spec in signature.outputs.values()]
            reasons[name] = why_unsafe(read_graph(path, tags), OPENVINO, outputs, are_indices_watched=False)
        if not reasons[name]:
            try:
                runner = _compile(engines, path, signature, threads)
                served[name] = Served(Ways([Way(OPENVINO, runner, Domain(_shapes(signature)))]))
            except ServingError as error:
                reasons[name] = error.message
        if name in served:
            verdict = _confirmed(name, served[name].ways.first.runner, samples.get(name, ()), path)
            choices[name] = Choice(OPENVINO, verdict)
        else:
            choices[name] = Choice(TENSORFLOW, reasons[name])
    if not served:
        told = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()) if signatures[name].inputs)
        raise FailedPrecondition(
            f"No signature can be run without the Python package tensorflow, which is not installed here. {told}."
            " Install it: pip install 'hotserve[tensorflow]'"
        )
    _tell(path, choices)
    servable = SwitchingServable(
        signatures, tags, None, served, lambda name, reason: observer.fell_back(path, name, reason)
    )
    servable.findings = report(choices, Examination())
    servable.when_unloaded(lambda: observer.unloaded(path))
    observer.chosen(path, choices, Examination({name: SignatureFindings() for name in choices}))
    return servable


def _compile(engines: Engines, path: Path, signature: Signature, threads: int) -> Runner:
    engine = engines.get(OPENVINO)
    if not isinstance(engine, ReadsSavedModels):
        raise FailedPrecondition("this version of OpenVINO reads no SavedModels")
    return engine.compile_folder(path, signature, threads)


def _shapes(signature: Signature) -> Mapping[str, tuple[int | None, ...]]:
    shapes = {}
    for alias, spec in signature.inputs.items():
        if spec.shape is None:
            raise InvalidArgument(f"the shape of its input {alias} is unknown")
        shapes[alias] = spec.shape
    return shapes


def _confirmed(name: str, runner: Runner, samples: Sequence[Sample], path: Path) -> str:
    """Compares with the recorded answers; returns what came of it, in words for the user.

    Raises:
        InvalidArgument: An answer differs.
    """
    compared = 0
    for sample in samples:
        outputs = sorted(sample.outputs)
        if not outputs:
            continue
        difference = compare(sample.outputs, runner.run(sample.inputs, outputs))
        if not difference.agrees:
            raise InvalidArgument(
                f"OpenVINO's answer to a recorded request for signature {name} of {path} is another than the recorded"
                f" one: {difference.where}. TensorFlow is needed to serve this version: pip install"
                " 'hotserve[tensorflow]'"
            )
        compared += 1
    return f"{CONFIRMED} ({compared} compared)" if compared else UNVERIFIED


def _tell(path: Path, choices: Mapping[str, Choice]) -> None:
    for name, choice in sorted(choices.items()):
        level = logging.WARNING if choice.reason == UNVERIFIED else logging.INFO
        logger.log(level, "Engine of signature %s of %s: %s, %s", name, path, choice.engine, choice.reason)
