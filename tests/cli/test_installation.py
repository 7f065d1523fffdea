from __future__ import annotations

import platform
import socket

from hotserve.cli.findings import Finding, Grade
from hotserve.cli.installation import examine_installation
from hotserve.codecs.compiled import describe_codec
from hotserve.config.options import ServerOptions
from support.server_process import free_port


def findings(**options: int) -> dict[str, Finding]:
    options = {"port": free_port(), "rest_api_port": free_port(), **options}
    return {finding.subject: finding for finding in examine_installation(ServerOptions(**options))}  # type: ignore[arg-type]


def test_python_packages_and_processors_are_told() -> None:
    found = findings()
    assert found[f"CPython {platform.python_version()}"].grade is Grade.OK
    for package in ("onnxruntime", "numpy", "protobuf", "uvloop", "tensorflow"):
        assert [subject for subject in found if subject.startswith(f"{package} ")]
    for package in ("openvino", "tf2onnx"):  # also where they are not installed
        assert [subject for subject in found if subject.split()[0] == package]
    assert any(finding.section == "Processors" for finding in found.values())


def test_the_json_codec_is_told_and_is_no_problem_where_it_is_not_compiled() -> None:
    finding = findings()["JSON codec"]
    assert finding.text == describe_codec()
    assert finding.grade in (Grade.OK, Grade.NOTE)


def test_free_ports_are_told() -> None:
    port = free_port()
    assert findings(port=port)[f"--port={port}"] == Finding("Ports", Grade.OK, f"--port={port}", "is free")


def test_a_port_in_use_needs_attention() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = findings(rest_api_port=port)[f"--rest_api_port={port}"]
    assert found.grade is Grade.ATTENTION
    assert found.text.startswith(f"Port {port} is in use.")


def test_a_port_that_is_off_is_not_looked_at() -> None:
    assert not any(subject.startswith("--port") for subject in findings(port=0))
