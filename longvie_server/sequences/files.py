"""A name for files as they are now: whatever is made of them is made again when they change."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_key"]


def file_key(first: Path, *others: Path) -> str:
    """Return the first file's name and a digest of where all of them are, how long, and when they were written."""
    digest = hashlib.sha256()
    for path in (first, *others):
        told = path.stat() if path.exists() else None
        written = "-" if told is None else f"{told.st_size} {told.st_mtime_ns}"
        digest.update(f"{path.resolve()} {written}\n".encode())
    name = first.stem if first.suffix == ".mcap" else first.parent.name
    return f"{name}-{digest.hexdigest()[:8]}"
