"""One connection of the load: a socket that never blocks, and the client that speaks on it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from hotserve.loadgen.address import Address
from hotserve.loadgen.exchange import Answer, BrokenAnswer, Client, Request

_SMALL_READ: Final = 16 << 10
_LARGE_READ: Final = 256 << 10

_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_UNDER_WAY: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class ConnectionLost(Exception):
    """The connection is of no use any more; says why."""


class Connection:
    """A connection with at most one request under way.

    Attributes:
        is_ready: Whether requests can be sent.
        is_writing: Whether to wait for room to write, or for something to read, before `advance` is called again.
        sent_bytes: What was sent, without TLS around it.
        received_bytes: What was received, without TLS around it.
    """

    __slots__ = (
        "_client",
        "_context",
        "_is_connected",
        "_is_open",
        "_receive",
        "_recv",
        "_request",
        "_send",
        "_server_name",
        "_socket",
        "_unsent",
        "is_ready",
        "is_writing",
        "received_bytes",
        "sent_bytes",
    )

    def __init__(self, client: Client, address: Address, context: ssl.SSLContext | None, server_name: str) -> None:
        """Begins to connect.

        Args:
            client: What speaks on it; one that nobody has used.
            address: Where to.
            context: How TLS is spoken; None for not at all.
            server_name: Whose certificate is expected.

        Raises:
            ConnectionLost: It is refused at once.
        """
        self._client = client
        self._request = client.request
        self._receive = client.receive
        self._context = context
        self._server_name = server_name
        self._unsent: bytes | memoryview = b""
        self.is_ready = False
        self.is_writing = True
        self.sent_bytes = self.received_bytes = 0
        self._is_connected = self._is_open = False
        try:
            self._socket = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:  # too many open files
            raise ConnectionLost(_reason(error)) from error
        self._socket.setblocking(False)
        if address.family is not socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send, self._recv = self._socket.send, self._socket.recv
        try:
            number = self._socket.connect_ex(address.where)
        except OSError as error:  # a path that is too long for a Unix socket
            self.close()
            raise ConnectionLost(_reason(error)) from error
        if number not in _UNDER_WAY:
            self.close()
            raise ConnectionLost(os.strerror(number))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Hangs up."""
        self.is_ready = False
        self._socket.close()

    def begin(self, request: Request) -> None:
        """Sends a request, as far as the socket takes it now.

        Raises:
            ConnectionLost: It cannot be sent.
        """
        self._write(self._request(request))

    def repeated(self, requests: Sequence[Request]) -> Sequence[bytes] | None:
        """As of `Client`; None also with TLS, which has to be spoken here."""
        return None if self._context is not None else self._client.repeated(requests)

    def hand_over(self) -> Client:
        """Has somebody else read from the socket and write to it from now on; returns what has spoken on it so far."""
        return self._client

    def advance(self) -> Answer | None:
        """Does what can be done now that the socket is ready; returns an answer that has become whole.

        Raises:
            ConnectionLost: The server has hung up, or has sent what is no answer.
        """
        if self._is_open:
            if self._unsent:
                self._write(b"")
            return self._read()
        if not self._is_connected:
            self._finish_connecting()
        if isinstance(self._socket, ssl.SSLSocket) and not self._shake_hands(self._socket):
            return None
        self._is_open = True
        self._write(self._client.opening())
        self.is_ready = self._client.is_settled
        return None

    def _finish_connecting(self) -> None:
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise ConnectionLost(os.strerror(number))
        self._is_connected = True
        if self._context is not None:
            secured = self._context.wrap_socket(
                self._socket, server_hostname=self._server_name, do_handshake_on_connect=False
            )
            self._socket, self._send, self._recv = secured, secured.send, secured.recv

    def _shake_hands(self, secured: ssl.SSLSocket) -> bool:
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            self.is_writing = False
            return False
        except ssl.SSLWantWriteError:
            self.is_writing = True
            return False
        except OSError as error:
            raise ConnectionLost(_reason(error)) from error
        return True

    def _read(self) -> Answer | None:
        try:
            data = self._recv(_SMALL_READ)
        except _WOULD_BLOCK:
            return None
        except OSError as error:
            raise ConnectionLost(_reason(error)) from error
        try:
            answer = self._take(data)
            # A read that was not filled has taken all there is. TLS may have decrypted more than was asked for.
            while data and (len(data) == _LARGE_READ or len(data) == _SMALL_READ or self._context is not None):
                try:
                    data = self._recv(_LARGE_READ)
                except _WOULD_BLOCK:
                    break
                answer = self._take(data) or answer
        except BrokenAnswer as error:
            raise ConnectionLost(str(error)) from error
        except OSError as error:
            raise ConnectionLost(_reason(error)) from error
        return answer

    def _take(self, data: bytes) -> Answer | None:
        """Has the client read what has come; nothing is the end of the connection."""
        if not data:
            answer = self._client.end()
            if answer is not None:
                answer.ends_connection = True
            return answer
        self.received_bytes += len(data)
        answer = self._receive(data)
        if self._client.has_reply:
            self._write(self._client.reply())
            self.is_ready = self._client.is_settled
        return answer

    def _write(self, data: bytes | memoryview) -> None:
        if self._unsent:
            data = b"".join((self._unsent, data)) if data else self._unsent
        if not data:
            self.is_writing = False
            return
        try:
            sent = self._send(data)
        except _WOULD_BLOCK:
            sent = 0
        except OSError as error:
            raise ConnectionLost(_reason(error)) from error
        self.sent_bytes += sent
        if sent == len(data):
            self._unsent = b""
            self.is_writing = False
        else:
            self._unsent = memoryview(data)[sent:]
            self.is_writing = True


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return error.strerror or str(error)
