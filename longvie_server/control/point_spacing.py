"""How far every point is from its nearest neighbour: what the size of its rectangle is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_distances"]


def nearest_distances(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return each point's distance to the nearest other point, (points,) float64; inf where it is alone.

    The points are swept in order of y: a point meets the one after it, the one after that, and so on, until no pair's
    gap in y alone is less than what both have found already. On a grid that is a few rows, not all pairs.

    Args:
        points: (points, 3) float32: x, y, z.
    """
    order = np.argsort(points[:, 1], kind="stable")
    swept = points[order].astype(np.float64)
    squared = np.full(len(swept), np.inf)
    for step in range(1, len(swept)):
        difference = swept[step:] - swept[:-step]
        difference *= difference
        gap = difference[:, 1]
        if ((gap >= squared[step:]) & (gap >= squared[:-step])).all():
            break
        distance = difference[:, 0] + difference[:, 1] + difference[:, 2]
        np.minimum(squared[step:], distance, out=squared[step:])
        np.minimum(squared[:-step], distance, out=squared[:-step])
    nearest = np.empty_like(squared)
    nearest[order] = np.sqrt(squared)
    return nearest
