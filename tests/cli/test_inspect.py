from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import tensorflow as tf

import hotserve.demo
from hotserve.cli.inspect import FAILED
from hotserve.cli.main import main
from hotserve.platforms.engines.cache import BESIDE_MODEL, EngineCache
from hotserve.platforms.engines.domain import Domain
from hotserve.platforms.engines.findings import EngineFinding, Examination, SignatureFindings
from hotserve.platforms.engines.fingerprint import key_of
from hotserve.platforms.engines.installed import installed_versions
from hotserve.platforms.tensorflow import DEFAULT_TAGS
from support.prediction_logs import predict_log, write_records
from support.scripted_server import ScriptedServer, answer
from support.server_process import COMMAND, ServerProcess

DIGITS = Path(hotserve.demo.__file__).parent / "digits"


class Doubler(tf.Module):
    """Twice `x` for floats of any number, and for a fixed number of them."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def any_number(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2.0 * x}

    @tf.function(input_signature=[tf.TensorSpec([3], tf.float32, "x")])
    def three(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2.0 * x}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("doubler") / "7"
    model = Doubler()
    tf.saved_model.save(model, str(path), {"serving_default": model.any_number, "three": model.three})
    return path


@pytest.fixture
def base(exported: Path, tmp_path: Path) -> Path:
    copytree(exported, tmp_path / "doubler" / "7")
    return tmp_path / "doubler"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(command=(COMMAND, "demo")) as running:
        yield running


def inspect(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["inspect", *words, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_base_path_shows_its_versions_and_what_they_take(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(base), f"--engine_cache_dir={base / 'none'}"]) == 0
    out = capsys.readouterr().out
    assert "version 7\n  state     complete\n" in out
    assert "  platform  tensorflow: a SavedModel (`saved_model.pb`" in out
    assert "  warm-up   none; assets.extra/tf_serving_warmup_requests would be the file\n" in out
    assert (
        "  signature serving_default, tensorflow/serving/predict\n"
        "    input     x: float [?]\n    output    y: float [?]\n"
        "    batching  yes, where its rows turn out to be independent at the load\n"
    ) in out
    assert "    batching  no: the first dimension of x, y is not free\n" in out


def test_a_version_folder_is_looked_at_alone(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (version,) = inspect(capsys, str(base / "7"))["versions"]
    assert (version["version"], version["state"]) == (7, "complete")
    assert version["signatures"]["three"]["inputs"] == {"x": {"dtype": "float", "shape": [3]}}
    assert version["size_bytes"] == sum(file.stat().st_size for file in base.rglob("*") if file.is_file())


def test_other_platforms_are_loaded_for_their_signatures(capsys: pytest.CaptureFixture[str]) -> None:
    (version,) = inspect(capsys, str(DIGITS))["versions"]
    assert version["platform"].startswith("onnx: ")
    assert version["signatures"]["serving_default"]["outputs"] == {
        "probabilities": {"dtype": "float", "shape": [None, 10]}
    }


def test_the_warm_up_file_is_counted_and_one_that_is_damaged_is_said_to_be(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = base / "7" / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir()
    write_records(file, [predict_log({"x": [1]})] * 2)
    assert inspect(capsys, str(base))["versions"][0]["warm_up"].startswith("2 requests in ")
    file.write_bytes(b"hello")
    assert "truncated record" in inspect(capsys, str(base))["versions"][0]["warm_up"]


def test_versions_that_are_not_whole_or_cannot_be_read_are_said_to_be(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "8").mkdir()
    (base / "9").mkdir()
    (base / "9" / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    by_number = {version["version"]: version for version in inspect(capsys, str(base))["versions"]}
    assert sorted(by_number) == [7, 8, 9]
    assert by_number[8]["state"].startswith("not complete: ")
    assert by_number[8]["signatures"] == {}
    assert by_number[9]["state"].startswith("not complete: ") or by_number[9]["problem"]
    assert by_number[7]["state"] == "complete"


def test_a_version_with_a_file_that_cannot_be_read_hides_no_other(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copytree(base / "7", base / "8")
    # Root, too, is refused a look at a name that is too long for any file.
    (base / "8" / "assets.extra").symlink_to("x" * 300)
    by_number = {version["version"]: version for version in inspect(capsys, str(base))["versions"]}
    assert by_number[8]["state"] == "not complete: the folder cannot be read: File name too long"
    assert by_number[8]["signatures"] == {}
    assert by_number[7]["state"] == "complete"
    assert inspect(capsys, str(base / "8"))["versions"] == [by_number[8]]


def test_a_path_that_cannot_be_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / ("x" * 300))]) == FAILED
    assert "File name too long" in capsys.readouterr().err


def test_the_lines_of_a_long_reason_stand_below_each_other(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "8").mkdir()
    (base / "8" / "model.keras").touch()
    assert main(["inspect", str(base)]) == 0
    state = capsys.readouterr().out.split("version 8\n")[1].split("  folder  ")[0]
    first, *further = state.splitlines()
    assert first.startswith("  state     not complete: Specified file path does not appear")
    assert further
    assert all(line.startswith(" " * 12) and line[12] != " " for line in further)


def test_what_is_known_of_engines_is_shown(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    versions = installed_versions()
    engine = next(iter(versions))
    path = base / "7"
    cache = EngineCache(base.parent / "cache")
    finding = EngineFinding(domain=Domain({}), absolute=1e-7, seconds={1: 0.001, 8: 0.002})
    examination = Examination(
        {
            "serving_default": SignatureFindings(1, "", {1: 0.004, 8: 0.008}, {engine: finding}),
            "three": SignatureFindings(2, "it keeps state", {}, {}),
        },
        versions,
    )
    cache.put(key_of(path, DEFAULT_TAGS, 0, cache.memory), lambda folder: examination, path)
    assert (path / BESIDE_MODEL).is_dir()

    words = (str(base), f"--engine_cache_dir={base.parent / 'cache'}")
    found = inspect(capsys, *words)["versions"][0]["signatures"]
    assert found["serving_default"]["engine"] == f"{engine}: 4.0 times as fast as TensorFlow"
    assert found["serving_default"]["seconds"][engine] == {"1": 0.001, "8": 0.002}
    assert found["serving_default"]["largest_difference"] == {engine: 1e-7}
    assert found["three"]["engine"] == "tensorflow: it keeps state"
    assert main(["inspect", *words]) == 0
    assert f"      {engine}: 1 rows 1 ms, 8 rows 2 ms; largest difference 1e-07\n" in capsys.readouterr().out


@pytest.mark.parametrize("is_rest", [True, False])
def test_a_server_shows_the_states_and_signatures_of_a_model(
    server: ServerProcess, capsys: pytest.CaptureFixture[str], is_rest: bool
) -> None:
    target = server.url if is_rest else server.grpc_target
    (version,) = inspect(capsys, target, "--model=digits")["versions"]
    assert (version["version"], version["state"]) == (1, "AVAILABLE")
    assert version["signatures"]["serving_default"]["inputs"]["image"]["shape"] == [None, 28, 28, 1]


def test_what_cannot_be_looked_at_is_said_in_a_line(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, text in [
        ((str(tmp_path / "none"),), "is no folder. Expected one of a model"),
        ((str(tmp_path),), "holds no version"),
        ((server.url,), "is a server. Give --model=NAME"),
        ((server.grpc_target,), "is a server. Give --model=NAME"),
        ((server.url, "--model=x"), "answers 404 to the question for the status of x: "),
        ((server.grpc_target, "--model=x"), "answers NOT_FOUND to the question for the status of x: "),
        (("127.0.0.1:1", "--model=x"), "Connection refused"),
    ]:
        assert main(["inspect", *words]) == FAILED
        error = capsys.readouterr().err
        assert error.startswith("hotserve inspect: ")
        assert text in error


def test_another_service_is_told_from_a_model_server(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(lambda number: answer(b'{"hello": 1}')) as other:
        assert main(["inspect", other.url, "--model=m"]) == FAILED
    assert "tells the status of the model in no form that is known" in capsys.readouterr().err
