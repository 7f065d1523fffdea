from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hotserve.errors import ServingError
from hotserve.platforms.engines.domain import Bounds
from hotserve.platforms.engines.examination import Job, bound_signatures, end_process, examine_apart
from hotserve.platforms.engines.findings import Examination
from hotserve.platforms.engines.installed import Engines
from hotserve.platforms.engines.recorded_inputs import read_samples
from hotserve.platforms.tensorflow import TensorFlowLoader

ENGINES = ("onnxruntime", "openvino")
Examined = tuple[Path, Examination]


def test_an_examination_comes_to_its_end(examined: Examined) -> None:
    assert examined[1].failure == ""
    assert set(examined[1].versions) == set(ENGINES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("signature", ["serving_default", "look_up", "gelu", "unused"])
def test_an_ordinary_signature_is_the_same_in_every_engine(examined: Examined, signature: str, engine: str) -> None:
    finding = examined[1].signatures[signature].engines[engine]
    assert finding.refusal == ""
    assert finding.agrees
    assert 0 <= finding.of_tolerance <= 1
    assert finding.seconds
    assert finding.seconds.keys() == examined[1].signatures[signature].seconds.keys()


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("guess", "it is random (RandomUniform)"),
        ("check", "it checks its inputs by assertions, which other engines leave out (Assert)"),
        ("text", "its input text is string, which other engines are not given"),
    ],
)
def test_what_other_engines_must_not_run_is_bound(examined: Examined, signature: str, reason: str) -> None:
    assert examined[1].signatures[signature].bound == reason
    assert not examined[1].signatures[signature].engines


def test_an_engine_is_only_given_indices_that_are_in_the_table(examined: Examined) -> None:
    for finding in examined[1].signatures["look_up"].engines.values():
        assert finding.domain is not None
        assert finding.domain.bounds == {"ids": Bounds(0, 49)}


@pytest.mark.parametrize("engine", ENGINES)
def test_other_shapes_that_tensorflow_takes_are_examined_too(examined: Examined, engine: str) -> None:
    domains = [other.engines[engine].domain for other in examined[1].signatures["halve"].alternatives]
    assert [domain and domain.shapes["x"] for domain in domains] == [(None,), (None, None), ()]
    assert all(domain and domain.smallest_size == 1 for domain in domains)


def test_other_shapes_that_tensorflow_refuses_are_not(examined: Examined) -> None:
    assert examined[1].signatures["serving_default"].alternatives == ()
    shapes = [
        finding.domain and finding.domain.shapes["ids"]
        for other in examined[1].signatures["look_up"].alternatives
        for finding in other.engines.values()
    ]
    # A single index gives a vector, which has no second dimension to sum over.
    assert set(shapes) == {(None,), (None, None)}


def test_signatures_that_compute_the_same_are_examined_once(examined: Examined) -> None:
    signatures = examined[1].signatures
    assert signatures["serve"] == signatures["serving_default"]
    assert signatures["serve"].number != signatures["unused"].number


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signature_that_is_restored_answers_as_tensorflow(
    ordinary_model: Path, examined: Examined, engine: str
) -> None:
    target, examination = examined
    found = examination.signatures["serving_default"]
    servable = TensorFlowLoader().load(ordinary_model)
    try:
        runner = Engines().get(engine).restore(target / str(found.number), servable.signatures["serving_default"], 0)
        x = np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32)
        x.flags.writeable = False  # as arrays of requests are
        expected = servable.run("serving_default", {"x": x}, ["y", "best"])
        answer = runner.run({"x": x}, ["best", "y"])
        assert list(answer) == ["best", "y"]
        np.testing.assert_allclose(answer["y"], expected["y"], rtol=1e-5)
        assert answer["best"].dtype == expected["best"].dtype
        assert answer["best"].tolist() == expected["best"].tolist()
        with pytest.raises(ServingError):
            runner.run({"x": np.zeros((2, 63), np.float32)}, ["y"])
        assert runner.run({"x": x}, ["best"])["best"].tolist() == expected["best"].tolist()
    finally:
        servable.unload()


def test_only_what_engines_are_restored_from_is_kept(examined: Examined) -> None:
    suffixes = {file.suffix for file in examined[0].iterdir()}
    assert suffixes == {".onnx", ".ov", ".json"}


def test_where_a_signature_writes_variables_all_that_read_them_are_bound(many_signatures: Path) -> None:
    reasons = bound_signatures(many_signatures, ["serve"])
    assert reasons["add_to_count"] == "it writes variables (AssignAddVariableOp)"
    assert "another signature of the model writes variables" in reasons["serving_default"]
    assert all(reasons.values())


def test_a_version_that_tensorflow_refuses_is_a_failure(ordinary_model: Path, tmp_path: Path) -> None:
    broken, target = tmp_path / "1", tmp_path / "target"
    (broken / "variables").mkdir(parents=True)
    target.mkdir()
    (broken / "saved_model.pb").write_bytes((ordinary_model / "saved_model.pb").read_bytes())
    examination = examine_apart(Job(broken, target, ("serve",), ENGINES), 300, lambda _: None)
    assert "The conversion ended with 1" in examination.failure
    assert not examination.signatures


def test_a_file_in_the_working_directory_is_not_taken_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('a file of the user')")
    (tmp_path / "target").mkdir()
    monkeypatch.chdir(tmp_path)
    examination = examine_apart(
        Job(tmp_path / "no model", tmp_path / "target", ("serve",), ENGINES), 300, lambda _: None
    )
    assert "a file of the user" not in examination.failure
    assert "no model" in examination.failure


def test_an_examination_that_is_killed_or_too_slow_is_a_failure(ordinary_model: Path, tmp_path: Path) -> None:
    job = Job(ordinary_model, tmp_path, ("serve",), ENGINES)
    sessions: list[int] = []

    def kill(process: subprocess.Popen[str]) -> None:
        sessions.append(os.getsid(process.pid))
        process.kill()

    killed = examine_apart(job, 300, kill)
    # In another session, a low priority may count for nothing: sched(7), autogroup.
    assert sessions == [os.getsid(0)]
    assert killed.failure.startswith("the process of the examination ended with -9")
    started: list[subprocess.Popen[str]] = []
    slow = examine_apart(job, 0.5, started.append)
    assert slow.failure == "it took longer than 0.5 s (--engine_check_timeout)"
    assert started[0].returncode is not None
    # The conversion is of the same group, and is gone as soon as it is reaped.
    assert any(is_gone(started[0].pid) for _ in range(200))


def is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    time.sleep(0.05)
    return False


def test_an_examination_that_has_ended_is_not_killed_as_its_number_may_be_taken_again() -> None:
    # What lives on in its process group stands for whoever has got the number.
    other = (
        "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print(os.getpid(), flush=True);"
        "signal.sigwait([signal.SIGTERM]); print('lives')"
    )
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {other!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as ended:
        assert ended.stdout is not None
        pid = int(ended.stdout.readline())
        ended.wait()
        end_process(ended)
        os.kill(pid, signal.SIGTERM)
        assert ended.stdout.read() == "lives\n"


def test_a_warm_up_file_that_is_not_there_or_no_such_file_gives_no_samples(tmp_path: Path) -> None:
    assert read_samples(tmp_path, {}) == {}
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records")
    assert read_samples(tmp_path, {}) == {}
