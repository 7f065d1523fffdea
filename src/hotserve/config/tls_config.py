"""The TLS file: a text-proto `SSLConfig` that holds PEM texts, not paths.

Nothing here ever puts the file's text into an error or a log: it may be a private key.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from hotserve.config.private_files import private_files
from hotserve.config.text_proto import read_text_proto
from hotserve.errors import ConfigError, NotFound
from hotserve.protos import messages

# Up to the position; what the parser says after it may quote the file.
_POSITION = re.compile(r"(Invalid protobuf file: .*Error parsing text-format [\w.]+: \d+:\d+): ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """What a port needs for TLS.

    Attributes:
        certificate: PEM: the server's certificate, then those between it and the root.
        private_key: PEM: its key, not encrypted.
        client_authorities: PEM: whose certificates a client must have one of; empty if clients are not asked for one.
    """

    certificate: str
    private_key: str = field(repr=False)
    client_authorities: str = ""


def read_tls_config(path: Path, flag: str) -> TlsConfig:
    """Reads and checks a TLS file.

    Args:
        path: The file.
        flag: The name of the flag that named it, for the errors.

    Raises:
        ConfigError: The file is missing, cannot be read or does not parse; a certificate, the key or the authorities
            for clients are missing or no PEM; or the key is not that of the certificate.

    Source: ssl_config.proto and BuildServerCredentialsFromSSLConfigFile in tensorflow_serving/model_servers/server.cc.
    """
    config = _read(path, flag)
    if not config.server_cert:
        raise ConfigError(f"--{flag}={path}: server_cert is missing. Expected the server's certificate as a PEM text.")
    if not config.server_key:
        raise ConfigError(f"--{flag}={path}: server_key is missing. Expected the key of server_cert as a PEM text.")
    if config.client_verify and not config.custom_ca:
        # The original would start, and then refuse every client.
        raise ConfigError(
            f"--{flag}={path}: client_verify asks for certificates of clients, and custom_ca is empty. Put the"
            " certificates of the authorities that sign them into custom_ca, as PEM texts."
        )
    _check_certificates(config.server_cert, f"--{flag}={path}: server_cert")
    if config.client_verify:
        _check_certificates(config.custom_ca, f"--{flag}={path}: custom_ca")
    _check_key(config, f"--{flag}={path}")
    return TlsConfig(config.server_cert, config.server_key, config.custom_ca if config.client_verify else "")


def _read(path: Path, flag: str) -> messages.SSLConfig:
    try:
        return read_text_proto(path, messages.SSLConfig)
    except NotFound as error:
        raise ConfigError(f"--{flag}: {error.message}") from error
    except ConfigError as error:
        position = _POSITION.match(error.message)
        if position is None:
            raise ConfigError(f"--{flag}: {error.message}") from error
        # Not chained to what it comes from, which holds the text.
        raise ConfigError(
            f"--{flag}: {position[1]}. What stands there is not shown, because it may be part of a key. Expected"
            r' fields such as server_key: "-----BEGIN PRIVATE KEY-----\n...", with \n for the ends of lines.'
        ) from None


def _check_certificates(text: str, place: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, TypeError) as error:  # TypeError: not ASCII
        raise ConfigError(
            f"{place} holds no certificate in PEM form that could be read: {error}. Expected the text of such a file,"
            ' not its path: "-----BEGIN CERTIFICATE-----\\n...", with \\n for the ends of lines.'
        ) from error


def _check_key(config: messages.SSLConfig, place: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with private_files({"cert.pem": config.server_cert, "key.pem": config.server_key}) as files:
        try:
            context.load_cert_chain(files["cert.pem"], files["key.pem"], password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(
                    f"{place}: server_key is not the key of the first certificate in server_cert. Expected the two that"
                    " were made together, and the server's own certificate before those of authorities."
                ) from error
            raise ConfigError(
                f"{place}: server_key cannot be used: {error}. Expected the key of server_cert in PEM form, not"
                " encrypted, and long enough for OpenSSL."
            ) from error


def _no_password() -> str:
    """In place of a question on the terminal; an encrypted key then fails to be read."""
    return ""
