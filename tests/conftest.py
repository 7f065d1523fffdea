from __future__ import annotations

from hypothesis import settings

# No test here fails for being slow: the machine that runs it may be busy with something else.
settings.register_profile("hotserve", deadline=None)
settings.load_profile("hotserve")
