"""What is known of one row on one scene so far: kept clip by clip, so that an evaluation may be stopped anywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHOWN", "Kept"]

SHOWN = (40, 80)
"""Frames of every clip that are kept to be looked at."""


@dataclass(slots=True)
class Kept:
    """Clips that were judged.

    Args:
        figures: per clip, by column.
        shown: per clip, (len(SHOWN), height, width, 3) uint8.
        last: (n, height, width, 3) uint8, the frames that the next clip goes on from; None where no model made them.
    """

    figures: list[dict[str, float]] = field(default_factory=list)
    shown: list[NDArray[np.uint8]] = field(default_factory=list)
    last: NDArray[np.uint8] | None = None

    def add(self, figures: dict[str, float], video: NDArray[np.uint8], last: NDArray[np.uint8] | None) -> None:
        """Take in the next clip, (81, height, width, 3)."""
        self.figures.append(figures)
        self.shown.append(video[list(SHOWN)])
        self.last = last

    def save(self, path: Path) -> None:
        """Write all of it, at once."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {"figures": np.array(json.dumps(self.figures)), "shown": np.stack(self.shown)}
        if self.last is not None:
            arrays["last"] = self.last
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Kept:
        """Read what `save` wrote; nothing where there is no file."""
        if not path.exists():
            return cls()
        with np.load(path, allow_pickle=False) as arrays:
            return cls(json.loads(str(arrays["figures"])), list(arrays["shown"]), arrays.get("last"))
