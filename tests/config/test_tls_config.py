from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hotserve.config.tls_config import TlsConfig, read_tls_config
from hotserve.errors import ConfigError
from support.certificates import Authority, Identity, ssl_config

FLAG = "ssl_config_file"
AUTHORITY = Authority("authority of the tests")
SERVER = AUTHORITY.sign()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ssl.cfg"


def refusal(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_tls_config(file, FLAG)
    assert caught.value.message.startswith(f"--{FLAG}")
    return caught.value.message


def test_certificate_and_key_are_read(file: Path) -> None:
    file.write_text(ssl_config(SERVER))
    assert read_tls_config(file, FLAG) == TlsConfig(SERVER.certificate, SERVER.key)


def test_the_authorities_of_clients_are_read_where_clients_are_verified(file: Path) -> None:
    file.write_text(ssl_config(SERVER, AUTHORITY))
    assert read_tls_config(file, FLAG).client_authorities == AUTHORITY.certificate


def test_clients_are_not_asked_where_they_are_not_verified(file: Path) -> None:
    file.write_text(ssl_config(SERVER, AUTHORITY).replace("client_verify: true", "client_verify: false"))
    assert read_tls_config(file, FLAG) == TlsConfig(SERVER.certificate, SERVER.key)


def test_the_key_is_no_part_of_the_words_for_it(file: Path) -> None:
    assert SERVER.key.splitlines()[1] not in repr(TlsConfig(SERVER.certificate, SERVER.key))


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("server_cert", "server_cert is missing. Expected the server's certificate as a PEM text."),
        ("server_key", "server_key is missing. Expected the key of server_cert as a PEM text."),
        ("custom_ca", "client_verify asks for certificates of clients, and custom_ca is empty."),
    ],
)
def test_what_is_missing_is_named(file: Path, field: str, reason: str) -> None:
    lines = ssl_config(SERVER, AUTHORITY).splitlines()
    assert reason in refusal(file, "\n".join(line for line in lines if not line.startswith(field)))


@pytest.mark.parametrize("field", ["server_cert", "custom_ca"])
@pytest.mark.parametrize("text", ["/etc/ssl/server.pem", "-----BEGIN CERTIFICATE-----\\nAAAA\\n", "zwölf"])
def test_what_is_no_certificate_is_refused(file: Path, field: str, text: str) -> None:
    lines = [f'{field}: "{text}"' if line.startswith(field) else line for line in _lines()]
    message = refusal(file, "\n".join(lines))
    assert f"{field} holds no certificate in PEM form that could be read" in message
    assert "Expected the text of such a file, not its path: " in message


@pytest.mark.parametrize("key", ["no key", AUTHORITY.sign(password=b"secret").key], ids=["no PEM", "encrypted"])
def test_what_is_no_key_is_refused(file: Path, key: str) -> None:
    message = refusal(file, ssl_config(Identity(SERVER.certificate, key)))
    assert message.startswith(f"--{FLAG}={file}: server_key cannot be used: ")
    assert message.endswith("Expected the key of server_cert in PEM form, not encrypted, and long enough for OpenSSL.")


def test_a_key_of_another_certificate_is_refused(file: Path) -> None:
    message = refusal(file, ssl_config(Identity(SERVER.certificate, AUTHORITY.sign().key)))
    assert "server_key is not the key of the first certificate in server_cert" in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--ssl_config_file: .*none\.cfg; No such file or directory"):
        read_tls_config(tmp_path / "none.cfg", FLAG)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--ssl_config_file: .*Is a directory"):
        read_tls_config(tmp_path, FLAG)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"', ""),
        lambda text: text.rstrip()[:-1],
        lambda text: text.replace("\\n", "\n"),
        lambda text: text.replace("server_key", "server_kye"),
        lambda text: text + SERVER.key,
    ],
    ids=["no quotes", "no last quote", "line ends within quotes", "unknown field", "a bare key"],
)
def test_an_error_in_the_file_tells_the_position_and_never_the_text(
    file: Path, spoil: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(spoil)
    message = refusal(file, spoil(ssl_config(SERVER)))
    assert message.startswith(f"--{FLAG}: Invalid protobuf file: '{file}'. Error parsing text-format")
    for line in SERVER.key.splitlines()[1:-1]:
        assert line not in message + caplog.text


def test_no_file_with_a_key_stays_behind(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    file.write_text(ssl_config(SERVER))
    read_tls_config(file, FLAG)
    assert list(folder.iterdir()) == []


def _lines() -> list[str]:
    return ssl_config(SERVER, AUTHORITY).splitlines()
