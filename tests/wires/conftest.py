from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.grpc_wire import RunningWire
from support.in_process import InProcess, adder


@pytest.fixture(scope="module")
def toy() -> Iterator[InProcess]:
    """One model, `toy`, that adds one."""
    with InProcess({"toy": {1: adder(1)}}) as made:
        yield made


@pytest.fixture
def wire(toy: InProcess) -> Iterator[RunningWire]:
    """The wire in front of it, listening."""
    with RunningWire(toy.grpc_services) as made:
        yield made
