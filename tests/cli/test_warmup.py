from __future__ import annotations

from pathlib import Path

import pytest

from hotserve.cli.main import main
from hotserve.codecs.prediction_log_json import json_line
from support.prediction_logs import WARMUP_FILE, predict_log, read_records, write_records
from support.versioned_models import WIDTH, onnx_version


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "numbers" / "3"
    onnx_version(folder, 3)
    return folder


def write(*arguments: object) -> int:
    return main(["warmup", "write", *map(str, arguments)])


def test_a_file_of_one_body_becomes_the_version_s_own_file(version: Path, tmp_path: Path) -> None:
    body = tmp_path / "request.json"
    body.write_text(f'{{\n  "instances": [{[1.0] * WIDTH}]\n}}\n')

    assert write(body, "--version_path", version) == 0

    (record,) = read_records(version / WARMUP_FILE)
    request = record.predict_log.request
    assert request.model_spec.name == "numbers"
    assert [dim.size for dim in request.inputs["x"].tensor_shape.dim] == [1, WIDTH]
    assert sorted(path.name for path in (version / WARMUP_FILE).parent.iterdir()) == [WARMUP_FILE.name]


def test_requests_of_logs_are_written_without_their_answers_and_up_to_a_limit(tmp_path: Path) -> None:
    log = predict_log({"x": [1]})
    log.predict_log.response.model_spec.name = "m"
    write_records(tmp_path / "a.tfrecord", [log, log])
    (tmp_path / "b.jsonl").write_bytes(json_line(log.SerializeToString()) * 2)
    output = tmp_path / "warmup"

    logs = ["--from_log", tmp_path / "a.tfrecord", "--from_log", tmp_path / "b.jsonl"]
    assert write(*logs, "--output", output, "--limit=3") == 0

    records = read_records(output)
    log.predict_log.ClearField("response")
    assert records == [log] * 3


def test_classify_requests_are_written_as_such(version: Path, tmp_path: Path) -> None:
    body = tmp_path / "examples.jsonl"
    body.write_text('{"examples": [{"age": 1.5}]}\n')

    assert write(body, "--method=classify", f"--version_path={version}", f"--output={tmp_path / 'out'}") == 0

    (record,) = read_records(tmp_path / "out")
    assert len(record.classify_log.request.input.example_list.examples) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output=out"], "No requests. Name files with JSON bodies"),
        (["body.json"], "--output is missing"),
        (["body.json", "--output=out"], "JSON does not tell the dtypes of its values."),
        (["body.json", "--output=out", "--from_server=http://127.0.0.1:9"], "--from_server needs --model_name"),
        (
            ["body.json", "--output=out", "--from_server=http://127.0.0.1:9", "--model_name=m"],
            "http://127.0.0.1:9 does not answer",
        ),
        (["body.json", "--output=out", "--from_server=ftp://x", "--model_name=m"], "ftp://x is no URL of a REST API"),
        (["body.json", "--output=out", "--from_server=h:99999", "--model_name=m"], "h:99999 cannot be read: Port out"),
        (["body.json", "--output=out", "--from_server=h:abc", "--model_name=m"], "h:abc cannot be read: Port could"),
        (["body.json", "--output=out", "--from_server=[::1", "--model_name=m"], "[::1 cannot be read: Invalid IPv6"),
        (["body.json", "--output=out", "--from_server=a host", "--model_name=m"], "a host cannot be read: URL can't"),
        (["body.json", "--output=out", "--version_path=numbers"], "does not appear to contain a SavedModel"),
        (["body.json", "--version_path=numbers/3"], "body.json: Missing 'inputs' or 'instances' key"),
        (["lines.jsonl", "--version_path=numbers/3"], "lines.jsonl, line 2: JSON Parse error"),
        (["none.json", "--version_path=numbers/3"], "none.json: No such file or directory"),
        (["--from_log=none", "--output=out"], "none: No such file or directory"),
        (["--from_log=empty", "--output=out"], "There are no requests to write."),
        (["--from_log=long", "--output=out"], "There are 1001 requests, and a version with more than 1000 would not"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    version: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.json").write_text("{}")
    (tmp_path / "lines.jsonl").write_text(f'{{"instances": [{[1.0] * WIDTH}]}}\n{{"instances": [\n')
    (tmp_path / "empty").touch()
    write_records(tmp_path / "long", [predict_log({"x": [1]})] * 1001)

    assert write(*arguments) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("hotserve warmup: ")
    assert words in said.err
    assert not (tmp_path / "out").exists()
    assert not (version / WARMUP_FILE).exists()
