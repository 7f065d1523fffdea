"""Gives memory back to the operating system after a version is unloaded."""

from __future__ import annotations

import ctypes
import logging

logger = logging.getLogger(__name__)


def release_memory() -> None:
    """Hands free pages of the C heap back; does nothing where the C library has no such call (musl, macOS).

    An engine frees what a version held piece by piece, and glibc keeps the pages for later, in the middle of its heaps
    for ever. The GIL is released while this works; an allocation that needs the lock of the heap being trimmed waits.
    """
    # The symbols of the running process; looked up each time, which is nothing next to the call.
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is None:
        logger.debug("The C library has no malloc_trim; freed memory stays with the process.")
        return
    malloc_trim(ctypes.c_size_t(0))
