"""What a file really is that has the name of a model and is none.

A checkout without its large files, a download of an error page, an archive that nobody has unpacked: each is copied to
a version folder now and then, and what a parser says of it helps nobody.
"""

from __future__ import annotations

from pathlib import Path

_LOOK_BYTES = 64

# How such files begin, and what to do. Sources: the specification of Git LFS pointers (git-lfs/docs/spec.md), RFC 1952
# for gzip, APPNOTE.TXT 4.3.7 for ZIP.
_BEGINNINGS = (
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file that it stands for: run `git lfs pull`, and copy it again",
    ),
    (b"<!doctype html", "a page in HTML, such as the answer to a download that was refused"),
    (b"<html", "a page in HTML, such as the answer to a download that was refused"),
    (b"<?xml", "a text in XML, such as the answer of an object storage that refuses a download"),
    (b"\x1f\x8b", "packed with gzip: unpack it"),
    (b"PK\x03\x04", "a ZIP archive: unpack it"),
)


def mistaken_file(file: Path) -> str:
    """What a file is that has come in the place of another, in words for the user; empty where that cannot be told."""
    try:
        with file.open("rb") as opened:
            beginning = opened.read(_LOOK_BYTES).lower()
    except OSError:  # it is replaced just now: the next look tells
        return ""
    return next((what for start, what in _BEGINNINGS if beginning.startswith(start.lower())), "")


def unreadable_file(file: Path, error: Exception, name: str = "") -> str:
    """Why a file cannot be read as what its name says, in words for the user.

    Args:
        file: The file.
        error: What its parser says; told unless the file is of another kind that can be named.
        name: What to call the file; its name by default.
    """
    what = mistaken_file(file)
    return f"{name or file.name} {f'is {what}' if what else f'is not whole: {error}'}"
