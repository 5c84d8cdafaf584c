"""Geometry of one clip in, the two control videos of that clip out, and the points as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge.errors import ShapeMismatch
from bridge.geometry.visibility import visible_in_image
from bridge.tick import DepthRange

from ..world_model.interface import ControlClip
from .canvas import canvas_from_uv
from .clip_geometry import ClipGeometry
from .dense import encode_dense
from .resize import resize_video
from .sparse import SparsePainter

__all__ = ["encode_controls", "seen_points", "track_z"]


def encode_controls(geometry: ClipGeometry, depth_range: DepthRange, *, height: int, width: int) -> ControlClip:
    """Return the controls of a clip.

    Args:
        geometry: of 81 ticks; its depth is at the model's size.
        depth_range: of the whole video.
        height, width: the model's frame size, pixels.

    Raises:
        ShapeMismatch: the clip is not 81 ticks, its depth has another size, or its arrays do not fit each other.
    """
    if geometry.depth_m.shape[1:] != (height, width):
        raise ShapeMismatch(
            f"must be (frames, {height}, {width})",
            field="geometry.depth_m",
            value=geometry.depth_m.shape,
            remedy="Resize depth to the model's size by nearest neighbour first.",
        )
    dense = encode_dense(geometry.depth_m, depth_range)
    z = track_z(geometry, depth_range, dense)
    painter = SparsePainter(canvas_from_uv(geometry.track_uv), z, geometry.track_drawn)
    sparse = resize_video(painter, np.empty((len(painter), height, width, 3), dtype=np.uint8))
    return ControlClip(dense=dense, sparse=sparse, points=seen_points(geometry))


def seen_points(geometry: ClipGeometry) -> NDArray[np.float32]:
    """Return where the followed points are seen, (frames, points, 2) float32, NaN where one is not.

    The videos show hidden points like others, and farther ones on top. Whoever wants to know what moved where cannot
    tell from them.
    """
    seen = np.stack(
        [
            visible_in_image(uv, depth_m, drawn, depth)
            for uv, depth_m, drawn, depth in zip(
                geometry.track_uv, geometry.track_depth_m, geometry.track_drawn, geometry.depth_m, strict=True
            )
        ]
    )
    return np.where(seen[:, :, None], geometry.track_uv, np.float32(np.nan))


def track_z(geometry: ClipGeometry, depth_range: DepthRange, dense: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the followed points' z as the tracker of the training data had it: near = 1, far = 0.

    There z was read off the 8-bit dense video, stretched between the least and the greatest grey of the clip. A point's
    own camera depth goes through the same range and the same 8 bits here; the sky is disparity 0.

    Args:
        geometry: whose points are asked for.
        depth_range: of the dense video.
        dense: (frames, height, width) uint8, that video.

    Returns:
        (frames, points) float32. On the first frame within 0..1: a seed is visible, so its grey can only leave the
        video's by the rounding of an edge. Later a hidden point may well be farther than all that is seen: below 0.
    """
    depth_m = np.where(geometry.track_drawn, geometry.track_depth_m, np.float32(np.inf))
    grey = encode_dense(depth_m, depth_range).astype(np.float32)
    least, greatest = float(dense.min()), float(dense.max())
    if greatest == least:
        return np.zeros_like(grey)
    z = (greatest - grey) / np.float32(greatest - least)
    np.clip(z[0], 0.0, 1.0, out=z[0])
    return z
