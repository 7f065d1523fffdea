"""The head of an HTTP/1.1 request: its first line and its headers, read strictly.

Whatever two programs could read in two ways is refused: it is how requests are smuggled past a proxy. In two points
more is taken than the RFC allows, as by TensorFlow Serving: a request without `Host`, and bytes from 0x80 on in a path.

Clients repeat themselves: on a connection that is kept alive, one head is like the other, byte for byte. `HeadCache`
keeps what was read; looking it up costs a tenth of reading it again.

Source: RFC 9112, sections 2 to 6; RFC 9110, sections 5 and 10.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hotserve.wires.http1_limits import Http1Limits

HEAD_END = b"\r\n\r\n"

METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""What reaches the API. Source: the methods that TensorFlow Serving lets libevent pass on."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]"
_HEAD = re.compile(
    rb"(" + _TOKEN + rb"++) ([\x21-\x7e\x80-\xff]++) HTTP/([0-9])\.([0-9])\r\n"
    rb"((?:" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n)*+)\r\n"
)
_FIRST = re.compile(_TOKEN)
_BARE_LINE_END = re.compile(rb"(?<!\r)\n")
_FIELD = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
_ABOUT_THE_MESSAGE = re.compile(
    rb"(?:^|\n)(content-length|transfer-encoding|connection|expect|host):[ \t]*+([^\r]*+)", re.IGNORECASE
)
_ABSOLUTE = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]+")

_UNREADABLE = (
    "The request is not HTTP/1.1: expected a line such as 'GET /v1/models/my_model HTTP/1.1' and headers such as"
    " 'Content-Type: application/json', each ended by a carriage return and a line feed, and an empty line after them."
)

CHUNKED = -1
"""The length of a body that says itself where it ends."""

_HUGE = 10**18
"""Stands for every length from here on: beyond any limit, and quick to compare."""

MAX_CACHED = 512
"""How many heads are remembered."""

_MAX_CACHED_BYTES = 2048


class Refused(Exception):  # an answer rather than a fault
    """The request gets an answer from the wire itself, and then the connection ends.

    Attributes:
        status: The HTTP status.
        explanation: What was expected, what came, what to do; None for the bare page that libevent has for the status.
    """

    def __init__(self, status: int, explanation: str | None) -> None:
        super().__init__(status, explanation)
        self.status = status
        self.explanation = explanation


class Headers(Mapping[str, str]):
    """Lower-case name -> value, the last one of a name; read when somebody asks, as most requests are never asked."""

    __slots__ = ("_fields", "_raw")

    def __init__(self, raw: bytes) -> None:
        """Takes the lines between the first one and the empty one, each with its end."""
        self._raw = raw
        self._fields: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, name: object) -> bool:
        return name in self._read()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return self._read().get(name, default)

    def _read(self) -> dict[str, str]:
        if self._fields is None:
            self._fields = {
                name.decode("ascii").lower(): value.rstrip(b" \t").decode("latin-1")
                for name, value in _FIELD.findall(self._raw)
            }
        return self._fields


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says.

    Attributes:
        method: One of `METHODS`.
        target: Path and query, still percent-encoded; `*` for OPTIONS of everything.
        headers: All of them.
        length: The bytes of the body, or `CHUNKED`.
        keep_alive: Whether the client wants the connection to stay.
        says_keep_alive: Whether the answer has to say so, because HTTP/1.0 does not imply it.
        expects_continue: Whether the client waits for `100 Continue` before it sends the body.
        is_plain: Whether the answer need not say anything of the connection, which stays, and has a body.
    """

    method: str
    target: str
    headers: Headers
    length: int
    keep_alive: bool
    says_keep_alive: bool
    expects_continue: bool
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        is_plain = self.keep_alive and not self.says_keep_alive and self.method != "HEAD"
        object.__setattr__(self, "is_plain", is_plain)


def check_beginning(beginning: bytes, looked_at: int, limits: Http1Limits) -> None:
    """Looks at a head that may not be whole yet: it may be wrong, or too long, already.

    The answer to a head does not depend on the pieces it comes in: the first byte that is one too many or out of place
    decides, and the rest is not waited for.

    Args:
        beginning: All that has come of it, at least one byte.
        looked_at: How many bytes of it have been looked at before.
        limits: How long it may be.

    Raises:
        Refused: It is wrong.
    """
    if not looked_at and not _FIRST.match(beginning):
        raise Refused(400, _UNREADABLE)
    if len(beginning) > limits.request_line_bytes and b"\n" not in beginning[: limits.request_line_bytes]:
        raise Refused(414, f"The request line is longer than {limits.request_line_bytes} bytes. Shorten the path.")
    if _BARE_LINE_END.search(beginning, max(0, looked_at - 1), limits.head_bytes):
        raise Refused(400, _UNREADABLE)
    if len(beginning) > limits.head_bytes:
        raise Refused(431, f"The headers are larger than {limits.head_bytes} bytes. Send fewer or shorter ones.")


def read_head(head: bytes, limits: Http1Limits) -> Head:
    """Reads a head.

    Args:
        head: From the method to the empty line, both included.
        limits: How large it may be.

    Raises:
        Refused: It is wrong, too large, or asks for what there is not.
    """
    check_beginning(head, 0, limits)
    match = _HEAD.fullmatch(head)
    if match is None:
        raise Refused(400, _UNREADABLE)
    method, target, major, minor, raw = match.groups()
    if major != b"1":
        raise Refused(505, "The request is not HTTP/1.1 or HTTP/1.0. Send one of the two.")
    count = raw.count(b"\n")
    if count > limits.header_count:
        raise Refused(431, f"There are {count} headers; the most is {limits.header_count}. Send fewer.")
    is_1_0 = minor == b"0"
    fields: dict[bytes, list[bytes]] = {}
    for name, value in _ABOUT_THE_MESSAGE.findall(raw):
        fields.setdefault(name.lower(), []).append(value.rstrip(b" \t"))
    length = _body_length(fields, is_1_0=is_1_0)
    if len(fields.get(b"host", ())) > 1:
        raise Refused(400, "There is more than one Host header. Send one.")
    connection = {option.strip().lower() for value in fields.get(b"connection", ()) for option in value.split(b",")}
    keep_alive = b"close" not in connection and (not is_1_0 or b"keep-alive" in connection)
    name = method.decode("ascii")
    if name not in METHODS:
        raise Refused(501, None)
    return Head(
        method=name,
        target=_path(target.decode("latin-1")),
        headers=Headers(raw),
        length=length,
        keep_alive=keep_alive,
        says_keep_alive=keep_alive and is_1_0,
        expects_continue=not is_1_0 and _expects_continue(fields.get(b"expect", [])),
    )


class HeadCache:
    """Remembers heads by their bytes."""

    def __init__(self, limits: Http1Limits) -> None:
        self._limits = limits
        self._heads: dict[bytes, Head] = {}
        self.get = self._heads.get
        """The head for these bytes, if they have been read before; None if not."""

    def __len__(self) -> int:
        return len(self._heads)

    def read(self, head: bytes) -> Head:
        """As `read_head`; remembers it."""
        read = read_head(head, self._limits)
        if len(head) <= _MAX_CACHED_BYTES:
            if len(self._heads) >= MAX_CACHED:
                self._heads.clear()  # simple, and right again after as many requests
            self._heads[head] = read
        return read


def _body_length(fields: Mapping[bytes, list[bytes]], *, is_1_0: bool) -> int:
    codings = fields.get(b"transfer-encoding")
    lengths = fields.get(b"content-length")
    if codings is None:
        if lengths is None:
            return 0
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise Refused(400, "Expected one Content-Length header with the number of bytes of the body.")
        digits = lengths[0].lstrip(b"0") or b"0"
        return _HUGE if len(digits) > 18 else int(digits)
    if lengths is not None:
        raise Refused(400, "There are both Content-Length and Transfer-Encoding. Send one of the two.")
    if is_1_0:
        raise Refused(400, "HTTP/1.0 has no Transfer-Encoding. Send Content-Length, or HTTP/1.1.")
    listed = [coding.strip(b" \t").lower() for value in codings for coding in value.split(b",")]
    if listed[-1] != b"chunked" or listed.count(b"chunked") > 1:
        raise Refused(400, "Expected Transfer-Encoding: chunked, or Content-Length instead.")
    if len(listed) > 1:
        raise Refused(501, "Expected no other Transfer-Encoding than chunked. A body in gzip has a Content-Encoding.")
    return CHUNKED


def _expects_continue(values: list[bytes]) -> bool:
    if not values:
        return False
    if [value.lower() for value in values] != [b"100-continue"]:
        raise Refused(417, "Expected no other Expect header than 100-continue.")
    return True


def _path(target: str) -> str:
    if target.startswith("/") or target == "*":
        return target
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise Refused(400, None)
    path = target[absolute.end() :]
    return path if path.startswith("/") else "/" + path
