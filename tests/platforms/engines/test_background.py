from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hotserve.platforms.engines.background import BackgroundExaminations

PATIENCE = 30.0


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="threads are bound to processors on Linux only"
)
def test_an_examination_has_all_processors_though_a_load_that_leaves_one_has_asked_for_it() -> None:
    everything = os.sched_getaffinity(0)
    examinations = BackgroundExaminations()
    seen: list[set[int]] = []
    done = threading.Event()

    def examine(starting: Callable[[Any], None], given_up: Callable[[], bool]) -> None:
        seen.append(os.sched_getaffinity(0))
        done.set()

    def load() -> None:
        os.sched_setaffinity(0, everything - {min(everything)})
        examinations.submit(examine)

    loading = threading.Thread(target=load)
    loading.start()
    loading.join(PATIENCE)
    try:
        assert done.wait(PATIENCE)
        assert seen == [everything]
    finally:
        examinations.close()
