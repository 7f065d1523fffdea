"""A server takes as many connections as the system lets it, and says so when there are more."""

from __future__ import annotations

import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hotserve.open_files import OpenFiles
from hotserve.testing import FakeClock
from support.server_process import ServerProcess, wait_until
from support.versioned_models import onnx_version

SAYS_NEARLY = "has nearly as many"
LIMIT = 256

RAISES = """
import resource, sys
from hotserve.open_files import raise_limit

soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.fixture
def limited() -> Iterator[int]:
    """This process may open as many files as it has now and a few more; what it may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull, "rb") as free:
        limit = free.fileno() + 50
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(("soft", "hard"), [(64, 200), (200, 200)])
def test_the_limit_is_raised_to_what_the_system_allows(soft: int, hard: int) -> None:
    words = [sys.executable, "-c", RAISES, str(soft), str(hard)]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.split() == [str(hard)] * 3


def test_only_who_has_nearly_as_many_files_as_it_may_is_told_so_and_once_a_minute(
    limited: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    files = OpenFiles(clock)
    with caplog.at_level(logging.WARNING):
        files.opened(limited // 2)
        assert not caplog.records
        for _ in range(3):
            files.opened(limited - 1)
        (record,) = caplog.records
        clock.advance(61.0)
        files.opened(limited - 1)
    assert f"may have {limited} files open" in record.getMessage()
    assert len(caplog.records) == 2


def test_a_server_raises_its_limit_says_when_connections_reach_it_and_goes_on_when_they_have_ended(
    tmp_path: Path,
) -> None:
    onnx_version(tmp_path / "1", 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as running, ExitStack() as connections:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, LIMIT), hard))  # which the server inherits
        try:
            server = ServerProcess("--model_name=m", f"--model_base_path={tmp_path}", "--workers=1")
            running.enter_context(server)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 20)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (LIMIT, hard))
        clients = [
            connections.enter_context(closing(socket.create_connection(("127.0.0.1", server.rest_port), timeout=30)))
            for _ in range(LIMIT + 10)
        ]
        wait_until(lambda: SAYS_NEARLY in server.log(), what="the server says so")
        assert clients[-1].recv(1) == b""
        clients[0].sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert clients[0].recv(12) == b"HTTP/1.1 200"
        connections.close()
        server.wait_ready()  # who comes before the server has closed the others is still turned away
        assert server.log().count(SAYS_NEARLY) == 1
