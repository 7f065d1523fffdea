from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from hotserve.protos import messages
from hotserve.protos.pool import DESCRIPTOR_SET

SCRIPT = Path(__file__).parents[2] / "scripts" / "compile_protos.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_the_committed_descriptor_set_is_that_of_the_proto_files(script: dict[str, Any]) -> None:
    # The parsed form, which says what differs; the bytes are its deterministic serialization.
    compiled = descriptor_pb2.FileDescriptorSet.FromString(script["compile_descriptor_set"]())
    assert compiled == descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes())


def test_the_committed_stubs_are_those_of_the_descriptor_set(script: dict[str, Any]) -> None:
    assert script["write_stubs"](DESCRIPTOR_SET.read_bytes()) == script["STUBS"].read_text()


def test_every_top_level_message_has_a_class_under_its_own_name() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes()).file
    names = {message.name: f"{file.package}.{message.name}" for file in files for message in file.message_type}
    assert {name: getattr(messages, name).DESCRIPTOR.full_name for name in names} == names
