from collections.abc import Mapping

from hotserve.wires.http2_headers import RequestHead
from hotserve.wires.plain_calls import Refusing, Taken

REVISION: int

def read_calls(
    data: bytes,
    position: int,
    last_stream: int,
    heads: dict[bytes, RequestHead],
    most: int,
    window: int,
    send_window: int,
    most_opened: int,
    largest: int,
    known: Mapping[int, int],
    elsewhere: Mapping[int, object],
    most_resets: int,
    refusing: Refusing | None,
) -> Taken: ...
def answer_frames(stream: int, header: bytes, message: bytes, trailers: bytes) -> bytes: ...
