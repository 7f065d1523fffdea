"""`hotserve inspect`: what a model is, in a folder or on a running server."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hotserve.cli.inspected import Inspected, document, lines
from hotserve.cli.inspected_folder import inspect_folder
from hotserve.cli.inspected_server import inspect_server
from hotserve.cli.tls_flags import add_tls_flags, tls_files
from hotserve.errors import InvalidArgument, ServingError
from hotserve.loadgen.model import Model
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import read_target
from hotserve.platforms.engines.cache import EngineCache

_SERVER: Final = re.compile(r"://|^unix:|^[^/]+:[0-9]+$")
"""What names a server, and not a folder."""

FAILED = 1
"""The exit code where nothing could be looked at."""


def inspect(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    words = _parser().parse_args(arguments)
    try:
        inspected = _inspected(words)
    except ServingError as error:
        print(f"hotserve inspect: {error.message}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"hotserve inspect: {error.filename or words.subject}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    if words.json:
        print(json.dumps(document(inspected), indent=1))
    else:
        print("\n".join(lines(inspected)))
    return 0


def _inspected(words: argparse.Namespace) -> Inspected:
    if words.model:
        access = Access(read_target(words.subject), tls_files(words))
        return inspect_server(Server(access), Model(words.model))
    path = Path(words.subject).expanduser()
    if not path.exists() and _SERVER.search(words.subject):
        raise InvalidArgument(f"{words.subject} is a server. Give --model=NAME: which of its models to look at.")
    return inspect_folder(path, EngineCache(words.engine_cache_dir))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hotserve inspect",
        description="Shows what a model is: its versions, what would load them, their signatures, whether requests can"
        " share runs, and which engine runs each signature. Starts nothing.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "subject",
        metavar="PATH|URL",
        help="a base path, a version folder; or with --model a server: http://HOST:PORT, HOST:PORT for gRPC",
    )
    parser.add_argument("--model", default="", metavar="NAME", help="the model on that server")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("--engine_cache_dir", type=Path, metavar="FOLDER", help="as of hotserve serve")
    add_tls_flags(parser)
    return parser
