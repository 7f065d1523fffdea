from __future__ import annotations

import pytest

from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import LARGEST_NUMBER, ErrorCode
from hotserve.wires.http2_inflow import Inflow
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.http2_outbox import Outbox
from hotserve.wires.http2_streams import Streams

LIMITS = Http2Limits(max_concurrent_streams=4)


@pytest.fixture
def streams() -> Streams:
    outbox = Outbox(lambda: None, lambda stream: None)
    return Streams(LIMITS, outbox, Inflow(LIMITS, outbox))


def test_all_that_is_worked_on_takes_room_whether_or_not_its_client_still_wants_it(streams: Streams) -> None:
    assert streams.room() == 4
    streams.begin(1, ended=False, expected=None)
    streams.whole[3] = 1000
    streams.given_up[5] = None
    assert streams.room() == 1


def test_a_call_that_came_whole_becomes_a_stream_when_more_has_to_be_known_of_it(streams: Streams) -> None:
    streams.whole[3] = 1000
    stream = streams.find(3)
    assert stream is not None
    assert (stream.number, stream.send_window, stream.remote_ended) == (3, 1000, True)
    assert streams.find(3) is stream
    assert streams.whole == {}
    streams.close(stream)
    assert streams.find(3) is None


def test_a_change_of_the_first_window_is_one_of_all_that_there_are(streams: Streams) -> None:
    streams.begin(1, ended=True, expected=None)
    streams.whole[3] = 65535
    streams.change_first_window(70000)
    assert (streams.open[1].send_window, streams.whole[3], streams.first_window) == (70000, 70000, 70000)
    streams.open[1].send_window += LARGEST_NUMBER - 70000
    with pytest.raises(Http2Failure, match="the window of stream 1 is too large"):
        streams.change_first_window(70001)


def test_frames_that_a_client_sent_before_it_knew_of_the_end_are_passed_over(streams: Streams) -> None:
    streams.last_begun = 9
    streams.abandon(7)
    streams.check_closed(7, ended=False)
    streams.check_closed(7, ended=True)  # from here on it must know
    with pytest.raises(Http2Failure) as failure:
        streams.check_closed(7, ended=False)
    assert failure.value.code is ErrorCode.STREAM_CLOSED


@pytest.mark.parametrize("number", [0, 2, 11])
def test_a_stream_that_has_not_begun_cannot_be_named(streams: Streams, number: int) -> None:
    streams.last_begun = 9
    with pytest.raises(Http2Failure) as failure:
        streams.check_begun(number, "RST_STREAM")
    assert failure.value.code is ErrorCode.PROTOCOL_ERROR
    streams.check_begun(9, "RST_STREAM")


def test_what_a_client_has_begun_after_the_end_was_announced_may_be_named(streams: Streams) -> None:
    streams.last_begun = streams.last_taken = 9
    streams.check_begun(11, "RST_STREAM")
    streams.check_closed(11, ended=True)


def test_no_more_streams_are_remembered_than_there_is_reason_to(streams: Streams) -> None:
    for number in range(1, 6001, 2):
        streams.abandon(number)
    assert len(streams.abandoned) == 1024
    assert list(streams.abandoned)[-1] == 5999
