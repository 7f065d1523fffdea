"""`hotserve warmup write`: makes the file of recorded requests that a version is warmed up with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

from hotserve.cli.number_flags import whole
from hotserve.cli.rest_client import RestClient
from hotserve.cli.tls_flags import add_tls_flags, tls_files
from hotserve.codecs.json_recording import VERBS, record_of
from hotserve.codecs.prediction_log import JSON_LINES_SUFFIX, read_log
from hotserve.codecs.signature_def import signatures_from_metadata
from hotserve.codecs.tfrecord import frame
from hotserve.errors import InvalidArgument, ServingError
from hotserve.handlers.recorded_warmup import MAX_RECORDS, WARMUP_FILE
from hotserve.platforms.by_content import ByContentLoader
from hotserve.platforms.warmup import no_warm_up
from hotserve.protos.messages import PredictionLog
from hotserve.tensors import Signature

FAILED = 1
"""The exit code where no file was written."""


def warmup(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    words = _parser().parse_args(arguments)
    try:
        output = _output(words)
        records = list(islice(_records(words), words.limit))
        _check_count(len(records), words.limit)
        _write(output, records)
    except ServingError as error:
        print(f"hotserve warmup: {error.message}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"hotserve warmup: {error.filename}: {error.strerror}", file=sys.stderr)
        return FAILED
    print(f"{len(records)} request{'s' * (len(records) != 1)} written to {output}")
    return 0


def _records(words: argparse.Namespace) -> Iterator[PredictionLog]:
    """All requests that the command line names, as records without answers."""
    if not words.requests and not words.from_log:
        raise InvalidArgument("No requests. Name files with JSON bodies, or a log with --from_log.")
    logged = chain.from_iterable(map(read_log, words.from_log))
    return chain(map(_without_answer, logged), _from_bodies(words))


def _without_answer(log: PredictionLog) -> PredictionLog:
    """The same request without its answer, which a warm-up does not look at."""
    kind = log.WhichOneof("log_type")
    if kind is not None:
        getattr(log, kind).ClearField("response")
    return log


def _from_bodies(words: argparse.Namespace) -> Iterator[PredictionLog]:
    if not words.requests:
        return
    signatures = _signatures(words)
    model_name = words.model_name or (words.version_path.absolute().parent.name if words.version_path else "")
    for file in words.requests:
        for place, body in _bodies(file):
            try:
                yield record_of(words.method, body, model_name, signatures)
            except InvalidArgument as error:
                raise InvalidArgument(f"{place}: {error.message}") from error


def _bodies(file: Path) -> Iterator[tuple[str, bytes]]:
    """The bodies in a file, each with where it is: one a line, or the whole file."""
    data = file.read_bytes()
    if file.suffix != JSON_LINES_SUFFIX:
        yield str(file), data
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield f"{file}, line {number}", line


def _signatures(words: argparse.Namespace) -> Mapping[str, Signature]:
    """The signatures that tell the dtypes of JSON values, from a version folder or a running server."""
    if words.version_path is not None:
        servable = ByContentLoader(warm_up=no_warm_up).load(words.version_path)
        signatures = dict(servable.signatures)
        servable.unload()
        return signatures
    if not words.from_server:
        raise InvalidArgument(
            "JSON does not tell the dtypes of its values. Give --version_path=FOLDER, or --from_server=URL and"
            " --model_name=NAME, from which they are taken."
        )
    if not words.model_name:
        raise InvalidArgument("--from_server needs --model_name: which model of the server the requests are for.")
    client = RestClient(words.from_server, words.model_name, words.version, tls_files(words))
    try:
        return signatures_from_metadata(client.metadata())
    finally:
        client.close()


def _output(words: argparse.Namespace) -> Path:
    if words.output is not None:
        return Path(words.output)
    if words.version_path is None:
        raise InvalidArgument(f"--output is missing: where to write, such as VERSION/{WARMUP_FILE}.")
    return Path(words.version_path) / WARMUP_FILE


def _check_count(count: int, limit: int | None) -> None:
    if count == 0:
        raise InvalidArgument("There are no requests to write.")
    if count > MAX_RECORDS:
        raise InvalidArgument(
            f"There are {count} requests, and a version with more than {MAX_RECORDS} would not load."
            f" Give --limit={MAX_RECORDS} or less, now {limit or 'not given'}, to keep the first of them."
        )


def _write(output: Path, records: Sequence[PredictionLog]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    # In one step: a server may be watching the folder.
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    beside.write_bytes(b"".join(frame(record.SerializeToString()) for record in records))
    beside.replace(output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hotserve warmup", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="write")
    write = commands.add_parser(
        "write",
        help="make a warm-up file",
        description="Makes the file of recorded requests that a version runs before it serves, of JSON bodies of REST"
        " requests, of a request log, or of both.",
        allow_abbrev=False,
    )
    write.add_argument(
        "requests", nargs="*", type=Path, metavar="FILE", help="a JSON body of a REST request; in a .jsonl one a line"
    )
    write.add_argument("--from_log", action="append", type=Path, default=[], metavar="LOG", help="a request log")
    write.add_argument("--output", help=f"the file to write; by default {WARMUP_FILE} in --version_path")
    write.add_argument("--version_path", type=Path, metavar="FOLDER", help="version folder: its signatures tell dtypes")
    write.add_argument("--from_server", default="", metavar="URL", help="running server whose signatures tell dtypes")
    write.add_argument("--model_name", default="", help="the model on that server")
    write.add_argument("--version", type=whole(0, 2**63 - 1), help="its version; the one that serves by default")
    write.add_argument("--method", choices=VERBS, default="predict", help="what the bodies are (default: predict)")
    write.add_argument("--limit", type=whole(1, 10**12), help="write at most so many requests")
    add_tls_flags(write)
    return parser
