"""How the memory of versions lies, and that it goes back to the operating system after they are unloaded."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

_LARGE_BYTES = 32 << 20
"""From here on glibc maps an allocation by itself at all times, and unmaps it as soon as it is freed.

Source: mallopt(3), M_MMAP_THRESHOLD; DEFAULT_MMAP_THRESHOLD_MAX on systems of 64 bits.
"""

_HEAP_BYTES = 64 << 20
"""How large the heaps of glibc are that serve threads other than the main one; each begins at a multiple of this.

Source: mallopt(3), M_ARENA_MAX; malloc/arena.c, HEAP_MAX_SIZE on systems of 64 bits.
"""

_MADV_COLLAPSE = 25
"""Source: madvise(2); Linux 6.1."""

_MAPPINGS = Path("/proc/self/maps")


@contextmanager
def in_huge_pages(model_bytes: int) -> Iterator[None]:
    """Has the system put what is allocated in the block, in large pieces, into huge pages at its end.

    Such memory is given back in a tenth of the time: ONNX Runtime frees a table of 200 MB in 12 to 25 ms, under the
    GIL, and in 1 ms from huge pages. To put it there takes 0.3 s of processor time, which the calling thread spends
    without the GIL, but 3 ms at a time in which nothing else gets its processor. Where the system cannot, or has no
    such pages left, nothing changes.

    Pieces of up to 32 MB lie in heaps, for the most part, and stay there: to free them takes no time, since the heap
    keeps their pages until `release_memory`, which works without the GIL.

    Args:
        model_bytes: The size of the model that is loaded in the block; nothing is done for a small one.
    """
    if model_bytes < _LARGE_BYTES or sys.platform != "linux":
        yield
        return
    before = _large_mappings()
    yield
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # What another thread has mapped meanwhile is moved, too, or not there any more: its content stays the same.
    for start, end in _large_mappings() - before:
        if madvise(start, end - start, _MADV_COLLAPSE):
            logger.debug("%d MB stay in small pages: %s", end - start >> 20, os.strerror(ctypes.get_errno()))


def _large_mappings() -> frozenset[tuple[int, int]]:
    """Where the process has large memory of its own that is neither a file nor a heap: its first byte, and its end.

    A heap that is full may look like one piece with the next one, and is taken for a piece then.
    """
    found = set()
    try:
        mappings = _MAPPINGS.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        logger.debug("What memory there is cannot be seen: %s", error)
        return frozenset()
    for line in mappings.splitlines():
        addresses, access, _, _, inode, *name = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        is_heap = start % _HEAP_BYTES == 0 and end - start <= _HEAP_BYTES
        if end - start >= _LARGE_BYTES and access == "rw-p" and inode == "0" and not name and not is_heap:
            found.add((start, end))
    return frozenset(found)


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
