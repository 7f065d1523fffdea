from __future__ import annotations

import pytest

from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import ErrorCode, window_update_frame
from hotserve.wires.http2_inflow import Inflow
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.http2_outbox import Outbox
from hotserve.wires.http2_stream import Stream

LIMITS = Http2Limits(stream_window_bytes=70_000, connection_window_bytes=100_000)
ROOM = 1 << 20


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(lambda: None, lambda stream: None)


def test_more_than_there_is_room_for_ends_the_connection(outbox: Outbox) -> None:
    inflow = Inflow(LIMITS, outbox)
    inflow.receive(100_000)
    with pytest.raises(Http2Failure) as failure:
        inflow.receive(1)
    assert failure.value.code is ErrorCode.FLOW_CONTROL_ERROR


def test_a_window_opens_again_by_all_that_was_taken_once_that_is_half_of_it(outbox: Outbox) -> None:
    inflow = Inflow(LIMITS, outbox)
    inflow.receive(60_000)
    inflow.take(49_999)
    assert outbox.take(ROOM) == b""
    inflow.take(1)
    assert outbox.take(ROOM) == window_update_frame(0, 50_000)
    assert inflow.window == 90_000


def test_what_is_taken_of_a_stream_opens_its_window_unless_all_of_its_request_has_come(outbox: Outbox) -> None:
    inflow = Inflow(LIMITS, outbox)
    stream = Stream(1, 65_535, LIMITS.stream_window_bytes, None)
    stream.receive_window -= 40_000
    stream.untaken = 40_000
    inflow.take_of(stream, 35_000)
    assert outbox.take(ROOM) == window_update_frame(1, 35_000)
    assert (stream.receive_window, stream.untaken) == (65_000, 5_000)
    stream.remote_ended = True
    inflow.take_of(stream, 5_000)
    assert outbox.take(ROOM) == b""
    assert (stream.untaken, inflow.taken) == (0, 40_000)
