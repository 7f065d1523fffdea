"""`hotserve bench`: puts load on a server with TensorFlow Serving's APIs, and says how it does."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

from hotserve.cli.bench_check import SameAnswers
from hotserve.cli.bench_progress import Progress
from hotserve.cli.bench_report import Measurement, Subject, document, lines
from hotserve.cli.comparison import Tolerance
from hotserve.cli.number_flags import positive, whole
from hotserve.cli.tls_flags import add_tls_flags, tls_files
from hotserve.codecs.json_recording import VERBS
from hotserve.errors import InvalidArgument, ServingError
from hotserve.loadgen.bodies import Format, RequestMaker
from hotserve.loadgen.compiled_loop import MOST_STREAMS
from hotserve.loadgen.data_file import read_data, signature_in
from hotserve.loadgen.exchange import Request
from hotserve.loadgen.job import Job, merged, run_job, run_jobs
from hotserve.loadgen.made_up import make_inputs
from hotserve.loadgen.model import Model, signatures_of, text_of_error
from hotserve.loadgen.process_usage import ProcessUsage
from hotserve.loadgen.server import Access, Server
from hotserve.loadgen.target import Wire, read_target
from hotserve.loadgen.work import Hooks
from hotserve.open_files import raise_limit
from hotserve.tensors import Signature

GOOD = 0
NOT_MEASURED = 1
SOME_FAILED = 3
INTERRUPTED = 130
"""Exit codes: every request was answered as it should be; nothing could be measured; some requests failed, or were
answered differently; Ctrl-C. A wrong command line ends with 2, as argparse has it."""

_CLOSED_CONNECTIONS = (1, 16)
_OPEN_CONNECTIONS = (64,)
_MAX_CONNECTIONS = 10_000
_MAX_PROCESSES = 64
_MAX_SECONDS = 86_400.0
_MAX_RATE = 1e6

_EPILOG = """\
Without --rate the loop is closed: each connection sends its next request when it has its answer. With --rate it is
open: requests are due at fixed times whether others have been answered or not, and their latency counts from when they
were due, so that a server that falls behind shows it.

exit code: 0 every request was answered as it should be; 1 nothing could be measured; 3 some requests failed, or with
--check were answered differently; 130 after Ctrl-C, which prints what was measured so far.

examples:
  hotserve bench http://localhost:8501 --model=digits
  hotserve bench localhost:8500 --model=digits --connections 1 16 64 --rows=8
  hotserve bench localhost:8500 --model=digits --rate 500 1000 2000 --seconds=30
  hotserve bench http://localhost:8501 --model=digits --data=request.json --check
"""


def bench(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    words = _parser().parse_args(arguments)
    progress = Progress(sys.stderr)
    raise_limit()
    try:
        with _interrupts() as interrupt:
            return _bench(words, progress, interrupt)
    except ServingError as error:
        progress.clear()
        print(f"hotserve bench: {error.message}", file=sys.stderr)
        return NOT_MEASURED
    except OSError as error:
        progress.clear()
        print(f"hotserve bench: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return NOT_MEASURED


class _Interrupt:
    """Whether somebody has pressed Ctrl-C during a measurement. Before the first one, and the second time, it ends all.

    Attributes:
        came: Whether it came.
        is_measuring: Whether there is something to show for it.
    """

    def __init__(self) -> None:
        self.came = self.is_measuring = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came or not self.is_measuring:
            raise KeyboardInterrupt
        self.came = True


@contextmanager
def _interrupts() -> Iterator[_Interrupt]:
    interrupt = _Interrupt()
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def _bench(words: argparse.Namespace, progress: Progress, interrupt: _Interrupt) -> int:
    access = _access(words)
    server = Server(access)
    usage = ProcessUsage(words.pid) if words.pid is not None else None
    if words.label and words.version is not None:
        raise InvalidArgument("--version and --label are both given. Expected one of them at most.")
    if words.json is not None and not words.json.absolute().parent.is_dir():
        raise InvalidArgument(f"--json={words.json}: there is no folder {words.json.parent}. Expected one to write to.")
    maker = RequestMaker(access.target, Model(words.model, words.version, words.label), Format(words.format or "json"))
    requests = _requests(words, server, maker)
    judge = SameAnswers(requests[0], Tolerance(words.rtol, words.atol)) if words.check else None
    for number, request in enumerate(requests if judge is not None else requests[:1]):
        body = _try(server, request)
        if judge is not None:
            judge(number, body)
    measurements: list[Measurement] = []
    interrupt.is_measuring = True
    for job in _jobs(words, server.access, requests, judge):
        measurements.append(_measure(job, words.processes, usage, progress, interrupt))
        if interrupt.came:
            break
    progress.clear()
    subject = Subject(access.target.text, access.target.wire.value, str(maker.model), requests)
    print("\n".join(lines(subject, measurements)))
    if words.json is not None:
        words.json.write_text(json.dumps(document(subject, measurements), indent=1) + "\n")
    if interrupt.came:
        return INTERRUPTED
    if not any(measurement.outcome.tally.good.count for measurement in measurements):
        return NOT_MEASURED
    return SOME_FAILED if any(measurement.outcome.tally.failed for measurement in measurements) else GOOD


def _access(words: argparse.Namespace) -> Access:
    target = read_target(words.target)
    if target.wire is Wire.GRPC and words.format is not None:
        raise InvalidArgument(f"--format is for REST, and {target.text} is one of gRPC. Leave it out, or give a URL.")
    if target.wire is Wire.REST and words.streams > 1:
        raise InvalidArgument(f"--streams is for gRPC, and {target.text} is REST. Give more --connections.")
    if not target.is_secure and (words.ca or words.cert or words.key or words.insecure):
        raise InvalidArgument(f"{target.text} is without TLS. For TLS give https://HOST:PORT or grpcs://HOST:PORT.")
    headers = tuple(_header(text) for text in words.header)
    return Access(target, tls_files(words), headers, words.timeout)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isascii() or not text.isprintable():
        raise InvalidArgument(f"--header={text}: expected NAME: VALUE.")
    return name.strip().lower(), value.strip()


def _requests(words: argparse.Namespace, server: Server, maker: RequestMaker) -> Sequence[Request]:
    @cache
    def signatures() -> Mapping[str, Signature]:
        return signatures_of(server, maker.model)

    if words.data is not None:
        if words.rows is not None or words.shape:
            raise InvalidArgument("--rows and --shape are for data that is made up. Leave them out, or --data.")
        return read_data(words.data, maker, signatures, words.signature, words.method)
    if words.method != "predict":
        raise InvalidArgument(f"--method={words.method} needs --data: only the inputs of predict can be made up.")
    signature = signature_in(signatures(), words.signature)
    inputs = make_inputs(signature, words.rows or 1, dict(map(_shape, words.shape)))
    return [maker.of_inputs(inputs, words.signature, signature)]


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    alias, equals, sizes = text.partition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(",") if size)
    except ValueError:
        shape = (-1,)
    if not alias or not equals or any(size < 0 for size in shape):
        raise InvalidArgument(f"--shape={text}: expected INPUT=SIZE,SIZE,..., such as image=1,28,28.")
    return alias, shape


def _try(server: Server, request: Request) -> bytes:
    """Sends a request once: what is wrong with all of them is told at once, and not as a number of failures."""
    answer = server.call(request)
    if answer.error:
        raise ServingError(
            f"{server.access.target.text} answers {answer.error}: {text_of_error(answer).rstrip('.')}. Expected an"
            f" answer to {request.path} with {len(request.body)} bytes. Give other inputs with --data, --shape or"
            " --signature."
        )
    return answer.body


def _jobs(
    words: argparse.Namespace, access: Access, requests: Sequence[Request], judge: SameAnswers | None
) -> Iterator[Job]:
    for rate in words.rate or (None,):
        for connections in words.connections or (_CLOSED_CONNECTIONS if rate is None else _OPEN_CONNECTIONS):
            yield Job(
                access,
                requests,
                connections,
                words.seconds,
                words.warmup_seconds,
                words.requests,
                rate,
                words.poisson,
                judge,
                streams=words.streams,
            )


def _measure(
    job: Job, processes: int, usage: ProcessUsage | None, progress: Progress, interrupt: _Interrupt
) -> Measurement:
    server_cpu = usage.cpu_seconds() if usage is not None else 0.0

    def on_measured() -> None:
        nonlocal server_cpu
        server_cpu = usage.cpu_seconds() if usage is not None else 0.0

    progress.begin(job)
    hooks = Hooks(lambda: interrupt.came, on_measured, progress.show)
    outcome = run_job(job, hooks) if processes == 1 else merged(run_jobs(job.split(processes), hooks))
    if usage is None:
        return Measurement(job, processes, outcome)
    return Measurement(job, processes, outcome, usage.cpu_seconds() - server_cpu, usage.memory_bytes())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hotserve bench",
        description="Puts load on a server with TensorFlow Serving's APIs, and tells how many requests it answers and"
        " how long they take.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "target",
        metavar="URL_OR_TARGET",
        help="http://HOST:PORT or https://HOST:PORT for REST; HOST:PORT, grpc://, grpcs:// or unix:/PATH for gRPC",
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="the model to ask")
    parser.add_argument("--version", type=whole(1, 2**63 - 1), help="its version; the one that serves by default")
    parser.add_argument("--label", default="", help="a label of its versions")
    parser.add_argument("--signature", default="", help="its signature (default: serving_default)")

    load = parser.add_argument_group("load")
    load.add_argument(
        "--connections",
        type=whole(1, _MAX_CONNECTIONS),
        nargs="+",
        help="how many clients there are; one measurement for each number (default: 1 16, with --rate 64)",
    )
    load.add_argument(
        "--rate",
        type=positive(_MAX_RATE),
        nargs="+",
        help="requests in a second, of an open loop; one measurement for each number",
    )
    load.add_argument(
        "--streams",
        type=whole(1, MOST_STREAMS),
        default=1,
        help="calls that may be under way on each connection of gRPC (default: 1)",
    )
    load.add_argument("--poisson", action="store_true", help="requests of an open loop come at random times")
    load.add_argument(
        "--seconds", type=positive(_MAX_SECONDS), default=10.0, help="how long a measurement lasts (default: 10)"
    )
    load.add_argument(
        "--warmup-seconds",
        type=positive(_MAX_SECONDS, or_zero=True),
        default=1.0,
        help="how long requests are sent before that (default: 1)",
    )
    load.add_argument("--requests", type=whole(1, 10**12), help="end after so many requests, if that comes first")
    load.add_argument(
        "--timeout",
        type=positive(3600.0),
        default=60.0,
        help="how long a client waits for an answer (default: 60)",
    )
    load.add_argument(
        "--processes",
        type=whole(1, _MAX_PROCESSES),
        default=1,
        help="share the connections among so many processes",
    )

    data = parser.add_argument_group("data; made up for the signature by default")
    data.add_argument("--rows", type=whole(1, 1_000_000), help="rows in each request (default: 1)")
    data.add_argument(
        "--shape", action="append", default=[], metavar="INPUT=SIZES", help="shape of an input, such as image=1,28,28"
    )
    data.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help=".json (a body of REST), .jsonl, .npy, .npz, a serialized PredictRequest, a warm-up file or a request log",
    )
    data.add_argument("--method", choices=VERBS, default="predict", help="what JSON bodies are posted to")
    data.add_argument("--format", choices=[form.value for form in Format], help="of bodies over REST (default: json)")
    data.add_argument(
        "--header", action="append", default=[], metavar="NAME: VALUE", help="a header, or metadata of gRPC"
    )

    checks = parser.add_argument_group("checks and results")
    checks.add_argument("--check", action="store_true", help="all answers to a request must be the same")
    checks.add_argument("--rtol", type=positive(1.0, or_zero=True), default=1e-5, help="but for this (default: 1e-5)")
    checks.add_argument("--atol", type=positive(1.0, or_zero=True), default=1e-6, help="and this (default: 1e-6)")
    checks.add_argument("--pid", type=whole(1, 2**31), help="the server's process, if it is here: its CPU and memory")
    checks.add_argument("--json", type=Path, metavar="FILE", help="where to write the results as JSON")

    add_tls_flags(parser)
    return parser
