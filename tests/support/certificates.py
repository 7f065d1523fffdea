"""Certificates for tests of TLS: authorities, and what they sign."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

VALID = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, and who signed it.

    Attributes:
        certificate: PEM.
        key: PEM.
    """

    certificate: str
    key: str

    def write(self, folder: Path) -> tuple[str, str]:
        """Writes both to files, for clients that want paths; the paths."""
        paths = folder / "certificate.pem", folder / "key.pem"
        folder.mkdir()
        paths[0].write_text(self.certificate)
        paths[1].write_text(self.key)
        return str(paths[0]), str(paths[1])


class Authority:
    """Signs certificates; nobody trusts it but who is told to.

    Attributes:
        certificate: PEM.
    """

    def __init__(self, name: str) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._builder(self._name, self._key, authority=True).sign(self._key, hashes.SHA256())
        self.certificate = self._certificate.public_bytes(Encoding.PEM).decode()

    def sign(self, name: str = "localhost", password: bytes | None = None) -> Identity:
        """A certificate for `localhost` and 127.0.0.1, or for a client of any name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            self._builder(subject, key, authority=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        protection = BestAvailableEncryption(password) if password else NoEncryption()
        return Identity(
            certificate.public_bytes(Encoding.PEM).decode(),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection).decode(),
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        signer = self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=authority,
            crl_sign=authority,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID)
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        )


def ssl_config(identity: Identity, client_authority: Authority | None = None) -> str:
    """An `SSLConfig` in text format; with an authority, clients have to show a certificate that it signed."""
    lines = [f"server_cert: {_quoted(identity.certificate)}", f"server_key: {_quoted(identity.key)}"]
    if client_authority is not None:
        lines += [f"custom_ca: {_quoted(client_authority.certificate)}", "client_verify: true"]
    return "\n".join(lines) + "\n"


def _quoted(pem: str) -> str:
    escaped = pem.replace("\n", "\\n")
    return f'"{escaped}"'
