"""The geometry of one clip, reduced to what the control videos need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClipGeometry"]


@dataclass(frozen=True, slots=True, eq=False)
class ClipGeometry:
    """81 ticks at the model's size, in camera terms.

    Args:
        depth_m: (frames, height, width) float32, planar metres, inf where nothing was hit.
        track_uv: (frames, 2500, 2) float32, normalised image coordinates: (0, 0) is the image's top-left corner, (1, 1)
            its bottom-right one. NaN where `track_drawn` is false.
        track_depth_m: (frames, 2500) float32, planar metres, inf for the sky.
        track_drawn: (frames, 2500) bool: neither lost nor behind the camera. Occluded points are drawn.
    """

    depth_m: NDArray[np.float32]
    track_uv: NDArray[np.float32]
    track_depth_m: NDArray[np.float32]
    track_drawn: NDArray[np.bool_]
