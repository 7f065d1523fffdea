from __future__ import annotations

import os

from hypothesis import settings

# Tests that use ONNX Runtime directly report to nobody either: see hotserve/platforms/onnx.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# No test here fails for being slow: the machine that runs it may be busy with something else. And the same examples
# are tried in every run, so that a failure belongs to the change that it came with. To look for new ones:
# HYPOTHESIS_PROFILE=explore make tests
settings.register_profile("hotserve", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hotserve"))
