from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hotserve.errors import ConfigError
from hotserve.server.listen import bind, listen


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


def connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_nobody_can_connect_to_a_bound_port_before_it_listens(sockets: list[socket.socket], host: str) -> None:
    sockets.append(bind(host, 0, "port"))
    port = sockets[0].getsockname()[1]
    assert port > 0
    assert not connects(("127.0.0.1", port))
    listen(sockets[0], "port")
    assert connects(("127.0.0.1", port))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_without_a_host_both_kinds_of_addresses_are_bound_at_once(sockets: list[socket.socket]) -> None:
    sockets.append(bind("", 0, "port"))
    listen(sockets[0], "port")
    port = sockets[0].getsockname()[1]
    assert connects(("127.0.0.1", port))
    assert connects(("::1", port))


def test_without_ipv6_all_addresses_of_ipv4_are_bound(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    sockets.append(bind("", 0, "port"))
    assert sockets[0].getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_bound_socket_does_not_block(sockets: list[socket.socket], is_shared: bool) -> None:
    sockets.append(bind("127.0.0.1", 0, "port", is_shared=is_shared))
    assert not sockets[0].getblocking()
    assert not sockets[0].get_inheritable()


DIES = """
import resource, socket, sys, time
from hotserve.server.listen import bind, listen

port, most = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
listening = bind("127.0.0.1", port, "port", is_shared=True)
listen(listening, "port")
listening.setblocking(True)
print(listening.getsockname()[1], flush=True)
connections = [listening.accept()[0] for _ in range(100)]
print("all are here", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says in which order it closes files")
@pytest.mark.parametrize("most", [256, 20_000])
def test_who_comes_back_when_a_process_is_killed_is_not_queued_for_it(sockets: list[socket.socket], most: int) -> None:
    with subprocess.Popen([sys.executable, "-c", DIES, "0", str(most)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(100):
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=60))
        assert process.stdout.readline() == "all are here\n"
        process.send_signal(signal.SIGKILL)
        for connection in sockets[::-1]:  # closed in this order
            assert connection.recv(1) == b""
            assert not connects(("127.0.0.1", port))


def test_a_shared_port_is_bound_where_few_files_may_be_open(sockets: list[socket.socket]) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull, "rb") as free:
        limit = free.fileno() + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        for flag in ("port", "rest_api_port"):
            sockets.append(bind("127.0.0.1", 0, flag, is_shared=True))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert all(limit - 10 < each.fileno() < limit for each in sockets)


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_port_in_use_is_an_error_that_names_the_flag(sockets: list[socket.socket], host: str, flag: str) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    sockets.append(taken)
    port = taken.getsockname()[1]
    with pytest.raises(ConfigError) as caught:
        bind(host, port, flag)
    assert caught.value.message == (
        f"Port {port} is in use. Choose another with --{flag}, or stop the program that listens on it."
    )


def test_a_port_that_another_program_has_begun_to_listen_on_is_an_error(sockets: list[socket.socket]) -> None:
    ours = bind("127.0.0.1", 0, "port")
    sockets.append(ours)
    port = ours.getsockname()[1]
    other = socket.socket()
    sockets.append(other)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", port))
    other.listen()
    with pytest.raises(ConfigError, match=f"Port {port} is in use"):
        listen(ours, "port")


@pytest.mark.parametrize("port", [-1, 65536, 10**12])
def test_a_number_that_is_no_port_is_an_error(port: int) -> None:
    with pytest.raises(ConfigError, match=f"--port={port}: a port is a number from 0 to 65535"):
        bind("127.0.0.1", port, "port")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1", "not an address"])
def test_a_host_that_there_is_not_is_an_error(host: str) -> None:
    with pytest.raises(ConfigError, match="no such address"):
        bind(host, 0, "port")


def test_an_address_of_another_machine_is_an_error() -> None:
    # TEST-NET-1: an address that nobody has.
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1, port 1234 \(--port\): "):
        bind("192.0.2.1", 1234, "port")


def may_bind_low_ports() -> bool:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", 1))
        return True
    return False


@pytest.mark.skipif(os.name != "posix" or may_bind_low_ports(), reason="every port is free to this user")
def test_a_port_that_needs_a_permission_is_an_error() -> None:
    with pytest.raises(ConfigError, match="No permission to listen on port 1"):
        bind("127.0.0.1", 1, "port")


def test_a_failed_bind_leaves_no_socket_open(sockets: list[socket.socket], recwarn: pytest.WarningsRecorder) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    sockets.append(taken)
    for _ in range(3):
        with pytest.raises(ConfigError):
            bind("127.0.0.1", taken.getsockname()[1], "port")
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]
