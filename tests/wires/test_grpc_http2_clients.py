"""The clients that people have, against our own HTTP/2: grpcio, grpc-js, h2, nghttp2's, curl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, TrailersReceived

from hotserve.api.grpc_framing import frame
from hotserve.protos import messages
from hotserve.wires.grpc_http2 import GrpcLimits
from hotserve.wires.http2_limits import Http2Limits
from support.asgi_client import predict_call
from support.certificates import Authority
from support.grpc_wire import CHAT, COUNT, ECHO, FAIL, WAIT, RunningWire
from support.in_process import CHECK, PATIENCE, PREDICT, InProcess, adder
from support.server_process import wait_until

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def wire() -> Iterator[RunningWire]:
    """The services of hotserve with one model, `toy`, which adds one."""
    with InProcess({"toy": {1: adder(1)}}) as made, RunningWire(made.grpc_services) as running:
        yield running


def outputs(answer: bytes) -> list[float]:
    response = messages.PredictResponse.FromString(answer)
    tensor = response.outputs["y"]
    return list(tensor.float_val)


# grpcio.


def test_grpcio_predicts(wire: RunningWire) -> None:
    with grpc.insecure_channel(wire.target) as channel:
        predict = channel.unary_unary(PREDICT)
        for number in range(20):
            assert outputs(predict(predict_call("toy", x=[number]), timeout=PATIENCE)) == [number + 1]


def test_grpcio_sees_errors_with_their_texts(wire: RunningWire) -> None:
    with grpc.insecure_channel(wire.target) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(PREDICT)(predict_call("absent", x=[1.0]), timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert caught.value.details().startswith("Servable not found for request")


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
def test_grpcio_packs_and_unpacks(wire: RunningWire, compression: grpc.Compression) -> None:
    with grpc.insecure_channel(wire.target, compression=compression) as channel:
        answer = channel.unary_unary(PREDICT)(predict_call("toy", x=[1.0] * 5000), timeout=PATIENCE)
    assert outputs(answer) == [2.0] * 5000


def test_many_threads_share_a_channel(wire: RunningWire) -> None:
    with grpc.insecure_channel(wire.target) as channel, ThreadPoolExecutor(16) as pool:
        predict = channel.unary_unary(PREDICT)
        numbers = list(range(300))
        answers = pool.map(lambda x: outputs(predict(predict_call("toy", x=[x]), timeout=PATIENCE)), numbers)
        assert list(answers) == [[number + 1] for number in numbers]


def test_more_calls_at_once_than_allowed_wait_in_the_client() -> None:
    async def ask(target: str) -> list[bytes]:
        async with grpc.aio.insecure_channel(target) as channel:
            echo = channel.unary_unary(ECHO)
            return list(await asyncio.gather(*(echo(b"%d" % number, timeout=PATIENCE) for number in range(200))))

    with RunningWire(limits=GrpcLimits(http2=Http2Limits(max_concurrent_streams=5))) as running:
        assert asyncio.run(ask(running.target)) == [b"%d" % number for number in range(200)]


def test_grpc_aio_watches_health_and_reads_reflection(wire: RunningWire) -> None:
    async def look() -> tuple[int, list[str]]:
        async with grpc.aio.insecure_channel(wire.target) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="toy"))
            status = (await watch.read()).status
            watch.cancel()
            question = reflection_pb2.ServerReflectionRequest(list_services="")
            answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([question] * 3))
            found = [one.list_services_response async for one in answers]
            assert len(found) == 3
            return status, [service.name for service in found[0].service]

    status, services = asyncio.run(look())
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert "tensorflow.serving.PredictionService" in services


@pytest.mark.parametrize(
    "limits", [Http2Limits(), Http2Limits(stream_window_bytes=65535, connection_window_bytes=65535)]
)
def test_large_messages_go_both_ways(limits: Http2Limits) -> None:
    large = os.urandom(16 << 20)
    running = RunningWire(limits=GrpcLimits(http2=limits))
    with running, grpc.insecure_channel(running.target, options=UNLIMITED) as channel:
        calls = [channel.unary_unary(ECHO).future(large, timeout=PATIENCE) for _ in range(2)]
        assert all(call.result() == large for call in calls)
        (answer,) = channel.stream_stream(CHAT)(iter([large]), timeout=PATIENCE)
        assert answer == large


def test_a_message_over_the_limit_is_resource_exhausted() -> None:
    running = RunningWire(limits=GrpcLimits(max_message_bytes=1 << 20))
    with running, grpc.insecure_channel(running.target, options=UNLIMITED) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(ECHO)(bytes(30 << 20), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Received message larger than max (31457280 vs. 1048576)" in caught.value.details()
        assert channel.unary_unary(ECHO)(b"still here", timeout=PATIENCE) == b"still here"


def test_a_deadline_of_grpcio_cancels_its_call() -> None:
    with RunningWire() as running, grpc.insecure_channel(running.target) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(WAIT)(b"", timeout=0.05)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: running.services.cancelled == 1)


def test_metadata_that_changes_with_each_call_is_taken(wire: RunningWire) -> None:
    with grpc.insecure_channel(wire.target) as channel:
        for number in range(50):
            more = [("x-request-id", f"{number:032x}"), ("x-bin-bin", bytes([number])), ("x-long", "v" * number * 50)]
            channel.unary_unary(CHECK)(b"", metadata=more, timeout=10 + number)


def test_metadata_over_the_limit_is_refused_and_the_next_call_answered() -> None:
    running = RunningWire(limits=GrpcLimits(http2=Http2Limits(max_header_list_bytes=4000)))
    with running, grpc.insecure_channel(running.target) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(ECHO)(b"", metadata=[("x-long", "v" * 5000)], timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert channel.unary_unary(ECHO)(b"x", timeout=PATIENCE) == b"x"


def test_no_call_is_lost_when_the_server_stops_under_load() -> None:
    async def hammer(running: RunningWire) -> tuple[int, set[grpc.StatusCode]]:
        """Calls until the server is gone; what was answered, and how the others ended."""
        answered = 0
        enough = asyncio.Event()
        ends = set()
        message = bytes(20_000)

        async def client(channel: grpc.aio.Channel) -> None:
            nonlocal answered
            while True:
                try:
                    assert await channel.unary_unary(ECHO)(message, timeout=PATIENCE) == message
                    answered += 1
                    if answered == 300:
                        enough.set()
                except grpc.aio.AioRpcError as error:
                    ends.add((error.code(), error.details()))
                    return

        options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        channels = [grpc.aio.insecure_channel(running.target, options=options) for _ in range(4)]
        clients = [asyncio.ensure_future(client(channel)) for channel in channels for _ in range(8)]
        await asyncio.wait_for(enough.wait(), PATIENCE)
        await asyncio.to_thread(running.drain)
        await asyncio.wait_for(asyncio.gather(*clients), PATIENCE)
        await asyncio.gather(*(channel.close() for channel in channels))
        return answered, ends

    with RunningWire() as running:
        answered, ends = asyncio.run(hammer(running))
    assert answered >= 300
    # All that a client may see is that nobody listens any more.
    assert all(code == grpc.StatusCode.UNAVAILABLE and "refused" in text for code, text in ends), ends


# TLS and Unix sockets.


@pytest.mark.parametrize("alpn", [["h2"], ["h2", "http/1.1"], []])
def test_tls_carries_it(tmp_path: Path, alpn: list[str]) -> None:
    authority = Authority("test")
    paths = authority.sign().write(tmp_path / "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    if alpn:
        context.set_alpn_protocols(alpn)
    with RunningWire(tls=context) as running:
        if not alpn:  # only who does without it can connect
            client_context = ssl.create_default_context(cadata=authority.certificate)
            plain = socket.create_connection(("127.0.0.1", running.port))
            with client_context.wrap_socket(plain, server_hostname="localhost") as secured:
                assert exchange_h2(secured, b"secret", "https") == (b"secret", "0")
            return
        credentials = grpc.ssl_channel_credentials(authority.certificate.encode())
        target = f"localhost:{running.port}"
        with grpc.secure_channel(target, credentials, options=UNLIMITED) as channel:
            large = os.urandom(4 << 20)
            assert channel.unary_unary(ECHO)(large, timeout=PATIENCE) == large
            call = channel.unary_unary(WAIT).future(b"under way", timeout=PATIENCE)
            wait_until(lambda: running.services.waiting == 1)
            running.on_loop(running.wire.begin_drain)
            running.on_loop(running.services.go_on)
            assert call.result() == b"under way"
            assert running.run(running.wire.wait_idle(PATIENCE))


def test_unix_sockets_carry_it(tmp_path: Path) -> None:
    with RunningWire(unix=tmp_path / "socket") as running, grpc.insecure_channel(running.target) as channel:
        assert channel.unary_unary(ECHO)(b"near", timeout=PATIENCE) == b"near"


# h2, which keeps us to the rules from the other side.


def exchange_h2(connected: socket.socket, message: bytes, scheme: str = "http") -> tuple[bytes, str]:
    """One call with the h2 package, which checks all that it receives; message and status of the answer."""
    http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    http2.initiate_connection()
    fields = [(":method", "POST"), (":scheme", scheme), (":authority", "localhost"), (":path", ECHO)]
    http2.send_headers(1, [*fields, ("content-type", "application/grpc"), ("te", "trailers")])
    body = frame(message, pack=False)
    received, status = b"", ""
    sent = 0
    while True:
        while sent < len(body) and (room := min(http2.local_flow_control_window(1), http2.max_outbound_frame_size)):
            http2.send_data(1, body[sent : sent + room], end_stream=sent + room >= len(body))
            sent += room
        connected.sendall(http2.data_to_send())
        part = connected.recv(1 << 16)
        assert part, "the server has hung up"
        for event in http2.receive_data(part):
            match event:
                case ResponseReceived():
                    assert dict(event.headers)[":status"] == "200"
                case DataReceived():
                    received += event.data
                    http2.acknowledge_received_data(event.flow_controlled_length, 1)
                case TrailersReceived():
                    status = dict(event.headers)["grpc-status"]
                case StreamEnded():
                    return received[5:], status


@pytest.mark.parametrize("size", [0, 100, 16384, 1_000_000])
def test_h2_finds_no_fault_with_what_it_receives(size: int) -> None:
    message = os.urandom(size)
    with RunningWire() as running, socket.create_connection(("127.0.0.1", running.port)) as connected:
        assert exchange_h2(connected, message) == (message, "0")


# Programs.


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return found


def call_file(folder: Path, message: bytes) -> Path:
    path = folder / "body"
    path.write_bytes(frame(message, pack=False))
    return path


def test_curl_calls_it(tmp_path: Path) -> None:
    curl = tool("curl", "curl")
    with RunningWire() as running:
        words = [
            curl,
            "--silent",
            "--show-error",
            "--http2-prior-knowledge",
            "--dump-header",
            "-",
            "-H",
            "te: trailers",
        ]
        words += ["-H", "content-type: application/grpc", "--data-binary", f"@{call_file(tmp_path, b'hello')}"]
        done = subprocess.run(
            [*words, f"http://127.0.0.1:{running.port}{ECHO}"], capture_output=True, timeout=PATIENCE, check=True
        )
        assert b"HTTP/2 200" in done.stdout
        assert frame(b"hello", pack=False) in done.stdout
        assert b"grpc-status: 0" in done.stdout
        get = subprocess.run(
            [*words[:6], "-i", f"http://127.0.0.1:{running.port}/"], capture_output=True, timeout=PATIENCE, check=True
        )
        assert b"HTTP/2 405" in get.stdout


def test_nghttp_calls_it(tmp_path: Path) -> None:
    nghttp = tool("nghttp", "nghttp2-client")
    with RunningWire() as running:
        words = [nghttp, "--verbose", "--no-dep", "--header=te: trailers", "--header=content-type: application/grpc"]
        # A header table of no size at all: the server has to say that it knows.
        words += ["--header-table-size=0", f"--data={call_file(tmp_path, b'hello')}"]
        done = subprocess.run(
            [*words, f"http://127.0.0.1:{running.port}{ECHO}"], capture_output=True, timeout=PATIENCE, check=True
        )
        assert b"grpc-status: 0" in done.stdout
        assert b"PROTOCOL_ERROR" not in done.stdout
        assert b"COMPRESSION_ERROR" not in done.stdout


def test_h2load_gets_an_answer_to_every_call(tmp_path: Path) -> None:
    h2load = tool("h2load", "nghttp2-client")
    with RunningWire() as running:
        words = [h2load, "-n2000", "-c10", "-m10", f"-d{call_file(tmp_path, b'hello')}"]
        words += ["-Hcontent-type: application/grpc", "-Hte: trailers"]
        done = subprocess.run(
            [*words, f"http://127.0.0.1:{running.port}{ECHO}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
        assert "status codes: 2000 2xx" in done.stdout


GRPC_JS = """
const grpc = require('@grpc/grpc-js');
const same = (bytes) => bytes;
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const call = (path, text, options) => new Promise((resolve) => client.makeUnaryRequest(
  path, same, same, Buffer.from(text), new grpc.Metadata(), options || {},
  (error, answer) => resolve(error ? [error.code, error.details] : [0, answer.toString()])));
const all = (path, texts) => new Promise((resolve) => {
  const found = [];
  const stream = client.makeBidiStreamRequest(path, same, same);
  stream.on('data', (answer) => found.push(answer.toString()));
  stream.on('end', () => resolve(found));
  texts.forEach((text) => stream.write(Buffer.from(text)));
  stream.end();
});
(async () => {
  const results = [];
  results.push(await call('/test.Service/Echo', 'hello'));
  results.push(await Promise.all([...Array(100).keys()].map((n) => call('/test.Service/Echo', String(n)))));
  results.push(await call('/test.Service/Fail', 'refuse'));
  results.push((await call('/test.Service/Wait', '', {deadline: Date.now() + 50}))[0]);
  results.push((await call('/test.Service/Echo', 'x'.repeat(3000000)))[1].length);
  results.push(await all('/test.Service/Chat', ['a', 'b', 'c']));
  console.log(JSON.stringify(results));
  client.close();
})();
"""


def test_grpc_js_calls_it(tmp_path: Path) -> None:
    node = tool("node", "nodejs")
    places = [Path(place) for place in os.environ.get("NODE_PATH", "").split(":") if place]
    if not any((place / "@grpc" / "grpc-js").exists() for place in places):
        pytest.skip("@grpc/grpc-js is not installed in a folder of NODE_PATH (npm install @grpc/grpc-js)")
    script = tmp_path / "client.js"
    script.write_text(GRPC_JS)
    with RunningWire() as running:
        done = subprocess.run(
            [node, str(script), running.target], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 0, done.stderr
    hello, many, refused, deadline, length, chat = json.loads(done.stdout)
    assert hello == [0, "hello"]
    assert many == [[0, str(number)] for number in range(100)]
    assert refused == [3, "bad: ä % \n end "]
    assert (deadline, length, chat) == (4, 3_000_000, ["a", "b", "c"])


def test_grpcio_reads_a_long_stream(wire: RunningWire) -> None:
    with RunningWire() as running, grpc.insecure_channel(running.target) as channel:
        assert sum(len(part) for part in channel.unary_stream(COUNT)(b"500", timeout=PATIENCE)) == 500 * 10_000
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(FAIL)(b"refuse", timeout=PATIENCE)
        assert caught.value.details() == "bad: ä % \n end "
