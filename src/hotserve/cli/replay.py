"""`hotserve replay`: sends recorded requests to a server again, and tells where its answers are others."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from pathlib import Path

from hotserve.cli.comparison import Difference, Tolerance, differences
from hotserve.cli.number_flags import positive, whole
from hotserve.cli.rest_client import RestClient
from hotserve.cli.tls_flags import add_tls_flags, tls_files
from hotserve.codecs.json_replay import answer_like, recorded_answer, rest_call
from hotserve.codecs.prediction_log import log_size, read_log
from hotserve.errors import InvalidArgument, ServingError, Unavailable
from hotserve.loadgen.address import TlsFiles
from hotserve.protos.messages import PredictionLog

SAME = 0
DIFFERENT = 1
FAILED = 2
"""Exit codes: all answers are the same; some are not, or are errors; nothing could be compared."""


@dataclass
class Report:
    """What came of a replay.

    Attributes:
        same: How many answers were the same.
        different: How many were not.
        errors: How many requests were answered with an error.
        left_out: Why records could not be sent or compared -> how many.
        largest: Output -> its largest difference, and how many answers differed in it.
        examples: The first differences and errors, in words.
    """

    max_examples: int
    same: int = 0
    different: int = 0
    errors: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    largest: dict[str, tuple[float, int]] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self.different or self.errors:
            return DIFFERENT
        return SAME if self.same else FAILED

    def add(self, number: int, found: Sequence[Difference]) -> None:
        """Takes in one answer; without differences it was the same."""
        if not found:
            self.same += 1
            return
        self.different += 1
        for difference in found:
            largest, count = self.largest.get(difference.output, (0.0, 0))
            self.largest[difference.output] = (max(largest, difference.largest), count + 1)
        self._show(f"record {number}: {'; '.join(f'{found.output}{_space(found)}{found.text}' for found in found)}")

    def add_error(self, number: int, error: ServingError) -> None:
        """Takes in an answer that was an error."""
        self.errors += 1
        self._show(f"record {number}: {error.message}")

    def _show(self, text: str) -> None:
        if len(self.examples) < self.max_examples:
            self.examples.append(text)

    def lines(self) -> Iterator[str]:
        """The report, for reading."""
        total = self.same + self.different + self.errors + self.left_out.total()
        yield (
            f"{total} records: {self.same} the same, {self.different} different, {self.errors} answered with an error,"
            f" {self.left_out.total()} left out"
        )
        for reason, count in self.left_out.most_common():
            yield f"  left out: {count} x {reason}"
        for output, (largest, count) in sorted(self.largest.items()):
            yield f"  output {output}: different in {count} answers, by {largest:g} at most"
        yield from (f"  {example}" for example in self.examples)


def replay(arguments: Sequence[str]) -> int:
    """The command; returns `SAME`, `DIFFERENT` or `FAILED`."""
    words = _parser().parse_args(arguments)
    try:
        report = Report(words.examples)
        # Asked of all of them now: the server may log what it is asked, into the last of these files.
        sizes = [log_size(log) for log in words.logs]
        records = (record for log, size in zip(words.logs, sizes, strict=True) for record in read_log(log, size))
        tolerance = Tolerance(words.rtol, words.atol)
        _run(
            islice(records, words.limit),
            _Target(words.to, words.model_name, words.version, tls_files(words)),
            tolerance,
            report,
        )
    except ServingError as error:
        print(f"hotserve replay: {error.message}", file=sys.stderr)
        return FAILED
    print("\n".join(report.lines()))
    return report.exit_code


class _Target:
    """The server, and which of its models; a connection for each model that is asked for."""

    def __init__(self, url: str, model_name: str, version: int | None, tls: TlsFiles) -> None:
        # What is wrong with these is no answer to a record.
        RestClient(url, model_name, version, tls).close()
        self._url = url
        self._tls = tls
        self._model_name = model_name
        self._version = version
        self._clients: dict[str, RestClient] = {}

    def client(self, record: PredictionLog) -> RestClient:
        name = self._model_name or record.log_metadata.model_spec.name or _requested_model(record)
        if not name:
            raise InvalidArgument("The record names no model. Give --model_name.")
        if name not in self._clients:
            self._clients[name] = RestClient(self._url, name, self._version, self._tls)
        return self._clients[name]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def _run(records: Iterable[PredictionLog], target: _Target, tolerance: Tolerance, report: Report) -> None:
    try:
        for number, record in enumerate(records, 1):
            try:
                call, recorded = rest_call(record), recorded_answer(record)
            except ServingError as error:
                report.left_out[error.message] += 1
                continue
            if not recorded:
                report.left_out["no answer was recorded"] += 1
                continue
            try:
                answer = target.client(record).call(call.verb, call.body)
                report.add(number, differences(recorded, answer_like(recorded, answer), tolerance))
            except Unavailable:
                raise
            except ServingError as error:
                report.add_error(number, error)
    finally:
        target.close()


def _requested_model(record: PredictionLog) -> str:
    match record.WhichOneof("log_type"):
        case "predict_log":
            return record.predict_log.request.model_spec.name
        case "classify_log":
            return record.classify_log.request.model_spec.name
        case "regress_log":
            return record.regress_log.request.model_spec.name
        case _:
            return ""


def _space(difference: Difference) -> str:
    return "" if difference.text.startswith("[") else " "


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hotserve replay",
        description="Sends the requests of a request log to a server over REST, and compares its answers with those"
        " that were recorded. Exit code: 0 all the same; 1 some differ, or are errors; 2 nothing was compared.",
        allow_abbrev=False,
    )
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="a .tfrecord or .jsonl file of records")
    parser.add_argument("--to", required=True, metavar="URL", help="where REST answers: http://localhost:8501")
    parser.add_argument("--model_name", default="", help="the model to ask; the recorded one by default")
    parser.add_argument("--version", type=whole(0, 2**63 - 1), help="its version; the one that serves by default")
    tolerance = positive(inf, or_zero=True)
    parser.add_argument("--rtol", type=tolerance, default=0.0, help="relative tolerance of floats (default: 0)")
    parser.add_argument("--atol", type=tolerance, default=0.0, help="absolute tolerance of floats (default: 0)")
    parser.add_argument("--limit", type=whole(1, 10**12), help="send at most so many records")
    parser.add_argument("--examples", type=whole(0, 10**6), default=5, help="how many differences to show (default: 5)")
    add_tls_flags(parser)
    return parser
