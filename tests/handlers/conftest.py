from __future__ import annotations

from collections.abc import Iterator

import pytest

from hotserve.batching.scheduler import EngineThreads


@pytest.fixture
def engine() -> Iterator[EngineThreads]:
    """One thread that runs servables."""
    threads = EngineThreads(1)
    yield threads
    threads.close()
