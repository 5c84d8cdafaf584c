"""The colour of a followed point: where it was on the clip's first frame, kept for the whole clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["point_colours"]


def point_colours(xy_px: NDArray[np.float32], z: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the colours that points have through the clip.

    R is x and G is y, from the least to the greatest of all points. B is 1 / z, from its 2nd to its 98th percentile:
    where 2 % of the points or more are at z = 0 that range is infinite, and B is 0 everywhere. Values outside saturate,
    ties round to even, and what is not a number (a range of zero) is 0.

    Args:
        xy_px: (points, 2) float32, canvas pixels on the first frame.
        z: (points,) float32, near = 1, far = 0.

    Returns:
        (points, 3) uint8 RGB.
    """
    if len(z) == 0:
        return np.zeros((0, 3), dtype=np.uint8)
    xy = xy_px.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse_z = np.reciprocal(z.astype(np.float64))
        low, high = np.percentile(inverse_z, [2.0, 98.0])
        # A percentile next to an infinite one comes out as NaN or inf, and so does or vanishes every quotient by it.
        blue = (inverse_z - low) / (high - low)
        red_green = (xy - xy.min(axis=0)) / (xy.max(axis=0) - xy.min(axis=0))
        levels = np.column_stack([red_green, blue]) * 255.0
    return np.clip(np.rint(np.nan_to_num(levels, nan=0.0)), 0.0, 255.0).astype(np.uint8)
