"""Whatever a client sends, the protocol neither raises nor leaves a call behind."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from hotserve.api.grpc_framing import frame as framed
from hotserve.wires.grpc_http2 import GrpcLimits, GrpcWire
from hotserve.wires.http2_limits import Http2Limits
from support.grpc_wire import CHAT, COUNT, ECHO, FAIL, WAIT, TestServices
from support.http2 import START, data, frame, headers, parse, rst_stream, settings, window_update, with_value

LIMITS = GrpcLimits(
    max_message_bytes=1000,
    http2=Http2Limits(max_concurrent_streams=4, resets=10, idle_frames=20, max_header_list_bytes=600),
)


class Transport(asyncio.Transport):
    """Keeps what is written, and is full when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closing = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing
        assert data
        self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close


STREAMS = st.sampled_from([0, 1, 2, 3, 5, 7, 9, 11])
BODIES = st.sampled_from(
    [b"", framed(b"1", pack=False), framed(b"wait", pack=False), b"\1\0\0\0\1x", b"\0\0\0\xff\xff"]
)
CALLS = st.builds(
    lambda stream_id, path, timeout, more, end: headers(
        stream_id, [*with_value(":path", path), *([("grpc-timeout", timeout)] if timeout else []), *more], end=end
    ),
    STREAMS,
    st.sampled_from([ECHO, WAIT, FAIL, COUNT, CHAT, "/none"]),
    st.sampled_from(["", "", "1u", "5S", "x"]),
    st.sampled_from([[], [("grpc-encoding", "gzip")], [("content-length", "3")], [("x", "y" * 300)], [("X", "y")]]),
    st.booleans(),
)
FRAMES = st.one_of(
    CALLS,
    CALLS,
    st.builds(lambda stream_id, body, end: data(stream_id, body, end=end), STREAMS, BODIES, st.booleans()),
    st.builds(rst_stream, STREAMS),
    st.builds(window_update, STREAMS, st.sampled_from([0, 1, 1000, 2**31 - 1])),
    st.builds(lambda size: settings((4, size)), st.sampled_from([0, 3, 65535, 1 << 20])),
    st.builds(frame, st.integers(0, 10), st.integers(0, 255), STREAMS, st.binary(max_size=20)),
)
STEPS = st.one_of(FRAMES, FRAMES, FRAMES, st.sampled_from(["turn", "full", "room", "go on", "drain", "look"]))


@given(st.lists(STEPS, max_size=30))
def test_anything_may_come_in_any_order(steps: list[bytes | str]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        faults: list[dict[str, object]] = []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        services = TestServices()
        wire = GrpcWire(services, LIMITS, loop)
        protocol, transport = wire.protocol(), Transport()
        protocol.connection_made(transport)
        protocol.data_received(START)
        for step in steps:
            match step:
                case bytes():
                    if not transport.closing:
                        protocol.data_received(step)
                case "turn":
                    await asyncio.sleep(0)
                case "full":
                    protocol.pause_writing()
                case "room":
                    protocol.resume_writing()
                case "go on":
                    services.go_on()
                case "drain":
                    wire.begin_drain()
                case "look":
                    protocol.look(loop.time())
        protocol.resume_writing()
        for _ in range(5):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        for _ in range(10):
            await asyncio.sleep(0)
        parse(bytes(transport.written))
        assert faults == []
        assert wire.connections == 0
        assert services.waiting == 0
        assert not protocol._calls
        assert not protocol._senders
        assert not wire.deadlines._due
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
