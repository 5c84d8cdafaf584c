"""Dense videos with less in them, so that they do not push the sparse ones aside.

All take and return dense videos, (frames, height, width) uint8.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["GREY", "blur_dense", "stretch_dense"]

Dense: TypeAlias = NDArray[np.uint8]

GREY: Final = 127
"""What the dense encoder paints where depth says nothing."""
_SCALES: Final = (1, 2, 4, 8)
_KERNELS_PX: Final = (3, 5, 7, 9)


def blur_dense(dense: Dense, random: np.random.Generator) -> Dense:
    """Return the video fused from several scales, one of them dropped, and blurred: fewer edges than depth has."""
    dropped = random.choice(_SCALES)
    kept = [scale for scale in _SCALES if scale != dropped]
    weights = random.dirichlet(np.ones(len(kept)))
    size_px = int(random.choice(_KERNELS_PX))
    height, width = dense.shape[1:]
    fused = np.empty_like(dense)
    for out, frame in zip(fused, dense, strict=True):
        total = np.zeros((height, width), np.float32)
        for scale, weight in zip(kept, weights, strict=True):
            small = (max(1, width // scale), max(1, height // scale))
            coarse = cv2.resize(frame.astype(np.float32), small, interpolation=cv2.INTER_AREA)
            total += np.float32(weight) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        out[...] = np.rint(cv2.blur(total, (size_px, size_px)))
    return fused


def stretch_dense(dense: Dense) -> Dense:
    """Return the clip as if its depth range were its own: its 5th and 95th percentile become black and white."""
    low, high = np.percentile(dense, (5, 95))
    if high <= low:
        return np.full_like(dense, GREY)
    return np.asarray(np.clip((dense.astype(np.float32) - low) / (high - low) * 255, 0, 255), np.uint8)
