"""Where does the processor time of a request go? The server in this process, without sockets and without a client.

    python benchmarks/bench_in_process.py --profile=30

Requests go into the wire's protocols as bytes and come out of their transports, as they do on a socket; what the
kernel and uvloop take is left out. That makes the figures the steadiest of all: use them to see what a change brings.
`--profile=30` adds the 30 lines of code that take the most, by samples of the processor time; what C code takes counts
for the line that calls it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import models
import numpy as np
from digits import MODEL_FILE, pixels, session
from load import positive_int
from measure import circumstances
from report import line
from workloads import HALF_PLUS_TWO, Workload, workload

from hotserve import ServerOptions
from hotserve.loadgen.exchange import Client, Request
from hotserve.loadgen.grpc_client import GrpcClient
from hotserve.loadgen.http1_client import Http1Client
from hotserve.server.assemble import Parts, assemble, configured_models, polled_folders
from hotserve.server.lifespan import load_models
from hotserve.server.loop import runner
from hotserve.wires.grpc_http2 import GrpcLimits, GrpcWire
from hotserve.wires.http1 import Http1Wire

PACKAGES = ("hotserve", "onnxruntime", "numpy", "protobuf", "uvloop")
_WARM_UP = 10  # part of the requests that go before
_SAMPLE_SECONDS = 0.001
_MAX_MESSAGE_BYTES = 1 << 30
_AUTHORITY = "127.0.0.1:8501"


class Sink(asyncio.Transport):
    """The server's end of a connection; counts what it writes, and drops it."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        super().__init__()
        self._written = written

    def write(self, data: Any) -> None:
        self._written(data)

    def writelines(self, list_of_data: Any) -> None:
        self._written(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Connections:
    """Some connections to the server, each of which is given one request at a time.

    Attributes:
        answers: How many answers there have been.
    """

    def __init__(self, protocol: Callable[[], asyncio.Protocol], work: Workload, wire: str, count: int) -> None:
        self.answers = 0
        self._expected = 0
        self._all_answered = asyncio.Event()
        self._requests = [Request(work.path, example.request, work.content_type) for example in work.examples]
        self._protocols = []
        self._clients: list[Client] = []
        for _ in range(count):
            self._protocols.append(protocol())
            self._clients.append(Http1Client(_AUTHORITY) if wire == "rest" else GrpcClient(_AUTHORITY))
            self._protocols[-1].connection_made(Sink(partial(self._written, self._clients[-1])))
            opening = self._clients[-1].opening()
            if opening:
                self._protocols[-1].data_received(opening)

    async def round(self, number: int) -> None:
        """Every connection sends a request, all in the same turn of the loop, and gets its answer."""
        self._expected = self.answers + len(self._protocols)
        self._all_answered.clear()
        # As on a socket: the loop calls the protocols, and no task.
        asyncio.get_running_loop().call_soon(self._send, number)
        await self._all_answered.wait()
        await asyncio.sleep(0)  # what the turn has left to do belongs to it

    def _send(self, number: int) -> None:
        for index, protocol in enumerate(self._protocols):
            request = self._requests[(number * len(self._protocols) + index) % len(self._requests)]
            protocol.data_received(self._clients[index].request(request))

    def _written(self, client: Client, data: bytes) -> None:
        # What the client would reply (an acknowledgement of settings) nobody waits for.
        answer = client.receive(data)
        if answer is None:
            return
        if answer.error:
            raise RuntimeError(f"expected an answer, got {answer.error}: {answer.body[:500]!r}")
        self.answers += 1
        if self.answers == self._expected:
            self._all_answered.set()


@asynccontextmanager
async def serving(model: str, base_path: Path) -> AsyncIterator[Parts]:
    """The parts of a server whose model is loaded."""
    options = ServerOptions(model_name=model, model_base_path=str(base_path))
    configured = configured_models(options)
    parts = assemble(options, configured, polled_folders(options))
    parts.source.start()
    try:
        await load_models(parts.source, parts.manager, [model], asyncio.Event())
        yield parts
    finally:
        parts.source.stop()
        await asyncio.to_thread(parts.manager.close, 10.0)
        parts.engine.close()


def bare_run_us(file: Path, inputs: Sequence[Mapping[str, np.ndarray]], count: int) -> float:
    """Processor time of one run of a model without a server, in microseconds."""
    model = session(file)
    for number in range(count // _WARM_UP):
        model.run(None, inputs[number % len(inputs)])
    start = time.process_time()
    for number in range(count):
        model.run(None, inputs[number % len(inputs)])
    return 1e6 * (time.process_time() - start) / count


@dataclass(frozen=True, slots=True)
class Samples:
    """What the processor was busy with, each millisecond.

    Attributes:
        lines: The line of code that ran -> how often.
        functions: A function that ran, or that waited for what it had called -> how often.
    """

    lines: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Takes samples meanwhile."""

        def sample(_: int, frame: FrameType | None) -> None:
            if frame is None:
                return
            self.lines[f"{_place(frame)}:{frame.f_lineno}"] += 1
            functions = set()
            while frame is not None:
                functions.add(_place(frame))
                frame = frame.f_back
            self.functions.update(functions)

        before = signal.signal(signal.SIGPROF, sample)
        signal.setitimer(signal.ITIMER_PROF, _SAMPLE_SECONDS, _SAMPLE_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def text(self, title: str, cost: float, count: int) -> str:
        """The lines and functions that take most.

        Args:
            title: What was measured.
            cost: What a request costs, in microseconds.
            count: How many to show.
        """
        total = max(1, sum(self.lines.values()))
        parts = [f"\n{title}: {cost:.1f} µs, {total} samples"]
        for kind, counter in (("lines", self.lines), ("functions, with what they call", self.functions)):
            parts.append(f"  {kind}")
            parts += [f"{cost * number / total:8.1f} µs  {place}" for place, number in counter.most_common(count)]
        return "\n".join(parts)


def _place(frame: FrameType) -> str:
    parts = Path(frame.f_code.co_filename).parts
    return f"{'/'.join(parts[-2:])} {frame.f_code.co_name}"


async def measure(parts: Parts, work: Workload, wire: str, count: int, requests: int, samples: Samples | None) -> float:
    """Processor time of this process for each request, in microseconds, with `count` requests in a turn of the loop."""
    loop = asyncio.get_running_loop()
    protocol: Callable[[], asyncio.Protocol] = Http1Wire(
        parts.rest, loop, max_message_bytes=_MAX_MESSAGE_BYTES, road_of=parts.rest.road
    )
    if wire == "grpc":
        protocol = GrpcWire(parts.grpc, GrpcLimits(), loop).protocol
    connections = Connections(protocol, work, wire, count)
    rounds = max(1, requests // count)
    for number in range(max(20, rounds // _WARM_UP)):
        await connections.round(number)
    start = time.process_time()
    with samples.taken() if samples is not None else nullcontext():
        for number in range(rounds):
            await connections.round(number)
    return 1e6 * (time.process_time() - start) / (rounds * count)


async def run(options: argparse.Namespace, folder: Path) -> None:
    """Measures every line of the table, in turns, and prints it."""
    models.half_plus_two(folder)
    files = {"digits": MODEL_FILE, HALF_PLUS_TWO: folder / "1" / "model.onnx"}
    numbers = np.array([1, 2, 5], np.float32)
    inputs = {"digits": [{"image": image} for image in pixels()], HALF_PLUS_TWO: [{"x": numbers}]}
    print(line(("model", "wire", "requests in a turn", "CPU, µs/request", "bare run, µs", "ratio")))
    print(line(("---", "---", "---:", "---:", "---:", "---:")))
    for model in options.models:
        async with serving(model, files[model].parent.parent) as parts:
            bare = []
            taken: dict[tuple[str, int], list[float]] = {}
            samples: dict[tuple[str, int], Samples] = {}
            for _ in range(options.rounds):
                bare.append(bare_run_us(files[model], inputs[model], options.requests))
                for wire in options.wires:
                    work = workload(model, wire)
                    for count in options.connections:
                        found = samples.setdefault((wire, count), Samples())
                        sampled = found if options.profile else None
                        cost = await measure(parts, work, wire, count, options.requests, sampled)
                        taken.setdefault((wire, count), []).append(cost)
        for (wire, count), costs in taken.items():
            ratio = median(cost / floor for cost, floor in zip(costs, bare, strict=True))
            cells = (model, wire, str(count), f"{median(costs):.1f}", f"{median(bare):.1f}", f"{ratio:.2f}")
            print(line(cells), flush=True)
        for (wire, count), found in samples.items():
            if options.profile:
                title = f"{model}, {wire}, {count} requests in a turn"
                print(found.text(title, median(taken[wire, count]), options.profile), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    where = circumstances(PACKAGES)
    with tempfile.TemporaryDirectory() as folder, runner() as running:
        running.run(run(options, Path(folder, HALF_PLUS_TWO)))
    print(f"\n{where.date}, commit {where.commit}, {where.machine}; {dict(where.versions)}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=["digits", HALF_PLUS_TWO], default=["digits", HALF_PLUS_TWO])
    parser.add_argument("--wires", nargs="+", choices=["rest", "grpc"], default=["rest", "grpc"])
    parser.add_argument("--connections", nargs="+", type=positive_int, default=[1, 16])
    parser.add_argument("--requests", type=positive_int, default=2000, help="in each turn")
    parser.add_argument("--rounds", type=positive_int, default=5)
    parser.add_argument(
        "--profile", type=int, default=0, help="how many lines of code to show, of those that take most"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
