from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotserve.errors import InvalidArgument
from hotserve.loadgen.target import Target, Wire, read_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://localhost:8501", Target("", Wire.REST, False, "localhost", 8501)),
        ("http://localhost", Target("", Wire.REST, False, "localhost", 80)),
        ("HTTPS://h/base/", Target("", Wire.REST, True, "h", 443, prefix="/base")),
        ("localhost:8500", Target("", Wire.GRPC, False, "localhost", 8500)),
        ("grpc://10.0.0.1:8500", Target("", Wire.GRPC, False, "10.0.0.1", 8500)),
        ("grpcs://[::1]:8500", Target("", Wire.GRPC, True, "::1", 8500)),
        ("[::1]:8500", Target("", Wire.GRPC, False, "::1", 8500)),
        ("unix:/run/s.sock", Target("", Wire.GRPC, socket_path="/run/s.sock")),
        ("unix:///run/s.sock", Target("", Wire.GRPC, socket_path="/run/s.sock")),
        ("unix:s.sock", Target("", Wire.GRPC, socket_path="s.sock")),
    ],
)
def test_scheme_host_and_port_say_which_api_is_where(text: str, target: Target) -> None:
    found = read_target(text)
    assert found.text == text
    assert (found.wire, found.is_secure, found.host, found.port, found.socket_path, found.prefix) == (
        target.wire,
        target.is_secure,
        target.host,
        target.port,
        target.socket_path,
        target.prefix,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost", "has no port"),
        ("grpc://localhost", "has no port"),
        ("http://", "has no host"),
        (":8500", "has no host"),
        ("localhost:80x0", "cannot be read"),
        ("http://[::1:8501", "cannot be read"),
        ("localhost:123456", "cannot be read"),
        ("ftp://localhost:21", "has the scheme ftp"),
        ("localhost:8500/v1", "says more"),
        ("http://user@localhost:8501", "says more"),
        ("http://localhost:8501/?a=b", "says more"),
        ("http://localhost:8501/v1/models/m:predict", "names a model"),
        ("unix:", "names no socket"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match="Expected http://HOST:PORT") as error:
        read_target(text)
    assert words in error.value.message


@given(st.text())
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        target = read_target(text)
    except InvalidArgument:
        return
    assert target.socket_path or (target.host and target.port is not None)


def test_an_address_of_ipv6_has_brackets_in_the_authority() -> None:
    assert read_target("grpc://[::1]:8500").authority == "[::1]:8500"
    assert read_target("unix:/s").authority == "localhost"
