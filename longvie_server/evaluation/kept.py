"""What is known of one row on one sequence so far: kept clip by clip, so that an evaluation may be stopped anywhere.

A folder: `known.npz` (figures of all clips, and the frames that the next goes on from) replaced at once after every
clip, and PNGs to be looked at. In memory are the figures alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SHOWN", "Kept"]

SHOWN: Final = (40, 80)
"""Frames of every clip that are kept to be looked at; the last is the clip's last, beside which the next is judged."""
_KNOWN: Final = "known.npz"


class Kept:
    """Clips that were judged.

    Args:
        folder: made with the first clip; what it holds is read.
        most: clips past this number are not seen, and none is added past it; None for all.

    Attributes:
        figures: per clip, by column.
    """

    def __init__(self, folder: Path, *, most: int | None = None) -> None:
        self.folder = folder
        self.figures: list[dict[str, float]] = []
        if (folder / _KNOWN).exists():
            with np.load(folder / _KNOWN, allow_pickle=False) as arrays:
                self.figures = json.loads(str(arrays["figures"]))[:most]

    def add(self, figures: dict[str, float], video: NDArray[np.uint8], last: NDArray[np.uint8] | None) -> None:
        """Take in the next clip.

        Args:
            figures: of the clip.
            video: (81, height, width, 3) uint8.
            last: (n, height, width, 3) uint8, the frames that the next clip goes on from; None where it needs none.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        clip = len(self.figures)
        if clip == 0:
            self._save(video[0], "first")
        for at, frame in enumerate(SHOWN):
            self._save(video[frame], _name(clip, at))
        self.figures.append(figures)
        arrays: dict[str, Any] = {"figures": np.array(json.dumps(self.figures))}
        if last is not None:
            arrays["last"] = last
        partial = self.folder / f"{_KNOWN}.partial"
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(self.folder / _KNOWN)

    def last(self) -> NDArray[np.uint8] | None:
        """Return what the next clip goes on from; None at the beginning, and where it needs none."""
        if not self.figures:
            return None
        with np.load(self.folder / _KNOWN, allow_pickle=False) as arrays:
            frames: NDArray[np.uint8] | None = arrays.get("last")
        return frames

    def first(self) -> NDArray[np.uint8]:
        """Return the very first frame, (height, width, 3) uint8; there is one once a clip was added."""
        return self._load("first")

    def end(self) -> NDArray[np.uint8] | None:
        """Return the last frame so far, (height, width, 3) uint8; None at the beginning."""
        return self.shown(len(self.figures) - 1, len(SHOWN) - 1) if self.figures else None

    def shown(self, clip: int, at: int) -> NDArray[np.uint8]:
        """Return frame `SHOWN[at]` of a clip, (height, width, 3) uint8."""
        return self._load(_name(clip, at))

    def _save(self, frame: NDArray[np.uint8], name: str) -> None:
        Image.fromarray(np.ascontiguousarray(frame)).save(self.folder / f"{name}.png")

    def _load(self, name: str) -> NDArray[np.uint8]:
        with Image.open(self.folder / f"{name}.png") as picture:
            return np.array(picture)


def _name(clip: int, at: int) -> str:
    return f"{clip:04d}-{SHOWN[at]:02d}"
