from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hotserve
from hotserve.cli.main import main
from hotserve.config.flags import WITHOUT_EFFECT
from support.certificates import Authority, ssl_config
from support.embedded import write_table
from support.litert_models import adder, litert_model, write_model
from support.server_process import COMMAND, ServerProcess, free_port

# A SavedModel with one meta graph, whose graph has one node.
SAVED_MODEL = b"\x08\x01\x12\x04\x12\x02\x0a\x00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Model `m` with versions 1 and 2, and `s`, a SavedModel."""
    for version in "12":
        write_table(tmp_path / "m" / version, a="b")
    (tmp_path / "s" / "7").mkdir(parents=True)
    (tmp_path / "s" / "7" / "saved_model.pb").write_bytes(SAVED_MODEL)
    return tmp_path


class Report:
    """What the doctor says of a command line."""

    def __init__(self, code: int, document: dict[str, Any]) -> None:
        self.code = code
        self.command = document.get("command")
        self.attention = document["attention"]
        self.findings = document["findings"]

    def of(self, subject: str) -> tuple[str, str]:
        """Grade and text of the one finding on a subject."""
        (found,) = [f for f in self.findings if f["subject"] == subject]
        return found["grade"], found["text"]

    def subjects(self, grade: str) -> list[str]:
        return [f["subject"] for f in self.findings if f["grade"] == grade]


def examine(capsys: pytest.CaptureFixture[str], *words: str) -> Report:
    code = main(["doctor", "--json", "--from-tfs", "--", *words])
    captured = capsys.readouterr()
    assert captured.err == ""
    report = Report(code, json.loads(captured.out))
    assert code == (1 if report.attention else 0)
    assert report.attention == len(report.subjects("attention"))
    return report


# What can be replaced as it is.


def test_an_ordinary_command_line_needs_no_attention(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = examine(
        capsys,
        "tensorflow_model_server",
        "--port=9000",
        f"--model_base_path={folder / 'm'}",
        "--model_name=m",
        "--flush_filesystem_caches=true",
        "--enable_grpc_healthcheck_service",
    )
    assert report.code == 0
    assert report.of("--model_name=m") == ("ok", "works")
    assert report.of("--flush_filesystem_caches=true")[0] == "ok"
    assert report.of("m version 2")[0] == "ok"
    assert (
        report.command
        == f"hotserve serve --port=9000 --model_base_path={folder / 'm'} --model_name=m --rest_api_port=0"
    )


def test_the_command_serves_what_the_original_would(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--model_base_path={folder / 'm'}", "--model_name=m", "--enable_grpc_healthcheck_service", "--zzz"]
    command = examine(capsys, "tensorflow_model_server", *flags).command or ""
    program, *words = shlex.split(command)
    assert program == Path(COMMAND).name
    # Of a flag that is given twice the last counts: REST is asked how the model stands, at a port of the test's.
    port = free_port()
    server = ServerProcess(*words[1:], f"--rest_api_port={port}", command=[COMMAND, words[0]])
    server.rest_port = port
    with server:
        server.wait_state("m", 2, "AVAILABLE")


def test_the_command_is_quoted_for_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path / "a b" / "1", a="b")
    report = examine(capsys, f"--model_base_path={tmp_path / 'a b'}", "--rest_api_port=8501")
    assert shlex.split(report.command or "")[2:] == [f"--model_base_path={tmp_path / 'a b'}", "--rest_api_port=8501"]


def test_the_report_is_read_by_people_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--from-tfs", "--", f"--model_base_path={folder / 'm'}", "--zzz"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Flags"
    assert any(line.startswith("  ATTENTION  --zzz: TensorFlow Serving takes it for unknown") for line in lines)
    assert lines[lines.index("Command") + 1] == f"  hotserve serve --model_base_path={folder / 'm'} --rest_api_port=0"
    assert lines[-1] == "1 of these needs attention."


def test_it_starts_no_server_and_loads_no_framework(folder: Path) -> None:
    program = (
        "import sys; from hotserve.cli.main import main\n"
        f"main(['doctor', '--from-tfs', '--', '--model_base_path={folder / 's'}'])\n"
        "main(['doctor'])\n"
        "print('frameworks:', sorted({'tensorflow', 'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.splitlines()[-1] == "frameworks: []"


# Flags.


@pytest.mark.parametrize(
    ("words", "subject", "text"),
    [
        (["--rest_api_port", "1"], "--rest_api_port 1", "it wants --rest_api_port=1."),
        (["--port"], "--port", "it wants --port=INT."),
        (["-port=1"], "-port=1", "It wants two dashes: --port."),
        (["--noenable_profiler"], "--noenable_profiler", "Perhaps --enable_profiler was meant."),
        (
            ["--model_version_policy=x"],
            "--model_version_policy=x",
            "set model_version_policy in a --model_config_file.",
        ),
        (["--host=::1"], "--host=::1", "hotserve has such a flag"),
        (["stray"], "stray", "Flags are written --name=value."),
        (["--zzz"], "--zzz", "Leave it out."),
    ],
)
def test_what_the_original_passes_over_is_told_and_left_out_of_the_command(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], subject: str, text: str
) -> None:
    report = examine(capsys, f"--model_base_path={folder / 'm'}", *words)
    grade, said = report.of(subject)
    assert grade == "attention"
    assert said.startswith("TensorFlow Serving takes it for unknown, prints its usage, and starts without it")
    assert text in said
    assert report.command == f"hotserve serve --model_base_path={folder / 'm'} --rest_api_port=0"


def test_a_flag_whose_lack_of_effect_clients_could_notice_needs_attention(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--grpc_max_threads=4", "--skip_initialize_tpu=false", "--thread_pool_factory_config_file=f"]
    report = examine(capsys, f"--model_base_path={folder / 'm'}", *flags)
    assert report.of("--grpc_max_threads=4")[0] == "note"
    assert report.of("--skip_initialize_tpu=false")[0] == "ok"
    why = WITHOUT_EFFECT["thread_pool_factory_config_file"].why
    assert report.of("--thread_pool_factory_config_file=f") == ("attention", f"no effect: {why}")


def test_there_is_no_command_where_a_flag_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--model_base_path={folder / 'm'}", "--use_alts_credentials"]
    report = examine(capsys, *words)
    assert report.command is None
    assert report.of("--use_alts_credentials=true")[1].startswith("refused: ALTS is not available")
    assert main(["doctor", "--from-tfs", "--", *words]) == 1
    assert "There is no command that does the same" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["--rest_api_port=eight", "--port=0", "--batching_parameters_file=f"])
def test_what_the_original_does_not_start_with_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    report = examine(capsys, f"--model_base_path={folder / 'm'}", word)
    assert report.of("TensorFlow Serving does not start with these")[0] == "attention"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["tensorflow_model_server"], "no model is named"),
        (["--model_base_path=/m", "--batching_parameters_file=f"], "without setting server_options.enable_batching"),
        (["--model_base_path=/m", "--port=70000"], "--port=70000: expected a number from 0 to 65535."),
        (["--model_base_path=/m", "--port=0"], "At least one of server_options.grpc_port"),
        (["--model_base_path=/m", "--grpc_channel_arguments=x"], "'x' has no value"),
    ],
)
def test_what_hotserve_does_not_start_with_is_told(
    capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    report = examine(capsys, *words)
    grade, said = report.of("hotserve does not start with these")
    assert grade == "attention"
    assert text in said
    assert report.command is None


def test_of_two_ports_that_are_the_same_the_original_opens_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = examine(capsys, "--port=9000", "--rest_api_port=9000", f"--model_base_path={folder / 'm'}")
    assert report.of("--port and --rest_api_port are the same")[0] == "attention"
    assert "--rest_api_port=0" in (report.command or "")


# Files.


def test_a_model_config_is_read_as_the_server_reads_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "models.config"
    file.write_text(
        'model_config_list { config { name: "m" base_path: "m" version_labels { key: "stable" value: 2 } }'
        ' config { name: "gone" base_path: "/no/such" model_platform: "tensorflow" } }'
    )
    report = examine(capsys, f"--model_config_file={file}", "--model_name=x", "--model_base_path=/x")
    assert report.of(str(file)) == ("ok", "2 models")
    assert report.subjects("note").count("m") == 3  # a relative path, no platform, labels
    assert report.of("m version 2")[0] == "ok"
    assert report.of("gone")[1].startswith("Could not find base path /no/such for servable gone")
    # Neither server looks at the other two beside it.
    assert report.command == f"hotserve serve --model_config_file={file} --rest_api_port=0"


@pytest.mark.parametrize("text", ["model_config_list {", 'model_config_list { config { nme: "m" } }', ""])
def test_a_model_config_that_is_wrong_needs_attention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "models.config"
    file.write_text(text)
    assert examine(capsys, f"--model_config_file={file}").of(str(file))[0] == "attention"


@pytest.mark.parametrize(
    ("flag", "good", "bad"),
    [
        (
            "monitoring_config_file",
            "prometheus_config { enable: true }",
            'prometheus_config { enable: true path: "x" }',
        ),
        ("batching_parameters_file", "max_batch_size { value: 4 }", "max_batch_size: 4"),
        ("batching_parameters_file", "num_batch_threads { value: 1 }", "num_batch_threads { value: 0 }"),
        (
            "platform_config_file",
            'platform_configs { key: "tensorflow" value { source_adapter_config {'
            " [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {"
            ' legacy_config { saved_model_tags: "serve" } } } } }',
            "platforms {}",
        ),
        ("tensorflow_session_config_file", "intra_op_parallelism_threads: 2", "threads: 2"),
    ],
)
def test_other_config_files_are_read_too(
    folder: Path, capsys: pytest.CaptureFixture[str], flag: str, good: str, bad: str
) -> None:
    file = folder / "file"
    for text, grades in [(good, ("ok", "note")), (bad, ("attention",))]:
        file.write_text(text)
        report = examine(capsys, f"--model_base_path={folder / 'm'}", "--enable_batching", f"--{flag}={file}")
        assert report.of(str(file))[0] in grades
    file.unlink()
    assert "No such file or directory" in examine(capsys, f"--{flag}={file}").of(str(file))[1]


def test_fields_of_a_platform_config_file_without_effect_are_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "platforms.config"
    file.write_text(
        "platform_configs { key: 'tensorflow' value { source_adapter_config {"
        " [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {"
        " legacy_config { saved_model_tags: 'serve' session_target: 'local' } } } } }"
    )
    report = examine(capsys, f"--model_base_path={folder / 'm'}", f"--platform_config_file={file}")
    said = [(finding["grade"], finding["text"]) for finding in report.findings if finding["subject"] == str(file)]
    assert said == [("ok", ""), ("note", "session_target has no effect here: sessions run in this process")]


def test_a_tls_file_is_read_and_never_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "ssl.config"
    text = ssl_config(Authority("ca").sign())
    file.write_text(text)
    words = [f"--model_base_path={folder / 'm'}", f"--ssl_config_file={file}"]
    assert examine(capsys, *words).of(str(file))[0] == "ok"
    file.write_text(text.replace("server_key", "server_kye"))
    main(["doctor", "--from-tfs", "--", *words])
    shown = capsys.readouterr().out
    assert "server_kye" not in shown
    assert "PRIVATE" not in shown.replace("-----BEGIN PRIVATE KEY-----\\n...", "")


# Models.


def test_a_saved_model_needs_tensorflow(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = f"--model_base_path={folder / 's'}"
    assert examine(capsys, flag).of("default version 7")[0] == "ok"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    grade, text = examine(capsys, flag).of("default version 7")
    assert grade == "attention"
    assert "pip install 'hotserve[tensorflow]'" in text


def test_a_model_that_cannot_be_served_needs_attention(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m" / "3").mkdir()
    report = examine(capsys, f"--model_base_path={folder / 'm'}", "--model_name=m")
    assert report.of("m version 3") == ("attention", "not complete, and would not be loaded: the folder is empty")
    assert report.of("m version 2")[0] == "ok"


def test_the_platform_that_a_flag_prefers_is_the_one_that_is_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(folder / "s" / "7", litert_model([adder(2.0)]))
    flag = f"--model_base_path={folder / 's'}"
    assert "saved_model.pb" in examine(capsys, flag).of("default version 7")[1]
    assert "model.tflite" in examine(capsys, flag, "--prefer_tflite_model").of("default version 7")[1]


def test_object_storage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    report = examine(capsys, "--model_name=m", "--model_base_path=s3://bucket/m")
    assert report.of("m")[0] == "attention"


# Containers.


def test_a_container_is_looked_at_through_its_mounts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["docker", "run", "-p", "8501:8501", "-v", f"{folder / 's'}:/models/s", "-e", "MODEL_NAME=s"]
    report = examine(capsys, *words, "tensorflow/serving", "--rest_api_timeout_in_ms=5", "--zzz")
    assert report.of("s version 7")[0] == "ok"
    assert report.of("--model_base_path=/models/s")[0] == "ok"
    assert shlex.split(report.command or "") == [*words, "hotserve:tensorflow", "--rest_api_timeout_in_ms=5"]


def test_a_config_file_of_a_container_names_paths_of_the_container(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models.config").write_text(
        'model_config_list { config { name: "s" base_path: "/models/s" model_platform: "tensorflow" }'
        ' config { name: "baked" base_path: "/baked" model_platform: "tensorflow" } }'
    )
    words = ["docker", "run", "-v", f"{folder}:/models", "tensorflow/serving"]
    report = examine(capsys, *words, "--model_config_file=/models/models.config")
    assert report.of("s version 7")[0] == "ok"
    assert "not looked at" in report.of("baked at /baked")[1]
    assert report.command == shlex.join(
        [*words[:-1], "hotserve:tensorflow", "--model_config_file=/models/models.config"]
    )


@pytest.mark.parametrize(
    ("options", "image", "subject"),
    [("--gpus=all", "tensorflow/serving", "GPU"), ("", "tensorflow/serving:latest-gpu", "GPU")],
)
def test_a_gpu_needs_attention(capsys: pytest.CaptureFixture[str], options: str, image: str, subject: str) -> None:
    assert examine(capsys, "docker", "run", *options.split(), image).of(subject)[0] == "attention"


def test_a_published_port_that_nothing_listens_on_needs_attention(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["docker", "run", "-p", "80:9000", "-p", "8501:8501", "tensorflow/serving", "--rest_api_port=8080"]
    report = examine(capsys, *words, "--port=9000")
    assert [subject for subject in report.subjects("attention") if subject.startswith("port ")] == ["port 8501"]


# The installation.


def test_without_a_command_line_the_installation_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == (1 if document["attention"] else 0)
    assert f"hotserve {hotserve.__version__}" in [finding["subject"] for finding in document["findings"]]
    assert "command" not in document


# Usage.


@pytest.mark.parametrize(
    "words", [["--from-tfs"], ["--from-tfs", "--"], ["--", "--port=1"], ["--zzz"], ["--port=1"], ["--from"]]
)
def test_a_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *words])
    assert ended.value.code == 2
    assert "usage: hotserve doctor" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["docker", "run", "-p"], ["tensorflow_model_server --model_name='m"]])
def test_a_line_that_cannot_be_read_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--from-tfs", "--", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hotserve doctor: ")
