from __future__ import annotations

import os

from hypothesis import settings

# Tests that use ONNX Runtime directly report to nobody either: see hotserve/platforms/onnx.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# No test here fails for being slow: the machine that runs it may be busy with something else.
settings.register_profile("hotserve", deadline=None)
settings.load_profile("hotserve")
