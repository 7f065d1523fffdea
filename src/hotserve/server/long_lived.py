"""What a server is made of before it loads anything stays for good, and is left out of garbage collections."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports_for_good() -> Iterator[None]:
    """Whatever is imported within is left out of Python's garbage collections, which wait until the end of it.

    They would look at all modules a dozen times while these are imported, for 30 ms of processor time. For processes
    that do nothing but what is imported here. What has become garbage meanwhile stays as well: for `serve` 0.3 MB, of
    classes that became others with slots.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_for_good() -> None:
    """Leaves all that there is now out of Python's garbage collections.

    That is the modules, their functions and classes, 50,000 objects: nine in ten of those that a full collection would
    look at, while requests wait. For processes that do nothing but serve: where a server is part of a program, what the
    program has made is not ours to keep. Before versions are loaded: they come and go.
    """
    gc.collect()
    gc.freeze()
