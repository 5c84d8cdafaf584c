"""Which followed points a camera sees, told from its depth.

For engines that can follow points and render depth, but not ask their scene for a line of sight.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue, ShapeMismatch
from .camera import Camera
from .projection import project

__all__ = ["visibility", "visible_in_image"]

# The values of bridge.Visibility, which stands above this package in the order of imports; a test compares them.
_VISIBLE: Final = 0
_OCCLUDED: Final = 1


def visibility(
    points: NDArray[np.floating], camera: Camera, depth: NDArray[np.float32], *, tolerance: float = 0.01
) -> NDArray[np.uint8]:
    """Return for each point whether this camera sees it, or something stands before it.

    A point is held against the farthest of the four pixels around it: on a plane 1 / z is linear in the image, so a
    point of the plane is never farther than all four, at whatever slope. At silhouettes this errs towards visible.

    Args:
        points: p_in_world, homogeneous, (n, 4), metres; w = 0 for directions, which are visible where nothing was hit.
        camera: lens and pose.
        depth: planar z, (height, width) float32, metres, of the same camera; inf where nothing was hit.
        tolerance: how much farther than the depth a point may be, as a fraction of it.

    Returns:
        (n,) uint8: 0 visible, 1 occluded; points outside the image or behind the camera are occluded.

    Raises:
        ShapeMismatch: depth is not of the camera's size, or points are not (n, 4).
        InvalidValue: the tolerance is negative.
    """
    lens = camera.intrinsics
    if depth.shape != (lens.height, lens.width):
        raise ShapeMismatch(
            f"must be {(lens.height, lens.width)}", field="depth", value=depth.shape, remedy="Give the camera's depth."
        )
    if not tolerance >= 0:
        raise InvalidValue(
            "must not be negative", field="tolerance", value=tolerance, remedy="Give a fraction, such as 0.01."
        )
    uv, depth_m, in_front = project(points, camera)
    seen = visible_in_image(uv, depth_m, in_front, depth, tolerance=tolerance)
    return np.where(seen, np.uint8(_VISIBLE), np.uint8(_OCCLUDED))


def visible_in_image(
    uv: NDArray[np.floating],
    depth_m: NDArray[np.floating],
    in_front: NDArray[np.bool_],
    depth: NDArray[np.float32],
    *,
    tolerance: float = 0.01,
) -> NDArray[np.bool_]:
    """Return which projected points are seen, (n,) bool: what `visibility` says once it has projected them.

    Args:
        uv: (n, 2), normalised image coordinates; anything where not in front.
        depth_m: (n,), the points' own planar metres.
        in_front: (n,), of the camera.
        depth: (height, width), the camera's planar metres.
        tolerance: as in `visibility`.
    """
    height, width = depth.shape
    inside = np.flatnonzero(in_front & (uv >= 0.0).all(axis=1) & (uv <= 1.0).all(axis=1))
    left, right = _neighbours(uv[inside, 0] * width - 0.5, width)
    top, bottom = _neighbours(uv[inside, 1] * height - 0.5, height)
    farthest = np.maximum(
        np.maximum(depth[top, left], depth[top, right]), np.maximum(depth[bottom, left], depth[bottom, right])
    )
    seen = np.zeros(len(uv), np.bool_)
    seen[inside] = depth_m[inside] <= farthest.astype(np.float64) * (1.0 + tolerance)
    return seen


def _neighbours(position: NDArray[np.floating], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    below = np.floor(position).astype(np.int64)
    return np.maximum(below, 0), np.minimum(below + 1, count - 1)
