"""What identifies a version, and what its examination depends on: the bytes of the model, and where it runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hotserve.platforms.engines.findings import FORMAT
from hotserve.processors import usable_cpus

logger = logging.getLogger(__name__)

_HASHED: Final = ("saved_model.pb", "variables", "assets")
"""What of a version folder is the model. `assets.extra` is not: what is beside a model does not change its answers."""

_CPU_FEATURES: Final = (
    *("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "sve", "i8mm", "bf16"),
)
"""The features of processors by which engines choose how they calculate."""

_BLOCK_BYTES: Final = 1 << 20


def key_of(path: Path, tags: Iterable[str], threads: int, memory: Path) -> str:
    """The key under which the examination of a version is kept.

    Versions of engines are not part of it: they are kept beside each finding, so that a finding of one engine holds
    where another is not installed.

    Args:
        path: The version folder.
        tags: The tags of the meta graph.
        threads: How many threads one run may use; 0 for a number that follows from the size of the model.
        memory: A folder that remembers the bytes' fingerprint of folders that have not changed.

    Returns:
        32 hexadecimal digits.

    Raises:
        OSError: A file of the model cannot be read.
    """
    parts = [FORMAT, content_of(path, memory), sorted(tags), threads, usable_cpus(), platform.machine(), _features()]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def content_of(path: Path, memory: Path) -> str:
    """The fingerprint of a model's bytes.

    Args:
        path: The version folder.
        memory: Where fingerprints are remembered, by the sizes and times of the files; it need not exist.

    Raises:
        OSError: A file cannot be read.
    """
    files = list(_files(path))
    look = [[name, status.st_size, status.st_mtime_ns, status.st_ino] for name, _, status in files]
    known = memory / f"{hashlib.blake2b(os.fsencode(path.absolute()), digest_size=16).hexdigest()}.json"
    try:
        remembered = json.loads(known.read_text(encoding="utf-8"))
        if remembered["files"] == look:
            with contextlib.suppress(OSError):  # where it can only be read
                os.utime(known)  # It is in use: see `EngineCache`, which drops what is not.
            return str(remembered["content"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Nothing is remembered, or nothing that can be read: the bytes tell.
    digest = hashlib.blake2b(digest_size=16)
    for name, file, status in files:
        digest.update(f"{name}\0{status.st_size}\0".encode("utf-8", "surrogateescape"))
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
    content = digest.hexdigest()
    try:
        memory.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = known.with_suffix(f".{os.getpid()}.part")
        partial.write_text(json.dumps({"files": look, "content": content}), encoding="utf-8")
        partial.replace(known)
    except OSError as error:
        logger.debug("The fingerprint of %s is not remembered: %s", path, error)
    return content


def _files(path: Path) -> Iterable[tuple[str, Path, os.stat_result]]:
    for name in _HASHED:
        part = path / name
        found = sorted(file for file in part.rglob("*") if file.is_file()) if part.is_dir() else [part]
        for file in found:
            if file.exists():
                yield str(file.relative_to(path)), file, file.stat()


def _features() -> list[str]:
    """The features of this processor that are in `_CPU_FEATURES`; none where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    told = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sorted(set(told.partition(":")[2].split()) & set(_CPU_FEATURES))
