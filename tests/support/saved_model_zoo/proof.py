"""Whether a server answers for the models of the zoo as another one does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from hotserve.codecs.tensor_proto import decode_tensor, encode_tensor
from hotserve.protos import messages
from hotserve.tensors import DType, dtype_of_array
from support.contract import Client, client_of, model_spec
from support.saved_model_zoo.requests import ANOTHER_RANK, Request, read_requests
from support.server_process import ServerProcess, wait_until

REMEMBERS = frozenset(
    {"state_counter", "state_mutable_table", "state_running_mean", "state_moved_by_another_signature"}
)
"""The models whose answers depend on what they were asked before, and on nothing else."""

RANDOM = frozenset(
    {
        "picture_turned_at_random",
        "random_dropout",
        "random_generator",
        "random_seeded",
        "random_shuffle",
        "random_unseeded",
        "time_of_day",
    }
)
"""The models that answer nothing twice."""

RELATIVE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-4, "complex64": 1e-4, "float64": 1e-9}
"""numpy's name of a type -> how far a number may be off, in parts of itself; other types have to be equal."""

_NODE = re.compile(r"\{\{(?:function_)?node [^}]*\}\}")
"""Where several nodes of a graph refuse the same, TensorFlow names one of them: another one each time that it loads."""

OF_LARGEST = 0.1
"""How far it may be off beside that, in parts of the above and of the largest number of the same answer or of those to
ordinary requests: where a sum comes out small, the rounding of its large terms is left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        outputs: Alias -> array; empty for an error.
        error: Code and text; empty for an answer.
    """

    outputs: Mapping[str, np.ndarray]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two answers to one request that differ.

    Attributes:
        model: Who was asked.
        request: What was asked.
        how: What differs.
    """

    model: str
    request: Request
    how: str

    def __str__(self) -> str:
        return f"{self.model}, {self.request.signature}, {self.request.what}: {self.how}"


def export_zoo(folder: Path, names: Sequence[str] = ()) -> Path:
    """Writes models, and a model config file that names them all, by a program of its own.

    Args:
        folder: Where.
        names: Which; all, if there are none.

    Returns:
        The path of the config file.

    Raises:
        subprocess.CalledProcessError: A model could not be written.
    """
    tests = Path(__file__).parents[2]
    paths = os.pathsep.join([str(tests), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [sys.executable, "-m", "support.saved_model_zoo.export", str(folder), *names],
        env={**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    config = messages.ModelServerConfig()
    for name in exported(folder):
        config.model_config_list.config.add(name=name, base_path=str(folder / name), model_platform="tensorflow")
    file = folder / "models.config"
    file.write_text(str(config))
    return file


def exported(folder: Path) -> list[str]:
    """The names of the models that are there."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def ask_all(client: Client, folder: Path, model: str) -> list[Answer]:
    """Asks a model all of its requests, one after the other."""
    return [ask(client, model, request) for request in read_requests(folder / model)]


def ask(client: Client, model: str, request: Request) -> Answer:
    """Asks a model one request, over gRPC: JSON has no word for some of the values."""
    message = messages.PredictRequest(model_spec=model_spec(model, signature=request.signature))
    for alias, array in request.inputs.items():
        dtype = DType.STRING if array.dtype == object else dtype_of_array(array)
        message.inputs[alias].CopyFrom(encode_tensor(array, dtype))
    try:
        response = client.call("Predict", message)
    except grpc.RpcError as error:
        return Answer({}, f"{error.code().name}: {error.details()}")
    return Answer({alias: decode_tensor(proto) for alias, proto in response.outputs.items()})


def disagreements(
    model: str, requests: Sequence[Request], expected: Sequence[Answer], found: Sequence[Answer]
) -> list[Disagreement]:
    """Where the answers of two servers differ.

    Args:
        model: Who was asked.
        requests: What.
        expected: One server's answers, in that order.
        found: The other one's.
    """
    scales = _scales(requests, expected)
    hows = [
        # Of several operations that refuse an input, each in its own words, TensorFlow tells of the one that came
        # first, which is another one from load to load.
        ""
        if request.what.endswith(ANOTHER_RANK) and _refuse_alike(want, got)
        else _difference(want, got, scales, model in RANDOM)
        for request, want, got in zip(requests, expected, found, strict=True)
    ]
    return [Disagreement(model, request, how) for request, how in zip(requests, hows, strict=True) if how]


def _refuse_alike(want: Answer, got: Answer) -> bool:
    """Whether both are refusals, with the same code or by operations of TensorFlow, which tells only of its own."""
    codes = {answer.error.partition(":")[0] for answer in (want, got)}
    return "" not in codes and (len(codes) == 1 or all(_NODE.search(answer.error) for answer in (want, got)))


def largest_difference(requests: Sequence[Request], expected: Sequence[Answer], found: Sequence[Answer]) -> float:
    """The largest difference of two finite floating-point numbers, in parts of the largest of the same output."""
    scales = _scales(requests, expected)
    worst = 0.0
    for want, got in zip(expected, found, strict=True):
        for alias, array in want.outputs.items():
            other = got.outputs.get(alias)
            if array.dtype.name not in RELATIVE or other is None or array.shape != other.shape:
                continue
            a, b = _wide(array), _wide(other)
            finite = np.isfinite(a) & np.isfinite(b)
            if finite.any():
                scale = max(scales.get(alias, 0.0), float(np.abs(a[finite]).max()))
                worst = max(worst, float(np.abs(a[finite] - b[finite]).max()) / (scale or 1.0))
    return worst


def _scales(requests: Sequence[Request], answers: Sequence[Answer]) -> Mapping[str, float]:
    """Output alias -> the largest finite number that ordinary requests are answered with."""
    scales: dict[str, float] = {}
    for request, answer in zip(requests, answers, strict=True):
        for alias, array in answer.outputs.items():
            if request.what.endswith(" rows") and array.dtype.name in RELATIVE:
                values = np.abs(_wide(array))
                values = values[np.isfinite(values)]
                scales[alias] = max(scales.get(alias, 0.0), float(values.max()) if values.size else 0.0)
    return scales


def _difference(expected: Answer, found: Answer, scales: Mapping[str, float], is_random: bool) -> str:
    if expected.error or found.error:
        if _NODE.sub("", expected.error) == _NODE.sub("", found.error):
            return ""
        return f"{found.error or 'an answer'!r}, not {expected.error or 'an answer'!r}"
    if expected.outputs.keys() != found.outputs.keys():
        return f"outputs {sorted(found.outputs)}, not {sorted(expected.outputs)}"
    for alias, want in expected.outputs.items():
        got = found.outputs[alias]
        if (want.shape, want.dtype) != (got.shape, got.dtype):
            return f"{alias} is {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
        wrong = np.zeros(want.shape, bool) if is_random else ~_close(want, got, scales.get(alias, 0.0))
        if wrong.any():
            place = tuple(int(index) for index in np.argwhere(wrong)[0])
            return (
                f"{alias}{list(place)} is {got[place]!r}, not {want[place]!r}; {int(wrong.sum())} of {want.size} differ"
            )
    return ""


def _close(want: np.ndarray, got: np.ndarray, scale: float) -> np.ndarray:
    """Element by element; NaN is NaN, and infinity is only itself. Denormal numbers are zero."""
    relative = RELATIVE.get(want.dtype.name)
    if relative is None:
        return np.asarray(want == got)
    a, b = _wide(want), _wide(got)
    scale = float(np.abs(a).max(initial=scale, where=np.isfinite(a)))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(a - b) <= relative * np.abs(a) + relative * OF_LARGEST * scale + 2e-38
        return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)) | (np.isfinite(a) & np.isfinite(b) & near))


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of one model.

    Attributes:
        model: Its name.
        choice: What the server said of its engines; empty where it stayed with TensorFlow without a word.
        requests: How many were asked.
        refused: How many of them TensorFlow refuses.
        largest_difference: See `largest_difference`.
        disagreements: Where the answers differ.
    """

    model: str
    choice: str
    requests: int
    refused: int
    largest_difference: float
    disagreements: Sequence[Disagreement]


def prove(folder: Path, cache: Path, seconds: float) -> list[Proof]:
    """Asks two servers everything: one with `--engine=tensorflow`, one with `--engine=auto` once it has chosen.

    Args:
        folder: The models, by `export_zoo`.
        cache: Where the second server keeps what it finds out about engines.
        seconds: How long each of them may take to load, and the second one to choose.

    Returns:
        A proof for each model that has been chosen for in that time.

    Raises:
        AssertionError: A server has not loaded the models in time.
    """
    names = exported(folder)
    config = f"--model_config_file={folder / 'models.config'}"
    # All of the zoo takes longer to load than the tests of a model wait.
    with ServerProcess(config, "--engine=tensorflow", wait_ready=False) as server, client_of(server) as client:
        server.wait_ready(seconds)
        expected = {name: ask_all(client, folder, name) for name in names}
    with (
        ServerProcess(config, "--engine=auto", f"--engine_cache_dir={cache}", wait_ready=False) as server,
        client_of(server) as client,
    ):
        server.wait_ready(seconds)
        with suppress(AssertionError):
            wait_until(
                lambda: all(choices(server.log(), folder, names).values()), seconds, "every model has its engine"
            )
        chosen = choices(server.log(), folder, names)
        names = [name for name in names if chosen[name]]
        found = {name: ask_all(client, folder, name) for name in names}
    proofs = []
    for name in names:
        requests = read_requests(folder / name)
        proofs.append(
            Proof(
                name,
                chosen[name],
                len(requests),
                sum(bool(answer.error) for answer in expected[name]),
                largest_difference(requests, expected[name], found[name]),
                disagreements(name, requests, expected[name], found[name]),
            )
        )
    return proofs


def choices(log: str, folder: Path, names: Sequence[str]) -> Mapping[str, str]:
    """Model -> what the log says of its engines; empty where it says nothing yet."""
    said = dict(re.findall(r"Engines of (\S+): (.*)", log)) | dict(
        re.findall(r"The examination of engines for (\S+) (failed.*)", log)
    )
    return {name: said.get(str(folder / name / "1"), "") for name in names}
