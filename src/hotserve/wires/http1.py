"""HTTP/1.1 on a socket: an `asyncio.Protocol` that hands requests to the REST API and writes its answers.

One request of a connection is answered at a time; those that a client sends ahead wait in its buffer, and beyond a
bound in its socket. An answer that needs no waiting is written in the same turn of the loop that the request came in.

A client that closes its connection, or its half of it, while its request is being answered is taken to have left, as
nginx, Go and libevent take it: the request is cancelled. What is refused is answered first, and then what the client
still sends is dropped for a while, because a closed socket would take the answer away from a client that is sending.

Tasks and threads: everything runs on the event loop. A request that has to wait has a task (see `eager`), which ends
with its answer or is cancelled with its connection. One timer looks at all connections and ends with the last of them.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import math
import struct
import termios
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, Protocol, cast

from hotserve.api.codec_threads import LARGE_BYTES, CodecThreads
from hotserve.api.exchange import RestRequest, RestResponse
from hotserve.api.gathered import Road
from hotserve.api.rest_errors import error_response
from hotserve.errors import ServingError
from hotserve.open_files import OpenFiles
from hotserve.wires.eager import Pending, start
from hotserve.wires.http1_answers import CONTINUE, ENDS, KEPT, SMALL_ANSWER, STAYS, Answers, page, refusal
from hotserve.wires.http1_chunks import Chunks, Gathered, TooLarge
from hotserve.wires.http1_head import CHUNKED, HEAD_END, MAX_CACHED, Head, HeadCache, Refused, check_beginning
from hotserve.wires.http1_limits import Http1Limits
from hotserve.wires.sweep import Sweep
from hotserve.wires.turns import TURN_BYTES, Turns

logger = logging.getLogger(__name__)

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client that speaks HTTP/2 sends first. Source: RFC 9113, section 3.4."""

_LONGEST_INTERVAL = 0.5
_NEVER = math.inf


Known = tuple[bytes, Head, Road | None]
"""A head that has come before: its bytes, what it says, and where requests with it are handed in first."""


def no_road(method: str, target: str, headers: Mapping[str, str]) -> Road | None:
    """Where requests are handed in first if `Http1Wire` is told nothing: nowhere."""
    return None


class Api(Protocol):
    """What answers; `RestApi` does."""

    async def handle(self, request: RestRequest) -> RestResponse:
        """Answers a request."""
        ...

    def refuse_body(self, request: RestRequest) -> RestResponse:
        """Answers a request whose body is over the limit."""
        ...


class Http1Wire:
    """All HTTP/1.1 connections of a server; the factory that `loop.create_server` wants."""

    def __init__(
        self,
        api: Api,
        loop: asyncio.AbstractEventLoop,
        *,
        max_message_bytes: int,
        limits: Http1Limits | None = None,
        http2_factory: Callable[[], asyncio.Protocol] | None = None,
        codec_threads: CodecThreads | None = None,
        road_of: Callable[[str, str, Mapping[str, str]], Road | None] = no_road,
    ) -> None:
        """Makes the wire.

        Args:
            api: Answers requests.
            loop: The loop that connections are on.
            max_message_bytes: The largest body.
            limits: What else a client may send, and how long it may take.
            http2_factory: Makes the protocol that takes over a connection whose client speaks HTTP/2, as TLS has
                found out or the first bytes say. It gets `connection_made`, and `data_received` with all that has come.
            codec_threads: Put large bodies together; threads of its own without it.
            road_of: Says where requests with this method, target and headers are handed in before `api` is asked, if
                they come whole and by themselves.
        """
        self.api = api
        self.loop = loop
        self.max_message_bytes = max_message_bytes
        self.limits = limits or Http1Limits()
        self.http2_factory = http2_factory
        self.codec_threads = codec_threads or CodecThreads()
        self.heads = HeadCache(self.limits)
        self.usual: dict[bytes, Known] = {}
        """Heads that have come before."""
        self._road_of = road_of
        self.answers = Answers()
        self.turns = Turns(loop)
        self.open_files = OpenFiles()
        self.draining = False
        self._connections: set[Http1Connection] = set()
        self._changed: asyncio.Event | None = None
        seconds = [getattr(self.limits, each.name) for each in fields(self.limits) if each.name.endswith("_seconds")]
        interval = min(_LONGEST_INTERVAL, min(seconds) / 4)
        self.sweep = Sweep(loop, interval, self._turn)
        self.idle_deadline = self.limits.idle_seconds + interval
        """Of a connection without a request, from `sweep.now` on; `sweep.deadline` would be a call for each request."""

    def __call__(self) -> Http1Connection:
        """The protocol of a new connection."""
        return Http1Connection(self)

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    @property
    def busy(self) -> int:
        """How many connections have a request that is not answered yet, or an answer that is not sent yet."""
        return sum(connection.is_busy() for connection in self._connections)

    def bid_farewell(self) -> None:
        """Has every answer from here on say `Connection: close`, and its connection end.

        Idle connections stay, so that a busy client hears it, instead of losing the request that it is about to send.
        """
        self.draining = True

    def begin_drain(self) -> None:
        """Bids farewell and closes idle connections; what has arrived by now is answered."""
        self.bid_farewell()
        for connection in list(self._connections):
            connection.retire()

    async def wait_idle(self, timeout_seconds: float) -> bool:
        """Waits until no connection is busy.

        Args:
            timeout_seconds: How long.

        Returns:
            Whether that is so now.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.busy:
                    self._changed = asyncio.Event()
                    await self._changed.wait()
        except TimeoutError:
            return not self.busy
        return True

    def abort(self) -> None:
        """Cuts all connections off, and cancels their requests."""
        for connection in list(self._connections):
            connection.abort()

    def add(self, connection: Http1Connection) -> None:
        """Called by a connection that begins."""
        self._connections.add(connection)
        self.sweep.add(connection)

    def remove(self, connection: Http1Connection) -> None:
        """Called by a connection that has ended."""
        self._connections.discard(connection)
        self.sweep.discard(connection)
        self._notify()

    def look_up(self, raw: bytes) -> Known | None:
        """What is known of a head; None for one that has not come before."""
        head = self.heads.get(raw)
        if head is None:
            return None
        if len(self.usual) >= MAX_CACHED:
            self.usual.clear()
        known = self.usual[raw] = raw, head, self._road_of(head.method, head.target, head.headers)
        return known

    def _turn(self) -> None:
        self.answers.turn_second()
        self._notify()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class _State(Enum):
    READING = "the next request, or the rest of one"
    ANSWERING = "a request is with the API"
    WAITING = "requests wait: for the client to take answers, or for the turn of other connections"
    LINGERING = "refused; the rest is dropped"
    CLOSING = "the rest of the answer is being sent"
    CLOSED = "gone, or handed over"


_READING, _ANSWERING, _WAITING = _State.READING, _State.ANSWERING, _State.WAITING
_LINGERING, _CLOSING, _CLOSED = _State.LINGERING, _State.CLOSING, _State.CLOSED


class Http1Connection(asyncio.Protocol):
    """One connection.

    Attributes:
        deadline: When `expire` is called, in the time of the sweep.
    """

    __slots__ = (
        "_begun",
        "_body",
        "_body_before",
        "_data",
        "_fresh",
        "_head",
        "_known",
        "_later",
        "_lingered",
        "_looked_at",
        "_position",
        "_reading_paused",
        "_state",
        "_task",
        "_transport",
        "_turn",
        "_unsent",
        "_wire",
        "_writing_paused",
        "deadline",
    )

    def __init__(self, wire: Http1Wire) -> None:
        self._wire = wire
        self._state = _READING
        self._transport: asyncio.Transport
        self.deadline = _NEVER
        # What has come and is not read yet: `_data` from `_position` on, and then, if a request is being answered,
        # `_later`.
        self._data = b""
        self._position = 0
        self._later = bytearray()
        self._begun = False  # a head that is not whole has come, and its deadline is set
        self._looked_at = 0  # how much of it has been checked
        self._fresh = True  # the first bytes have not been looked at
        self._known: Known | None = None  # the head of the last usual request: the next one most often has the same
        self._head: Head | None = None  # whose body is being read, or whose request is being answered
        self._body: Gathered | Chunks | None = None
        self._body_before = 0  # its size when the deadline was set
        self._task: Pending | None = None
        self._turn = 0  # requests answered in this turn
        self._reading_paused = False
        self._writing_paused = False
        self._unsent = 0  # when the deadline was set
        self._lingered = 0

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not say that they are
        socket = transport.get_extra_info("socket")
        if socket is not None:
            self._wire.open_files.opened(socket.fileno())
        encryption = transport.get_extra_info("ssl_object")
        if encryption is not None and encryption.selected_alpn_protocol() == "h2" and self._wire.http2_factory:
            self._hand_over(self._wire.http2_factory, b"")
            return
        self._wire.add(self)
        self.deadline = self._wire.sweep.deadline(self._wire.limits.idle_seconds)

    def data_received(self, data: bytes) -> None:
        wire = self._wire
        turns, now = wire.turns, wire.loop.time()
        if now != turns.now:
            turns.read(now)
        if (turns.is_long or len(data) >= TURN_BYTES) and not self._reading_paused:
            turns.let_others_in(self._transport, self._read_on)
        state = self._state
        if state is _READING:
            self._turn = 0
            if self._usual(data):
                return
            if self._data:
                data = self._data[self._position :] + data
            self._consume(data, 0)
        elif state is _ANSWERING or state is _WAITING:
            self._later += data
            if len(self._later) > self._wire.limits.waiting_bytes and not self._reading_paused:
                self._reading_paused = True
                self._transport.pause_reading()
        elif state is _LINGERING:
            self._lingered += len(data)
            if self._lingered > self._wire.limits.linger_bytes:
                self.abort()

    def eof_received(self) -> bool:
        # The transport closes when this returns False, once it has sent what it has.
        if self._state in (_READING, _ANSWERING, _WAITING):
            self._drop_request()
            self._state = _CLOSING
            self._watch_sending()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_request()
        self._state = _CLOSED
        self.deadline = _NEVER
        self._wire.remove(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._resume()

    # What the wire calls.

    def is_busy(self) -> bool:
        """Whether there is a request that is not answered yet, or an answer that is not sent yet."""
        if self._state is _READING:
            return not self._is_idle() or self._transport.get_write_buffer_size() > 0
        return self._state in (_ANSWERING, _WAITING) or self._transport.get_write_buffer_size() > 0

    def retire(self) -> None:
        """Closes the connection if it is idle."""
        if self._state is _READING and self._is_idle():
            self._close()

    def abort(self) -> None:
        """Cuts the connection off."""
        self._transport.abort()

    def expire(self) -> None:
        """Called by the sweep: the deadline has passed."""
        wire = self._wire
        if self._state is _READING:
            if self._head is not None:
                assert self._body is not None
                if self._body_size() - self._body_before >= wire.limits.body_bytes:
                    self._watch_body()
                else:
                    self._refuse(Refused(408, "The body came too slowly. Send the request again."))
            elif self._data:
                self._refuse(Refused(408, "The headers came too slowly. Send the request again."))
            elif self._is_idle():
                self._close()
        elif self._state in (_WAITING, _CLOSING):
            if self._transport.get_write_buffer_size() < self._unsent:
                self._watch_sending()
            else:
                logger.debug("Cutting off a client that takes no answers")
                self.abort()
        elif self._state is _LINGERING:
            self.abort()

    # Reading.

    def _usual(self, data: bytes) -> bool:
        """Answers the usual request, one that comes whole and by itself and begins like an earlier one.

        `_consume` does the same for every request, in more steps.

        Returns:
            Whether it was one; if not, nothing has been done.
        """
        if self._data or self._head is not None:
            return False
        wire = self._wire
        known = self._known
        if known is None or not data.startswith(known[0]):
            raw = data[: data.find(HEAD_END) + 4]
            known = self._known = wire.usual.get(raw) or wire.look_up(raw)
            if known is None:
                return False
        raw, head, road = known
        end = len(raw)
        if end + head.length != len(data) or head.length > wire.max_message_bytes:
            return False
        self._fresh = False
        if road is not None:
            error = road.refusal(data, head.length, None)
            if error is not None:
                self._head = head
                self._state = _ANSWERING
                self.refuse(error)
                return True
        body = data[end:]
        if road is not None:
            self._head = head
            self._state = _ANSWERING
            self.deadline = _NEVER
            if road.take(body, self):
                return True
        self._answer(head, body)
        if self._state is _READING:
            self.deadline = wire.sweep.now + wire.idle_deadline
        return True

    def _consume(self, data: bytes, position: int) -> None:
        """Reads and answers what there is."""
        self._data, self._position = b"", 0
        try:
            while self._state is _READING:
                after = self._read_head(data, position) if self._head is None else self._read_body(data, position)
                if after != position:
                    position = after
                    continue
                if not self._later:
                    break
                data, position = data[position:] + self._later, 0
                self._later.clear()
                self._resume_reading()
        except Refused as refused:
            self._refuse(refused)
        except TooLarge:
            self._refuse_body()
        if self._state in (_LINGERING, _CLOSING, _CLOSED):
            return
        if position < len(data):
            self._data, self._position = data, position
        if self._state is _READING and self._head is None:
            self._watch_head(len(data) - position)

    def _read_head(self, data: bytes, position: int) -> int:
        """Reads a head, and the body if all of it is there; returns where it has ended."""
        wire = self._wire
        if self._fresh:
            if wire.http2_factory is not None and data and HTTP2_PREFACE.startswith(data[: len(HTTP2_PREFACE)]):
                if len(data) < len(HTTP2_PREFACE):
                    return position
                self._hand_over(wire.http2_factory, data)
                return len(data)
            self._fresh = not data
        end = data.find(HEAD_END, position)
        # An empty line before a request is not part of it. Source: RFC 9112, section 2.2.
        if data.startswith(b"\r", position):
            if data.startswith(b"\r\n", position):
                return position + 2
            if len(data) == position + 1:
                return position
        if end < 0:
            if position < len(data):
                beginning = data[position:]
                check_beginning(beginning, self._looked_at, wire.limits)
                self._looked_at = len(beginning)
            return position
        self._looked_at = 0
        end += 4
        raw = data[position:end]
        head = wire.heads.get(raw) or wire.heads.read(raw)
        length = head.length
        if not length:
            self._answer(head, b"")
            return end
        if length > wire.max_message_bytes:
            self._head = head
            raise TooLarge
        if 0 < length <= len(data) - end:
            self._answer(head, data[end : end + length])
            return end + length
        self._head = head
        self._begun = False
        self._body = Chunks(wire.max_message_bytes, wire.limits) if length == CHUNKED else Gathered()
        self._watch_body()
        if head.expects_continue and end == len(data) and not self._later:
            self._transport.write(CONTINUE)
        return end

    def _read_body(self, data: bytes, position: int) -> int:
        """Reads on in a body; returns where it has ended."""
        head, body = self._head, self._body
        assert head is not None
        assert body is not None
        if isinstance(body, Chunks):
            position = body.feed(data, position)
            if not body.finished:
                return position
            gathered = body.body
        else:
            after = min(len(data), position + head.length - body.size)
            body.add(data[position:after] if position or after < len(data) else data)
            position = after
            if body.size < head.length:
                return position
            gathered = body
        self._head = self._body = None
        self._answer(head, gathered if gathered.size >= LARGE_BYTES else gathered.whole())
        return position

    def _body_size(self) -> int:
        return self._body.body.size if isinstance(self._body, Chunks) else self._body.size if self._body else 0

    # Answering.

    async def _join_and_handle(self, head: Head, gathered: Gathered) -> RestResponse:
        body = await self._wire.codec_threads.run(gathered.whole)
        gathered.clear()
        return await self._wire.api.handle(RestRequest(head.method, head.target, head.headers, body))

    def _answer(self, head: Head, body: bytes | Gathered) -> None:
        self._head = head
        self._state = _ANSWERING
        self._begun = False
        self.deadline = _NEVER
        wire = self._wire
        if type(body) is bytes:
            work = wire.api.handle(RestRequest(head.method, head.target, head.headers, body))
        else:
            work = self._join_and_handle(head, cast(Gathered, body))
        self._task = start(work, wire.loop, self._answered)

    def _answered(self, response: RestResponse | None, error: BaseException | None) -> None:
        task, self._task = self._task, None
        head = self._head
        if self._state is not _ANSWERING or head is None:
            return  # the client has left
        self._head = None
        keep_alive = head.keep_alive and not self._wire.draining
        if response is None:
            if isinstance(error, asyncio.CancelledError):
                self.abort()
                return
            logger.error("%s %r failed", head.method, head.target, exc_info=error)
            response, keep_alive = page(500), False
        says = (KEPT if head.says_keep_alive else STAYS) if keep_alive else ENDS
        self._write(response, says, with_body=head.method != "HEAD")
        if not keep_alive:
            self._end()
            return
        self._turn += 1
        if self._writing_paused:
            self._state = _WAITING
            self._watch_sending()
        elif self._turn >= self._wire.limits.turn_requests:
            self._state = _WAITING
            self._wire.loop.call_soon(self._resume)
        else:
            self._state = _READING
            if task is not None:
                self._consume(self._data, self._position)

    # What a road calls.

    def answer(self, body: bytes) -> None:
        """See `Client.answer`."""
        head, wire = self._head, self._wire
        if self._state is not _ANSWERING or head is None:
            return  # the client has left
        if not wire.draining and head.is_plain and not self._later and not self._writing_paused:
            first = wire.answers.usual_heads.get(len(body)) or wire.answers.usual_head(len(body))
            if first is not None:
                self._head = None
                self._transport.write(first + body)
                self._state = _READING
                self.deadline = wire.sweep.now + wire.idle_deadline
                return
        self._answered(RestResponse(200, body), None)
        self._read_later()

    def refuse(self, error: ServingError) -> None:
        """See `Client.refuse`."""
        head, wire = self._head, self._wire
        if self._state is not _ANSWERING or head is None:
            return  # the client has left
        if not wire.draining and head.is_plain and not self._later and not self._writing_paused:
            self._head = None
            self._transport.write(wire.answers.failed(error))
            self._state = _READING
            self.deadline = wire.sweep.now + wire.idle_deadline
            return
        self._answered(error_response(error), None)
        self._read_later()

    def go_on(self, message: bytes, work: Callable[[RestRequest], Coroutine[Any, Any, RestResponse]]) -> None:
        """See `Client.go_on`."""
        head = self._head
        if self._state is not _ANSWERING or head is None:
            return  # the client has left
        request = RestRequest(head.method, head.target, head.headers, message)
        self._task = start(work(request), self._wire.loop, self._answered)
        self._read_later()

    def _read_later(self) -> None:
        """Goes on reading after an answer that came by a road."""
        if self._state is _READING:
            self._consume(self._data, self._position)

    def _resume(self) -> None:
        """Goes on with the requests that wait, if it is time."""
        if self._state is _WAITING and not self._writing_paused:
            self._turn = 0
            self._state = _READING
            self._consume(self._data, self._position)

    def _write(self, response: RestResponse, says: bytes, *, with_body: bool) -> None:
        answers = self._wire.answers
        is_large = len(response.body) > SMALL_ANSWER
        try:
            first = answers.whole(response, says) if with_body and not is_large else answers.head(response, says)
        except ValueError:
            logger.exception("An answer cannot be written")
            response, is_large = page(500), False
            first = answers.whole(response, says) if with_body else answers.head(response, says)
        if with_body and is_large:
            self._transport.writelines((first, response.body))
        else:
            self._transport.write(first)

    def _refuse(self, refused: Refused) -> None:
        logger.debug("Refusing a request with %d: %s", refused.status, refused.explanation)
        self._write(refusal(refused), ENDS, with_body=True)
        self._linger()

    def _refuse_body(self) -> None:
        head = self._head
        assert head is not None
        request = RestRequest(head.method, head.target, head.headers)
        logger.info("%s %r: the body is too large (%d bytes had come)", head.method, head.target, self._body_size())
        self._write(self._wire.api.refuse_body(request), ENDS, with_body=head.method != "HEAD")
        self._linger()

    # The end.

    def _end(self) -> None:
        """Ends the connection after its last answer."""
        if self._position < len(self._data) or self._later or self._unread():
            self._linger()
        else:
            self._close()

    def _close(self) -> None:
        self._forget()
        self._state = _CLOSING
        self._watch_sending()
        self._transport.close()

    def _linger(self) -> None:
        """Lets the client read the answer before the connection ends, whatever else it sends."""
        self._forget()
        self._state = _LINGERING
        self.deadline = self._wire.sweep.deadline(self._wire.limits.linger_seconds)
        if self._transport.is_closing():
            return  # a failure of the socket has been faster
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._resume_reading()

    def _drop_request(self) -> None:
        """The client has left: nobody waits for the answer."""
        self._forget()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _forget(self) -> None:
        self._data, self._position = b"", 0
        self._later = bytearray()
        self._head = self._body = None

    def _hand_over(self, factory: Callable[[], asyncio.Protocol], data: bytes) -> None:
        self._state = _CLOSED
        self.deadline = _NEVER
        self._wire.remove(self)
        protocol = factory()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if data:
            protocol.data_received(data)

    # Watching.

    def _is_idle(self) -> bool:
        """Whether no part of a request has come, not even to the system's side of the socket."""
        return self._head is None and not self._data and not self._unread()

    def _unread(self) -> int:
        socket = self._transport.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            return 0
        count: int = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.FIONREAD, bytes(4)))[0]
        return count

    def _watch_head(self, beginning: int) -> None:
        wire = self._wire
        if not beginning:
            self._begun = False
            self.deadline = wire.sweep.deadline(wire.limits.idle_seconds)
        elif not self._begun:
            self._begun = True
            self.deadline = wire.sweep.deadline(wire.limits.head_seconds)

    def _watch_body(self) -> None:
        self._body_before = self._body_size()
        self.deadline = self._wire.sweep.deadline(self._wire.limits.body_seconds)

    def _watch_sending(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self._wire.sweep.deadline(self._wire.limits.write_seconds)

    def _read_on(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()
