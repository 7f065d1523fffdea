"""gRPC over HTTP/2 on asyncio: each connection is a protocol, and `GrpcWire` has what they share.

Answers that come without waiting leave in the turn of the loop in which their requests came, all of one connection in
one write. Two kinds of timers run: one for the deadlines of all calls, and one that looks at every connection once a
second, at some of them each time, for as long as there are any.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from math import ceil
from typing import cast

from hotserve.api.codec_threads import LARGE_BYTES, CodecThreads
from hotserve.api.grpc_framing import PREFIX_BYTES
from hotserve.errors import DeadlineExceeded, ResourceExhausted
from hotserve.wires.deadlines import Deadlines
from hotserve.wires.grpc_call import Call, Services
from hotserve.wires.grpc_growing_call import GrowingCall
from hotserve.wires.grpc_heads import CallHead, ErrorAnswers, Refusal, error_answer, read_head
from hotserve.wires.http2_calls import WholeCall
from hotserve.wires.http2_connection import Http2Connection, Refused
from hotserve.wires.http2_events import (
    ConnectionFailed,
    DataReceived,
    Event,
    HeaderTooLarge,
    PingAnswered,
    RequestReceived,
    StreamReset,
)
from hotserve.wires.http2_headers import RequestHead
from hotserve.wires.http2_known_blocks import KnownBlocks
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.turns import TURN_BYTES, Turns

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""How often each connection is looked at."""

_LOOKS_AT_ONCE = 128
"""At how many connections at a time: that takes less than a millisecond, and calls wait meanwhile."""

_WRITE_BYTES = 1 << 18
"""How much is handed to the transport at once, and may wait there."""

_LITTLE_BYTES = 1 << 16
"""A call that streams goes on once no more than this waits to be sent."""

_NEWS_SECONDS = 1.0
"""How long a client that is told of the end gets to say that it knows, so that none of its requests is lost."""

_FAREWELL_SECONDS = 1.0
"""How long a client gets to close a connection that has ended; closing under it could destroy what it has not read."""

_FAREWELL_BYTES = 1 << 20
"""What a client may send meanwhile, to be thrown away."""

_END_PING, _LIFE_PING = b"hs-ends.", b"hs-lives"


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """What clients may do.

    Attributes:
        max_message_bytes: The largest message, also after unpacking.
        http2: What one connection may ask for.
        handshake_seconds: How long the first frame may take; 0 for as long as it takes.
        idle_seconds: How long a connection may be without a call; 0 for as long as the client wants.
        stall_seconds: How long a client may take nothing of an answer that waits for it, or send nothing of a request
            that has begun; 0 for as long as it likes.
        keepalive_seconds: After how long without a byte a client is asked whether it is still there; 0 for never.
        keepalive_timeout_seconds: How long it has to answer that.
    """

    max_message_bytes: int = (1 << 31) - 1
    http2: Http2Limits = field(default_factory=Http2Limits)
    handshake_seconds: float = 10.0
    idle_seconds: float = 0.0
    stall_seconds: float = 60.0
    keepalive_seconds: float = 7200.0
    keepalive_timeout_seconds: float = 20.0


class GrpcWire:
    """All connections of one endpoint, or of several that are secured alike. All of it belongs to one loop."""

    def __init__(
        self,
        services: Services,
        limits: GrpcLimits,
        loop: asyncio.AbstractEventLoop,
        codec_threads: CodecThreads | None = None,
    ) -> None:
        """Starts without a connection.

        Args:
            services: Answers calls.
            limits: What clients may do.
            loop: The loop that it is used on.
            codec_threads: Put large messages together, and unpack and pack them; threads of its own without it.
        """
        self.services = services
        self.limits = limits
        self.loop = loop
        self.codec_threads = codec_threads or CodecThreads()
        self.deadlines = Deadlines(loop)
        self.turns = Turns(loop)
        self.error_answers = ErrorAnswers()
        self.blocks: KnownBlocks[RequestHead] = KnownBlocks()
        # What is larger is put together on a thread.
        self.largest_whole = min(limits.max_message_bytes, LARGE_BYTES - PREFIX_BYTES - 1)
        self.draining = False
        self._connections: dict[GrpcConnection, None] = {}
        self._to_look_at: list[GrpcConnection] = []  # before all of them have been looked at again
        self._look_seconds = _LOOK_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._none_left = asyncio.Event()
        self._none_left.set()

    def protocol(self) -> GrpcConnection:
        """A protocol for one connection, as `loop.create_server` wants it.

        Where the first bytes had to be read to know that they are HTTP/2:
        `transport.set_protocol(protocol)`, `protocol.connection_made(transport)`, `protocol.data_received(first)`.
        """
        return GrpcConnection(self)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def begin_drain(self) -> None:
        """Tells all clients that their connections end. Calls that they have made, or are making, are answered."""
        self.draining = True
        for connection in tuple(self._connections):
            connection.begin_drain()

    async def wait_idle(self, timeout_seconds: float) -> bool:
        """Waits until there is no connection left.

        Args:
            timeout_seconds: How long.

        Returns:
            Whether that is so now.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._none_left.wait()
        return not self._connections

    def abort(self) -> None:
        """Cuts all connections off, whatever goes on."""
        for connection in tuple(self._connections):
            connection.abort()

    # For the connections.

    def opened(self, connection: GrpcConnection) -> None:
        """A connection is there."""
        self._connections[connection] = None
        self._none_left.clear()
        if self._timer is None:
            self._timer = self.loop.call_later(_LOOK_SECONDS, self._look)

    def closed(self, connection: GrpcConnection) -> None:
        """A connection is gone."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._none_left.set()
            self._to_look_at.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _look(self) -> None:
        to_look_at = self._to_look_at
        if not to_look_at:
            to_look_at += self._connections
            self._look_seconds = _LOOK_SECONDS / max(1, ceil(len(to_look_at) / _LOOKS_AT_ONCE))
        self._timer = self.loop.call_later(self._look_seconds, self._look)
        now = self.loop.time()
        part = to_look_at[-_LOOKS_AT_ONCE:]
        del to_look_at[-_LOOKS_AT_ONCE:]
        for connection in part:
            if connection in self._connections:
                connection.look(now)


class GrpcConnection(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_asked_at",
        "_busy_at",
        "_calls",
        "_ending",
        "_farewell",
        "_full",
        "_limits",
        "_moved",
        "_moved_at",
        "_new_deadlines",
        "_now",
        "_reading",
        "_received_at",
        "_refused_head",
        "_senders",
        "_sending",
        "_thrown_away",
        "_transport",
        "_turns",
        "_wire",
        "codec_threads",
        "error_answers",
        "http2",
        "loop",
        "max_message_bytes",
        "services",
    )

    def __init__(self, wire: GrpcWire) -> None:
        self.services = wire.services
        self.max_message_bytes = wire.limits.max_message_bytes
        self.loop = wire.loop
        self.codec_threads = wire.codec_threads
        self.error_answers = wire.error_answers
        self.http2 = Http2Connection(wire.limits.http2, wire.largest_whole, wire.blocks)
        self._wire = wire
        self._turns = wire.turns
        self._limits = wire.limits
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, Call] = {}
        self._new_deadlines: list[Call] = []
        self._refused_head: RequestHead | None = None  # of the last call that was refused
        self._senders: dict[int, asyncio.Future[None]] = {}
        self._now = 0.0
        self._reading = False
        self._sending = False
        self._full = False
        self._ending = False  # GOAWAY has been announced
        self._farewell: asyncio.TimerHandle | None = None
        self._thrown_away = 0
        # What the timer looks at.
        self._received_at = self._busy_at = self._moved_at = 0.0
        self._moved: tuple[int, int] = (0, 0)
        self._asked_at: float | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not say that they are
        self._transport.set_write_buffer_limits(_WRITE_BYTES)
        self._now = self._received_at = self._busy_at = self._moved_at = self.loop.time()
        self._wire.opened(self)
        if self._wire.draining:
            self.begin_drain()
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None:
            self._throw_away(len(data))
            return
        self._now = self._received_at = now = self.loop.time()
        turns = self._turns
        if now != turns.now:
            turns.read(now)
        if (turns.is_long or len(data) >= TURN_BYTES) and self._transport is not None:
            turns.let_others_in(self._transport, self._read_on)
        self._asked_at = None
        self._reading = True
        try:
            http2 = self.http2
            refused = None if self._refused_head is None else self._refused()
            self._take(http2.receive(data, self._now, refused))
            while http2.is_held:
                if not http2.has_room:
                    self._send()  # what has been answered makes room once it has left
                self._take(http2.go_on(self._now, self._refused()))
            if self._new_deadlines:
                self._watch_deadlines()
        finally:
            self._reading = False
        if self._ending or self.http2.has_output:
            self._send()

    def _take(self, events: list[Event | WholeCall]) -> None:
        """Does what has come; calls that were refused meanwhile are counted."""
        http2, calls = self.http2, self._calls
        given_up = http2.given_up
        if http2.refused_calls:
            self._count_refused()
        for event in events:
            if type(event) is tuple:
                stream_id, head, message, _ = event
                self._busy_at = self._now
                if given_up and stream_id in given_up:
                    continue  # in the breath in which it was made
                said: CallHead = head.note
                road = said.road
                if road is not None:
                    error = road.refusal(message, len(message), said.timeout_seconds)
                    if error is not None:
                        http2.fail_call(stream_id, self.error_answers.block(error))
                        self._refused_head = head
                        continue
                call = calls[stream_id] = Call(self, stream_id, said, self._now)
                call.perform(message)
                if call.pending is not None:
                    if call.deadline is not None:
                        self._new_deadlines.append(call)
                elif call.is_over:
                    calls.pop(stream_id, None)
            else:
                self._handle(cast(Event, event))

    def _refused(self) -> Refused | None:
        """Calls like the last one that was refused, as long as all of them are: they need not be looked at."""
        head = self._refused_head
        if head is None:
            return None
        said: CallHead = head.note
        standing = None if said.road is None else said.road.standing_refusal(said.timeout_seconds)
        if standing is None:
            self._refused_head = None
            return None
        return head, standing[0], self.error_answers.block(standing[1])

    def _count_refused(self) -> None:
        self._busy_at = self._now
        head = self._refused_head
        assert head is not None  # nobody else's calls are refused there
        said: CallHead = head.note
        assert said.road is not None
        said.road.count_refused(*self.http2.take_refused())

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._farewell is not None:
            self._farewell.cancel()
        self._cancel_all()
        self.http2.close()
        self._wire.closed(self)

    # Events.

    def _handle(self, event: Event) -> None:
        match event:
            case DataReceived():
                call = self._calls.get(event.stream_id)
                if isinstance(call, GrowingCall):
                    call.feed(event.data, event.ended, self._now)
                else:
                    self.http2.take(event.stream_id, len(event.data))
            case RequestReceived():
                self._request(event)
            case StreamReset():
                call = self._calls.get(event.stream_id)
                if call is None:
                    self.http2.release(event.stream_id)
                else:
                    call.cancel()
            case HeaderTooLarge():
                limit = self._limits.http2.max_header_list_bytes
                text = f"Received metadata larger than the limit ({event.size} vs. {limit})."
                self.http2.finish(event.stream_id, error_answer(ResourceExhausted(text)))
            case PingAnswered():
                if event.payload == _END_PING:
                    self._stop_taking()
            case ConnectionFailed():
                logger.debug("A client has broken HTTP/2: %s (%s)", event.reason, event.code.name)
                self._cancel_all()

    def _request(self, event: RequestReceived) -> None:
        meaning = event.head.note
        if meaning is None:
            meaning = event.head.note = read_head(event.head)
        if isinstance(meaning, Refusal):
            self.http2.answer(event.stream_id, meaning.header, (meaning.body,), b"")
            return
        head = cast(CallHead, meaning)
        head.road = self.services.roads.get(head.path)
        if head.error is not None:
            self.http2.finish(event.stream_id, error_answer(head.error))
            return
        services = self.services
        event.head.takes_whole = not (
            head.pack or head.path in services.streaming or head.path in services.bidirectional
        )
        call = self._calls[event.stream_id] = GrowingCall(self, event.stream_id, head, self._now)
        if call.deadline is not None:
            self._new_deadlines.append(call)
        call.begin()
        if event.ended:
            call.feed(b"", True, self._now)

    def _watch_deadlines(self) -> None:
        """Most calls have been answered by now."""
        for call in self._new_deadlines:
            if call.stream_id in self._calls:
                assert call.deadline is not None
                call.deadline_tick = self._wire.deadlines.add(call, call.deadline)
        self._new_deadlines.clear()

    def _cancel_all(self) -> None:
        for future in self._senders.values():
            future.cancel()
        for call in tuple(self._calls.values()):
            call.cancel()

    # For calls.

    def call_ended(self, call: Call) -> None:
        """No work goes on for this call any more."""
        if self._calls.pop(call.stream_id, None) is None:
            return
        if call.deadline_tick is not None:
            self._wire.deadlines.discard(call, call.deadline_tick)
        if self.http2.given_up:
            self.http2.release(call.stream_id)
        self._busy_at = self._now
        if self._calls:
            self.send_soon()
        elif not (self._reading or self._sending):
            self._send()  # nothing else can come in this turn that could go with it

    def call_waits(self, call: Call) -> None:
        """A call that had gathered with others has to wait for its answer after all."""
        if call.deadline is not None and call.deadline_tick is None and call not in self._new_deadlines:
            call.deadline_tick = self._wire.deadlines.add(call, call.deadline)

    def send_soon(self) -> None:
        """Sends what there is at the end of this turn of the loop, or of what is being read."""
        if not (self._reading or self._sending):
            self._sending = True
            self.loop.call_soon(self._send)

    async def wait_sent(self, stream_id: int) -> None:
        """Waits until little of an answer is left to be sent."""
        if self.http2.waiting_bytes(stream_id) > _LITTLE_BYTES:
            future = self._senders[stream_id] = self.loop.create_future()
            try:
                await future
            finally:
                del self._senders[stream_id]

    # Sending.

    def _send(self) -> None:
        self._sending = False
        transport = self._transport
        if transport is None or self._farewell is not None or transport.is_closing():
            return
        http2 = self.http2
        while not self._full:
            data = http2.take_output(_WRITE_BYTES)
            if data:
                transport.write(data)
            if len(data) < _WRITE_BYTES:
                break
        if self._senders:
            for stream_id, future in self._senders.items():
                if http2.waiting_bytes(stream_id) <= _LITTLE_BYTES and not future.done():
                    future.set_result(None)
        if http2.failed or (self._ending and http2.is_ended and not self._calls):
            self._say_farewell()

    # Ends.

    def begin_drain(self) -> None:
        """Tells the client that the connection ends; all calls that it makes until it knows are answered."""
        if self._ending:
            return
        self._ending = True
        self.http2.announce_end(_END_PING)
        self.loop.call_later(_NEWS_SECONDS, self._stop_taking)
        self.send_soon()

    def abort(self) -> None:
        """Cuts the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def _stop_taking(self) -> None:
        if self._ending:
            self.http2.end()
            self.send_soon()

    def _say_farewell(self) -> None:
        """Closes the connection once the client has had the time to read what was sent."""
        transport = self._transport
        if transport is None or self._full:
            return
        self._farewell = self.loop.call_later(_FAREWELL_SECONDS, self._part)
        if transport.can_write_eof():
            transport.write_eof()
        else:  # TLS says itself that there is no more
            transport.close()

    def _part(self) -> None:
        """Closes the connection, unless there still is something on its way."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._farewell = self.loop.call_later(_FAREWELL_SECONDS, self._part)
        else:
            self._transport.abort()

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > _FAREWELL_BYTES:
            self.abort()

    # The timer.

    def look(self, now: float) -> None:
        """Looks whether the client has kept the connection waiting for too long."""
        limits = self._limits
        if self._is_stalled(now):
            logger.debug("Cutting off a client that takes no answers")
            self.abort()
        elif self._farewell is not None:
            pass
        elif self._is_silent(now) or (not self.http2.settled and _over(limits.handshake_seconds, self._busy_at, now)):
            logger.debug("Cutting off a client that says nothing")
            self.abort()
        elif not self._calls and not self.http2.open_streams and _over(limits.idle_seconds, self._busy_at, now):
            self.begin_drain()
        else:
            for call in tuple(self._calls.values()):
                since = call.waits_since
                if since is not None and _over(limits.stall_seconds, since, now):
                    call.fail(DeadlineExceeded(_NEVER_WHOLE))

    def _is_stalled(self, now: float) -> bool:
        """Whether an answer has waited too long for its client to take some of it."""
        buffered = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if not (self._full or buffered or self.http2.is_stalled):
            self._moved_at = now
            return False
        moved = (self.http2.data_sent, buffered)
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        return _over(self._limits.stall_seconds, self._moved_at, now)

    def _is_silent(self, now: float) -> bool:
        """Asks a client that has said nothing for long; whether it has not answered that."""
        if self._asked_at is not None:
            return _over(self._limits.keepalive_timeout_seconds, self._asked_at, now)
        if _over(self._limits.keepalive_seconds, self._received_at, now) and self.http2.settled:
            self._asked_at = now
            self.http2.ping(_LIFE_PING)
            self.send_soon()
        return False


_NEVER_WHOLE = "Deadline exceeded: the request has begun, and nothing more of it has come for too long."


def _over(seconds: float, since: float, now: float) -> bool:
    return 0 < seconds < now - since
