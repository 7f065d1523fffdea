"""An HTTP/1.1 server that answers each request as a test has it: also badly, or not at all."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType

HANG_UP = b""
"""In place of an answer: the connection is closed."""

SILENCE = None
"""In place of an answer: nothing is sent, ever."""

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """The bytes of an answer."""
    more = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


class ScriptedServer:
    """Listens on 127.0.0.1; a context manager.

    Attributes:
        port: Where.
        requests: What has come, heads and bodies.
        connections: How many connections were taken.
    """

    def __init__(self, script: Callable[[int], bytes | None]) -> None:
        """Makes a server.

        Args:
            script: Says what is sent for request number 0, 1, ...
        """
        self._script = script
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[bytes] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ScriptedServer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_listening()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def stop_listening(self) -> None:
        """Takes no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                with self._lock:
                    self.connections += 1
                    self._open.append(connection)
                    self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            received = b""
            while True:
                while (whole := _whole_request(received)) is None:
                    data = connection.recv(65536)
                    if not data:
                        return
                    received += data
                request, received = received[:whole], received[whole:]
                with self._lock:
                    number = len(self.requests)
                    self.requests.append(request)
                said = self._script(number)
                if said == HANG_UP:
                    return
                if said is not None:
                    connection.sendall(said)


def _whole_request(received: bytes) -> int | None:
    head = received.find(b"\r\n\r\n")
    if head < 0:
        return None
    length = _LENGTH.search(received, 0, head)
    end = head + 4 + (int(length[1]) if length else 0)
    return end if len(received) >= end else None
