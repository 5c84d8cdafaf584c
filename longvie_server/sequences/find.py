"""The sequences of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bridge.errors import InvalidValue

from .filmed import FilmedSource
from .recorded import RecordingSource
from .sequence import SequenceSource

__all__ = ["find_sources"]

_CONDITIONS: Final = "cond.json"


def find_sources(folder: Path) -> list[SequenceSource]:
    """Return all recordings and conditions files below a folder, by path.

    Raises:
        InvalidValue: there is none.
    """
    found = sorted([*folder.rglob("*.mcap"), *folder.rglob(_CONDITIONS)])
    if not found:
        raise InvalidValue(
            "holds no sequence",
            field="sequences",
            value=folder,
            remedy=f"Put recordings there (*.mcap with their pictures), or folders with {_CONDITIONS}, the depth and "
            "track videos that it names, and video.mp4.",
        )
    return [FilmedSource(path) if path.name == _CONDITIONS else RecordingSource(path) for path in found]
