from __future__ import annotations

from collections.abc import Callable

import pytest

from hotserve.wires.http2_failure import Http2Failure
from hotserve.wires.http2_frames import ErrorCode
from hotserve.wires.http2_limits import Http2Limits
from hotserve.wires.http2_patience import Patience

LIMITS = Http2Limits(idle_frames=3, idle_frames_per_second=1, resets=3, resets_per_second=1, unsent_replies=2)


@pytest.mark.parametrize("count", [Patience.count_idle_frame, Patience.count_reset])
def test_so_many_are_borne_and_more_with_the_time(count: Callable[[Patience], None]) -> None:
    patience = Patience(LIMITS)
    for _ in range(3):
        count(patience)
    with pytest.raises(Http2Failure) as failure:
        count(patience)
    assert failure.value.code is ErrorCode.ENHANCE_YOUR_CALM
    patience.now += 1
    count(patience)


def test_replies_wait_for_a_client_that_does_not_read_up_to_a_number() -> None:
    patience = Patience(LIMITS)
    patience.check_replies(1)
    with pytest.raises(Http2Failure, match="no replies read"):
        patience.check_replies(2)
