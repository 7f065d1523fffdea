"""The flags of commands that talk to a server with TLS."""

from __future__ import annotations

import argparse
from pathlib import Path

from hotserve.loadgen.address import TlsFiles


def add_tls_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--ca`, `--cert`, `--key` and `--insecure`."""
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--ca", type=Path, metavar="FILE", help="authorities to believe (default: the system's)")
    tls.add_argument("--cert", type=Path, metavar="FILE", help="certificate of the client")
    tls.add_argument("--key", type=Path, metavar="FILE", help="its key")
    tls.add_argument("--insecure", action="store_true", help="accept any certificate")


def tls_files(words: argparse.Namespace) -> TlsFiles:
    """What these flags say."""
    return TlsFiles(words.ca, words.cert, words.key, words.insecure)
