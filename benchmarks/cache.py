"""Where the benches keep what takes long to make: environments of peers, and models."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*names: str) -> Path:
    """A folder in the cache: in `HOTSERVE_BENCHMARK_CACHE`, or among the user's caches.

    Args:
        names: Of the folder, from the outer to the inner; it need not exist.

    Source: the XDG Base Directory Specification, for where caches are.
    """
    chosen = os.environ.get("HOTSERVE_BENCHMARK_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen or Path(caches, "hotserve-benchmarks")).joinpath(*names)
