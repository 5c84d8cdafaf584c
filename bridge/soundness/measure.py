"""What can be measured off points that should lie on depth: its scale, its projection, its pixel centres."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..geometry.depth import PLANAR_METRES, DepthDeclaration, DepthKind
from .evidence import PointView
from .hypothesis import Hypothesis

__all__ = ["device_declaration", "pixel_offset", "relative_scale"]

_FEWEST: Final = 100
_Array = NDArray[np.float64]


def relative_scale(views: list[PointView], reading: Hypothesis) -> float | None:
    """Return the factor that takes depth to the points' own depth, where one factor fits; None where none does."""
    z, depth = _on_surfaces(views, reading)
    if z.size < _FEWEST:
        return None
    ratio = np.log(z / depth)
    middle = float(np.median(ratio))
    if abs(middle) < 0.05 or float(np.mean(np.abs(ratio - middle) < 0.03)) < 0.6:
        return None
    return math.exp(middle)


def device_declaration(views: list[PointView], reading: Hypothesis) -> DepthDeclaration | None:
    """Return the projection under which "metres" within 0..1 are a depth buffer's values; None where there is none.

    Such a value is linear in 1 / z, so a line through (1 / z of the points, value) gives the clip planes.
    """
    declared = reading.declaration or views[0].sight.tick.depth_declaration
    if declared not in (PLANAR_METRES, DepthDeclaration(bottom_row_first=True)):
        return None
    if any(float(view.sight.tick.depth.max()) > 1.0 for view in views):
        return None
    z, value = _on_surfaces(views, reading)
    if z.size < _FEWEST:
        return None
    keep = np.ones(z.size, np.bool_)
    for _ in range(4):  # points beside a silhouette pull the line: drop the worst and draw it again
        slope, intercept = np.polyfit(1.0 / z[keep], value[keep], 1)
        residual = np.abs(value - intercept - slope / z)
        keep = residual <= np.quantile(residual, 0.8)
    if slope == 0.0:
        return None
    reversed_z = bool(slope > 0.0)
    # value = intercept + slope / z is 1 at one clip plane and 0 at the other. A far plane out of reach is at infinity.
    at_one, at_zero = _plane(slope, 1.0 - intercept), _plane(-slope, intercept)
    near, far = (at_one, at_zero) if reversed_z else (at_zero, at_one)
    if not 0.0 < near < far:
        return None
    return DepthDeclaration(
        kind=DepthKind.DEVICE,
        near=near,
        far=far if far < 1e5 * near else math.inf,
        reversed_z=reversed_z,
        bottom_row_first=declared.bottom_row_first,
    )


def pixel_offset(views: list[PointView], reading: Hypothesis) -> tuple[float, float, float] | None:
    """Return by how much the projected points would have to move, in pixels right and down, to lie on the depth.

    Returns:
        du, dv, and the share of the disagreement that this removes; None where depth has no slopes to measure it by.
    """
    rows: list[_Array] = []
    for view in views:
        hits = view.hits(reading)
        with np.errstate(all="ignore"):
            disparity = 1.0 / hits.around
            top_left, top_right, bottom_left, bottom_right = disparity
            bend = np.abs(top_left + bottom_right - top_right - bottom_left)
            # 1 / z is linear in the image on a plane: where the four do not lie on one, there is an edge.
            usable = hits.inside & np.isfinite(hits.z) & (disparity > 0).all(axis=0) & (bend < 1e-3 * top_left)
            a, b = hits.u - 0.5 - np.floor(hits.u - 0.5), hits.v - 0.5 - np.floor(hits.v - 0.5)
            slope_u, slope_v = top_right - top_left, bottom_left - top_left
            here = top_left + a * slope_u + b * slope_v
            rows.append((np.stack([slope_u, slope_v, 1.0 / hits.z - here]) / here)[:, usable])
    slopes_u, slopes_v, residual = np.concatenate(rows, axis=1)
    if residual.size < _FEWEST:
        return None
    slopes = np.stack([slopes_u, slopes_v], axis=1)
    keep = np.abs(residual) <= 2.0 * np.abs(slopes).sum(axis=1) + 1e-9  # two pixels at most: else another surface
    if keep.sum() < _FEWEST:
        return None
    offset = np.zeros(2)
    for _ in range(4):
        # The ridge keeps an axis at zero along which no surface slopes.
        normal = slopes[keep].T @ slopes[keep]
        offset = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(2), slopes[keep].T @ residual[keep])
        left = np.abs(residual - slopes @ offset)
        keep = left <= np.quantile(left[np.isfinite(left)], 0.8)
    before = float(np.median(np.abs(residual)))
    removed = 1.0 - float(np.median(np.abs(residual - slopes @ offset))) / before if before > 0 else 0.0
    return float(offset[0]), float(offset[1]), removed


def _plane(slope: float, rise: float) -> float:
    # The z at which slope / z makes up the rise; a rise within rounding of nothing is infinitely far.
    return slope / rise if abs(rise) > 1e-6 and slope / rise > 0 else math.inf


def _on_surfaces(views: list[PointView], reading: Hypothesis) -> tuple[_Array, _Array]:
    # Depth of the points themselves, and of the image there, where both are surfaces without an edge between.
    z: list[_Array] = []
    depth: list[_Array] = []
    for view in views:
        hits = view.hits(reading)
        nearest, farthest = hits.around.min(axis=0), hits.around.max(axis=0)
        smooth = hits.inside & np.isfinite(hits.z) & np.isfinite(farthest) & (nearest > 0.9 * farthest)
        z.append(hits.z[smooth])
        depth.append(np.sqrt(nearest * farthest)[smooth])
    return np.concatenate(z), np.concatenate(depth)
