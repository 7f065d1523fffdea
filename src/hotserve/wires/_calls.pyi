from hotserve.wires.http2_headers import RequestHead
from hotserve.wires.plain_calls import WholeCall

REVISION: int

def read_calls(
    data: bytes,
    position: int,
    last_stream: int,
    heads: dict[bytes, RequestHead],
    most: int,
    window: int,
    send_window: int,
    largest: int,
) -> tuple[list[WholeCall], int, int, int, bool]: ...
def answer_frames(stream: int, header: bytes, message: bytes, trailers: bytes) -> bytes: ...
