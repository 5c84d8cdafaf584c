"""How well clips hang together, from the frames alone: the seam at clip boundaries, and drift over the video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_STRIDE

__all__ = ["Continuity", "ContinuityMeter"]


@dataclass(frozen=True, slots=True)
class Continuity:
    """What `summary.json` says of a video's continuity.

    Args:
        motion: mean absolute difference between neighbouring frames inside clips, 0..255.
        seam: the same across clip boundaries (the frame after a shared tick), 0..255; 0 for a single clip.
        seam_over_motion: their ratio; 1 is a seam that cannot be told from motion.
        colour_drift: distance of the last clip's mean colour from the first's, 0..255 per channel, root mean square.
        sharpness_drift: the last clip's gradient energy over the first's; 1 is none.
    """

    motion: float
    seam: float
    seam_over_motion: float
    colour_drift: float
    sharpness_drift: float


class ContinuityMeter:
    """Takes frames one at a time, so that a long video needs no memory.

    Args:
        first_tick: index of the first frame; clips begin every 80 ticks from there.
    """

    def __init__(self, first_tick: int = 0) -> None:
        self._first_tick = first_tick
        self._before: NDArray[np.float32] | None = None
        self._differences: dict[bool, list[float]] = {True: [], False: []}
        self._colours: dict[int, list[NDArray[np.float32]]] = {}
        self._gradients: dict[int, list[float]] = {}

    def add(self, index: int, image: NDArray[np.uint8]) -> None:
        """Take the frame of tick `index`, (height, width, 3) uint8."""
        now = image.astype(np.float32)
        offset = index - self._first_tick
        clip = max(0, offset - 1) // CLIP_STRIDE
        if self._before is not None:
            seam = offset > 1 and (offset - 1) % CLIP_STRIDE == 0
            self._differences[seam].append(float(np.abs(now - self._before).mean()))
        self._colours.setdefault(clip, []).append(now.mean(axis=(0, 1)))
        down, across = np.diff(now, axis=0), np.diff(now, axis=1)
        self._gradients.setdefault(clip, []).append(float((down**2).mean() + (across**2).mean()))
        self._before = now

    def result(self) -> Continuity:
        """Return the figures of the frames so far."""
        inside, seams = (float(np.mean(self._differences[at] or [0.0])) for at in (False, True))
        clips = sorted(self._colours)
        if not clips:
            return Continuity(0.0, 0.0, 0.0, 0.0, 1.0)
        first, last = clips[0], clips[-1]
        colour = np.mean(self._colours[last], axis=0) - np.mean(self._colours[first], axis=0)
        sharpness = float(np.mean(self._gradients[last])) / max(1e-9, float(np.mean(self._gradients[first])))
        return Continuity(
            motion=inside,
            seam=seams,
            seam_over_motion=seams / inside if inside and seams else 0.0,
            colour_drift=float(np.sqrt((colour**2).mean())),
            sharpness_drift=sharpness,
        )
