"""Secrets in files, for libraries that take nothing but paths: readable by this user alone, and gone soon."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_OWNER_ONLY = 0o600


@contextmanager
def private_files(texts: Mapping[str, str]) -> Iterator[Mapping[str, Path]]:
    """Writes texts to files that exist as long as the block runs, in a folder that only this user can enter.

    Args:
        texts: File name -> content, written as UTF-8.

    Returns:
        File name -> where the file is.
    """
    with tempfile.TemporaryDirectory(prefix="hotserve-") as folder:  # made with mode 0700
        paths = {name: Path(folder, name) for name in texts}
        for name, path in paths.items():
            # The mode is given as the file is made: there is no moment at which others could open it.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
            with open(descriptor, "wb") as file:
                file.write(texts[name].encode())
        yield paths
