from __future__ import annotations

import threading

import pytest

from hotserve.sources.config_watch import ConfigWatch

PATIENCE = 30.0


class Looks:
    """Counts looks; the first one goes wrong."""

    def __init__(self) -> None:
        self.count = 0
        self._looked = threading.Semaphore(0)

    def look(self) -> None:
        self.count += 1
        self._looked.release()
        if self.count == 1:
            raise ValueError("a bug")

    def wait(self) -> None:
        assert self._looked.acquire(timeout=PATIENCE)


def test_it_looks_again_and_again_also_after_a_look_that_went_wrong(caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks()
    watch = ConfigWatch(looks.look, 0.001)
    watch.start()
    for _ in range(3):
        looks.wait()
    watch.stop()
    count = looks.count
    assert "Looking at the config file failed; trying again" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name == "hotserve-config-watch"]
    assert looks.count == count


@pytest.mark.parametrize("period", [0, -1])
def test_without_a_period_there_is_no_thread(period: float) -> None:
    watch = ConfigWatch(Looks().look, period)
    watch.start()
    assert not [thread for thread in threading.enumerate() if thread.name == "hotserve-config-watch"]
    watch.stop()


def test_a_stop_ends_a_long_pause() -> None:
    watch = ConfigWatch(Looks().look, 1e6)
    watch.start()
    watch.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "hotserve-config-watch"]
