"""How long does one very large request, or answer, delay the small ones?

    python benchmarks/bench_large_requests.py --mebibytes=64

One client asks a small model over REST, another over gRPC, every few milliseconds, one request after the other. Beside
them a third client, a process of its own, sends one large request at a time, in every form that there is, or asks for a
large answer. What counts is the slowest small request between the first byte of the large one and the last of its
answer; the first line of the table is the same without a large one.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np
import onnx
from call_connection import CallConnection
from load import positive_float, positive_int
from measure import RunningServer, ServerCommand, circumstances
from onnx import TensorProto as Onnx
from onnx import helper

from hotserve.codecs.tensor_proto import encode_tensor, serialize_tensor, serialized_head
from hotserve.codecs.wire import length_delimited
from hotserve.loadgen.grpc_client import GrpcClient
from hotserve.loadgen.http1_client import Http1Client
from hotserve.protos.messages import PredictRequest
from hotserve.tensors import DType

PACKAGES = ("hotserve", "onnxruntime", "numpy", "protobuf", "uvloop")

PREDICT = "/tensorflow.serving.PredictionService/Predict"
PACE_SECONDS = 0.004
LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a large request.

    Attributes:
        name: As the table shows it.
        model: Which model it is for.
        headers: Those of the request; None for gRPC.
        make: Bytes of the message, about -> body or message.
        status: What a server answers to it over REST.
    """

    name: str
    model: str
    headers: Mapping[str, str] | None
    make: Callable[[int], bytes]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the small requests while a large one was under way."""

    name: str
    large_seconds: float
    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _parser().parse_args(arguments)
    if options.send:
        return _send_large(options)
    where = circumstances(PACKAGES)
    forms = [form for form in FORMS if not options.forms or form.name in options.forms]
    with tempfile.TemporaryDirectory() as folder:
        server = _server(Path(folder))
        with RunningServer(server) as running:
            results = asyncio.run(_measure(running, forms, options, Path(folder)))
    print(_table(results))
    print(f"\n{options.mebibytes} MiB, {options.rounds} rounds, the worst of them. {where.machine}; {where.commit}")
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1), encoding="utf-8")
    return 0


# The models: as little as they can do.


def _server(folder: Path) -> ServerCommand:
    _save(folder / "small", [("x", Onnx.FLOAT)], [("y", Onnx.FLOAT)], [helper.make_node("Neg", ["x"], ["y"])])
    first = [
        helper.make_node("Constant", [], ["one"], value=helper.make_tensor("one", Onnx.INT64, [1], [1])),
        helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("zero", Onnx.INT64, [1], [0])),
        helper.make_node("Slice", ["x", "zero", "one"], ["y"]),
    ]
    _save(folder / "sink", [("x", Onnx.FLOAT)], [("y", Onnx.FLOAT)], first)
    (folder / "texts" / "1").mkdir(parents=True)
    (folder / "texts" / "1" / "hashmap.json").write_text('{"a key": "that nobody asks for"}', encoding="utf-8")
    count = [
        helper.make_node("Constant", [], ["start"], value=helper.make_tensor("start", Onnx.FLOAT, [], [0.0])),
        helper.make_node("Constant", [], ["step"], value=helper.make_tensor("step", Onnx.FLOAT, [], [0.37])),
        helper.make_node("Squeeze", ["x"], ["limit"]),
        helper.make_node("Range", ["start", "limit", "step"], ["y"]),
    ]
    _save(folder / "source", [("x", Onnx.FLOAT)], [("y", Onnx.FLOAT)], count)
    config = folder / "models.config"
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" }}\n' for name in ("small", "sink", "texts", "source")
    )
    config.write_text(f"model_config_list {{ {entries} }}", encoding="utf-8")
    words = (
        *(sys.executable, "-m", "hotserve", "serve", "--host=127.0.0.1"),
        *("--port={grpc_port}", "--rest_api_port={rest_port}"),
        *(f"--model_config_file={config}", f"--max_message_bytes={LIMIT}"),
    )
    return ServerCommand("hotserve", words)


def _save(
    base: Path, inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]], nodes: Sequence[onnx.NodeProto]
) -> None:
    graph = helper.make_graph(
        nodes,
        base.name,
        [helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in inputs],
        [helper.make_tensor_value_info(name, kind, ["m"]) for name, kind in outputs],
    )
    version = base / "1"
    version.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, version / "model.onnx")


# Large requests.


def _floats(size: int) -> np.ndarray:
    return np.random.default_rng(1).random(max(1, size // 4), np.float32)


def _json(size: int) -> bytes:
    numbers = [f"{number:.6f}" for number in _floats(size // 9 * 4).tolist()]  # nine bytes each, with the comma
    return f'{{"instances": [{",".join(numbers)}]}}'.encode()


def _protobuf(size: int, model: str = "sink", *, as_content: bool) -> bytes:
    request = PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(encode_tensor(_floats(size), DType.FLOAT, as_content))
    return request.SerializeToString()


FLOAT_VAL = 5
"""The number of the field in TensorProto."""

TEXT = "a line of text, as a classifier of documents is sent one, of about a hundred characters, or a few less"


def _json_texts(size: int, text: str = TEXT) -> bytes:
    return json.dumps({"instances": [text] * (size // (len(text) + 4))}).encode()


def _json_rows(size: int, last: str) -> bytes:
    """Rows of eight numbers, the last of which is something else."""
    row = "[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], "
    return f'{{"instances": [{row * (size // len(row))}{last}]}}'.encode()


def _protobuf_texts(size: int) -> bytes:
    text = TEXT.encode()
    strings = np.full(size // (len(text) + 2), text, object)
    return _predict("texts", "keys", serialize_tensor(strings, DType.STRING))


def _protobuf_one_by_one(size: int) -> bytes:
    """Numbers that are not packed, as some clients send them: each with the field's tag before it."""
    numbers = _floats(size // 5 * 4)
    fields = np.empty((len(numbers), 5), np.uint8)
    fields[:, 0] = FLOAT_VAL << 3 | 5
    fields[:, 1:] = numbers.view(np.uint8).reshape(-1, 4)
    return _predict("sink", "x", serialized_head(DType.FLOAT, numbers.shape) + fields.tobytes())


def _predict(model: str, alias: str, tensor: bytes) -> bytes:
    """A serialized PredictRequest."""
    spec = PredictRequest()
    spec.model_spec.name = model
    entry = length_delimited(1, alias.encode()) + length_delimited(2, tensor)
    return spec.SerializeToString() + length_delimited(2, entry)


def _npy(size: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, _floats(size))
    return stream.getvalue()


def _ask_json(size: int) -> bytes:
    return json.dumps({"instances": [size / 10 * 0.37]}).encode()  # ten bytes a number


def _ask_protobuf(size: int) -> bytes:
    request = PredictRequest()
    request.model_spec.name = "source"
    request.inputs["x"].CopyFrom(encode_tensor(np.array([size / 4 * 0.37], np.float32), DType.FLOAT))
    return request.SerializeToString()


_PROTOBUF_TYPE = {"content-type": "application/x-protobuf"}
FORMS = (
    Form("none", "sink", {}, lambda size: b'{"instances": [1.0]}'),
    Form("REST, JSON", "sink", {}, _json),
    Form("REST, gzip", "sink", {"content-encoding": "gzip"}, lambda size: gzip.compress(_json(size), 1)),
    Form("REST, protobuf", "sink", _PROTOBUF_TYPE, lambda size: _protobuf(size, as_content=True)),
    Form("REST, npy", "sink", {"content-type": "application/x-npy"}, _npy),
    Form("gRPC, tensor_content", "sink", None, lambda size: _protobuf(size, as_content=True)),
    Form("gRPC, float_val", "sink", None, lambda size: _protobuf(size, as_content=False)),
    # These cost more, or are wrong; strings are looked up in a table, which ends with the first one that is not there.
    Form("gRPC, string_val", "texts", None, _protobuf_texts, 400),
    Form("gRPC, float_val one by one", "sink", None, _protobuf_one_by_one),
    Form("REST, texts", "texts", {}, _json_texts, 400),
    Form("REST, texts with escapes", "texts", {}, lambda size: _json_texts(size, f'"{TEXT}"\n'), 400),
    Form("REST, a row too long", "sink", {}, lambda size: _json_rows(size, "[1, 2, 3, 4, 5, 6, 7, 8, 9]"), 400),
    Form("REST, null", "sink", {}, lambda size: _json_rows(size, "[1, 2, 3, 4, 5, 6, 7, null]"), 400),
    Form("REST, no JSON", "sink", {}, lambda size: _json_rows(size, "[1, 2"), 400),
    Form("answer: REST, JSON", "source", {}, _ask_json),
    Form("answer: REST, protobuf", "source", _PROTOBUF_TYPE, _ask_protobuf),
    Form("answer: gRPC", "source", None, _ask_protobuf),
)


def _send_large(options: argparse.Namespace) -> int:
    """What the process of the large client does: says when it begins and when it has the answer."""
    body = options.send.read_bytes()
    form = next(form for form in FORMS if form.name == options.forms[0])
    if form.headers is None:
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{options.port}", unlimited) as channel:
            call = channel.unary_unary(PREDICT)
            grpc.channel_ready_future(channel).result(10)
            began = time.monotonic()
            try:
                call(body, timeout=120)
            except grpc.RpcError as error:
                if form.status == 200 or error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    raise
            print(began, time.monotonic())
    else:
        asyncio.run(_post_large(options.port, form, body))
    return 0


async def _post_large(port: int, form: Form, body: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    head = f"POST /v1/models/{form.model}:predict HTTP/1.1\r\nhost: large\r\ncontent-length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in (form.headers or {}).items())
    began = time.monotonic()
    writer.write(head.encode() + b"\r\n")
    writer.write(body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while length > 0:
        length -= len(await reader.read(1 << 20))
    print(began, time.monotonic())
    writer.close()
    if f" {form.status} ".encode() not in answer.split(b"\r\n")[0]:
        raise ValueError(answer)


# Small requests.


async def _measure(
    running: RunningServer, forms: Sequence[Form], options: argparse.Namespace, folder: Path
) -> list[Result]:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    times: list[tuple[float, float]] = []

    async def stream(connection: CallConnection, request: bytes) -> None:
        while not stopped.is_set():
            began = time.monotonic()
            await connection.call(request)
            times.append((began, time.monotonic()))
            await asyncio.sleep(PACE_SECONDS)

    rest_transport, rest = await loop.create_connection(
        lambda: CallConnection(Http1Client("small"), "/v1/models/small:predict"), "127.0.0.1", running.rest_port
    )
    grpc_transport, grpc_ = await loop.create_connection(
        lambda: CallConnection(GrpcClient("small"), PREDICT), "127.0.0.1", running.grpc_port
    )
    small = PredictRequest()
    small.model_spec.name = "small"
    small.inputs["x"].CopyFrom(encode_tensor(np.ones(4, np.float32), DType.FLOAT))
    streams = [
        asyncio.ensure_future(stream(rest, b'{"instances": [1.0, 2.0]}')),
        asyncio.ensure_future(stream(grpc_, small.SerializeToString())),
    ]
    results = []
    for form in forms:
        body = folder / "body"
        body.write_bytes(await asyncio.to_thread(form.make, options.mebibytes << 20))
        rounds = []
        for _ in range(options.rounds):
            times.clear()
            began, ended = await _large(running, form, body)
            if form.name == "none":
                await asyncio.sleep(options.seconds)
                ended = time.monotonic()
            rounds.append(_result(form.name, times, began, ended))
            print(rounds[-1], file=sys.stderr, flush=True)
        results.append(max(rounds, key=lambda result: result.max_ms))
    stopped.set()
    await asyncio.gather(*streams)
    rest_transport.close()
    grpc_transport.close()
    return results


async def _large(running: RunningServer, form: Form, body: Path) -> tuple[float, float]:
    port = running.grpc_port if form.headers is None else running.rest_port
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, f"--send={body}", f"--port={port}", "--forms", form.name),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the large request failed; the server says:\n{running.output()[-2000:]}")
    began, ended = map(float, said.split())
    return began, ended


def _result(name: str, times: Sequence[tuple[float, float]], began: float, ended: float) -> Result:
    latencies = [1e3 * (end - start) for start, end in times if end >= began and start <= ended]
    if not latencies:
        raise RuntimeError(f"{name}: it was over before a small request was sent. Choose more with --mebibytes=N.")
    p50, p99 = np.percentile(latencies, [50, 99])
    return Result(name, ended - began, len(latencies), float(p50), float(p99), max(latencies))


def _table(results: Sequence[Result]) -> str:
    lines = ["| large request | seconds | small ones | p50 ms | p99 ms | slowest ms |", "| --- | " + "---: | " * 5]
    lines += [
        f"| {each.name} | {each.large_seconds:.2f} | {each.count} | {each.p50_ms:.1f} | {each.p99_ms:.1f}"
        f" | {each.max_ms:.1f} |"
        for each in results
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=positive_int, default=64, help="size of a large request or answer")
    parser.add_argument("--rounds", type=positive_int, default=3, help="large requests of each form")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="of the line without a large one")
    parser.add_argument("--forms", nargs="+", choices=[form.name for form in FORMS], help="some of the forms only")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
