"""What a long video loses on its way: colour, saturation and sharpness of each clip against its first.

In: per clip what it looks like (`columns.LOOK`). Out: per clip, ten seconds and minute. No truth is needed; where the
engine's own frames are judged too (row `truth`), they tell how much of it the scene itself does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_STRIDE, FPS

__all__ = ["DRIFT", "WINDOWS", "against_first", "windowed"]

DRIFT: Final = {
    "colour": "mean colour: distance, levels of 255",
    "saturation": "saturation: share of the first clip's",
    "sharpness": "gradient energy: share of the first clip's",
}
"""What is compared with the first clip, with headings."""
CLIP_S: Final = CLIP_STRIDE / FPS
WINDOWS: Final = {"per_10_s": round(10 / CLIP_S), "per_minute": round(60 / CLIP_S)}
"""Clips in each window."""


def against_first(clips: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Return `DRIFT`, (clips,) each, of one video; NaN where its first clip is grey, or has no gradients."""

    def of(name: str) -> NDArray[np.float64]:
        return np.array([clip[name] for clip in clips], np.float64)

    def share(name: str) -> NDArray[np.float64]:
        values = of(name)
        return values / values[0] if values[0] > 0 else np.full(len(values), np.nan)

    colours = np.stack([of("red"), of("green"), of("blue")])
    distance = np.abs(colours - colours[:, :1]).mean(axis=0)
    return {"colour": distance, "saturation": share("saturation"), "sharpness": share("sharpness")}


def windowed(values: NDArray[np.float64], clips: int) -> NDArray[np.float64]:
    """Return the mean of every `clips` values, of fewer at the end; NaN where there is none."""
    pieces = [values[at : at + clips] for at in range(0, len(values), clips)]
    return np.array([np.nan if np.isnan(piece).all() else np.nanmean(piece) for piece in pieces])
