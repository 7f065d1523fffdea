"""What pyproject.toml cannot say: the extensions are compiled where there is a C compiler, and left out elsewhere."""

from __future__ import annotations

import sys

from setuptools import Extension, setup

MODULES = {
    "hotserve.batching._guests": "src/hotserve/batching/_guests.pyx",
    "hotserve.codecs._fast": "src/hotserve/codecs/_fast.pyx",
    "hotserve.codecs._fast_proto": "src/hotserve/codecs/_fast_proto.pyx",
    "hotserve.observability._spans": "src/hotserve/observability/_spans.pyx",
    "hotserve.wires._calls": "src/hotserve/wires/_calls.pyx",
}
if sys.platform == "linux":
    MODULES["hotserve.loadgen._loop"] = "src/hotserve/loadgen/_loop.pyx"  # it waits with epoll

setup(ext_modules=[Extension(name, [source], optional=True) for name, source in MODULES.items()])
