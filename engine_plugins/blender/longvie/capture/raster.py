"""Triangles to depth, and to the triangle under each pixel: a z-buffer in numpy.

Comes in: triangles in the camera's frame and a lens. Goes out: planar depth and triangle numbers.
Laws: a pixel shows what its centre ray hits, to float64; both sides of a triangle count; nothing nearer than the near
plane or farther than the far one is seen. There is no graphics card in it and no render engine, so it gives the same
bytes in a window, in the background and on a farm.

Why no clipping: for a pixel's ray d = (x, y, 1), the weights w with w0 a + w1 b + w2 c = d are affine in the pixel's
position. The ray hits the triangle where all three are positive, at z = 1 / (w0 + w1 + w2). This also holds for
triangles that reach behind the camera, whose corners have no place in the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.camera import Intrinsics

__all__ = ["Raster", "rasterise"]

_ALONE: Final = 1024  # from so many pixels on, a triangle is worth a numpy call of its own
_FRAGMENTS: Final = 2**19  # of small triangles worked on together: what stays near the cache
_EDGE: Final = 1e-9  # of a triangle's weights: two that share an edge leave no hole between them


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """What a camera sees of a list of triangles.

    Args:
        depth: (height, width) float32, planar, in the corners' unit; inf where nothing was hit.
        triangle: (height, width) int64, number of the triangle that is seen; -1 where nothing was hit.
        corners: (triangles, 3, 3) float64, as they were given.
        lens: of the image.
    """

    depth: NDArray[np.float32]
    triangle: NDArray[np.int64]
    corners: NDArray[np.float64]
    lens: Intrinsics

    def barycentric(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return where on its triangle each pixel's centre ray ends, (n, 3) float64, sum 1; of hit pixels only."""
        pixel = np.stack([columns, rows, np.ones_like(rows)], axis=1).astype(np.float64)
        weight = np.einsum("nij,nj->ni", _weights(self.corners[self.triangle[rows, columns]], self.lens), pixel)
        weight = np.maximum(weight, 0.0)
        result: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
        return result


def rasterise(corners: NDArray[np.float64], lens: Intrinsics, *, near: float, far: float) -> Raster:
    """Return what the camera sees.

    Args:
        corners: (triangles, 3 corners, 3) float64 in the camera's frame: x right, y down, z forward; any unit.
        lens: of the image.
        near, far: what is seen lies between these planes, in the same unit; `far` may be inf.
    """
    first, last = _boxes(corners, lens, near)
    # Most triangles of a dense scene cover no pixel's centre: only the others cost anything from here on.
    numbers = np.flatnonzero((last >= first).all(axis=1))
    weights = _weights(corners[numbers], lens)
    usable = np.isfinite(weights).all(axis=(1, 2))
    numbers, weights = numbers[usable], weights[usable]
    first, last = first[numbers], last[numbers]
    tolerance = _EDGE / np.maximum(corners[numbers, :, 2].min(axis=1), near)
    inverse_z = np.full((lens.height, lens.width), 0.0 if np.isinf(far) else 1.0 / far)
    triangle = np.full((lens.height, lens.width), -1, np.int64)
    target = _Target(inverse_z, triangle, 1.0 / near)
    size = (last - first + 1).prod(axis=1)
    for i in np.flatnonzero(size > _ALONE):
        target.paint_one(int(numbers[i]), weights[i], tolerance[i], first[i], last[i])
    small = np.flatnonzero(size <= _ALONE)
    ends = np.cumsum(size[small])
    at = 0
    while at < small.size:
        begun = ends[at] - size[small[at]]
        until = max(at + 1, int(np.searchsorted(ends, begun + _FRAGMENTS, side="right")))
        part = small[at:until]
        target.paint_many(numbers[part], weights[part], tolerance[part], first[part], last[part])
        at = until
    depth = np.full(inverse_z.shape, np.inf, np.float32)
    hit = triangle >= 0
    depth[hit] = 1.0 / inverse_z[hit]
    return Raster(depth, triangle, corners, lens)


@dataclass(slots=True)
class _Target:
    """The z-buffer: 1 / z and triangle number of the nearest hit so far."""

    inverse_z: NDArray[np.float64]
    triangle: NDArray[np.int64]
    nearest: float

    def paint_one(
        self,
        number: int,
        weights: NDArray[np.float64],
        tolerance: float,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
    ) -> None:
        """Paint one large triangle, box by rows and columns."""
        columns = np.arange(first[0], last[0] + 1, dtype=np.float64)
        rows = np.arange(first[1], last[1] + 1, dtype=np.float64)[:, None]
        place = np.s_[first[1] : last[1] + 1, first[0] : last[0] + 1]
        a, b, c = (w[0] * columns + (w[1] * rows + w[2]) for w in weights)
        inverse = a + b
        inverse += c
        seen = np.minimum(np.minimum(a, b), c) >= -tolerance
        seen &= inverse > self.inverse_z[place]
        seen &= inverse <= self.nearest
        np.copyto(self.inverse_z[place], inverse, where=seen)
        np.copyto(self.triangle[place], number, where=seen)

    def paint_many(
        self,
        numbers: NDArray[np.int64],
        weights: NDArray[np.float64],
        tolerance: NDArray[np.float64],
        first: NDArray[np.int64],
        last: NDArray[np.int64],
    ) -> None:
        """Paint many small triangles: every pixel of every box is a fragment."""
        across, down = (last - first + 1).T
        count = across * down
        owner = np.repeat(np.arange(numbers.size), count)
        place = np.arange(owner.size) - np.repeat(np.cumsum(count) - count, count)
        row, column = np.divmod(place, across[owner])
        column += first[:, 0][owner]
        row += first[:, 1][owner]
        corner = [w[:, 0][owner] * column + w[:, 1][owner] * row + w[:, 2][owner] for w in weights.transpose(1, 0, 2)]
        inverse = corner[0] + corner[1] + corner[2]
        flat = row * self.inverse_z.shape[1] + column
        held, shown = self.inverse_z.reshape(-1), self.triangle.reshape(-1)
        seen = np.minimum(np.minimum(corner[0], corner[1]), corner[2]) >= -tolerance[owner]
        seen &= inverse > held[flat]
        seen &= inverse <= self.nearest
        kept = np.flatnonzero(seen)
        # Farthest first: of several fragments on one pixel, the last that is written, the nearest, stays.
        kept = kept[np.argsort(inverse[kept], kind="stable")]
        held[flat[kept]] = inverse[kept]
        shown[flat[kept]] = numbers[owner[kept]]


def _weights(corners: NDArray[np.float64], lens: Intrinsics) -> NDArray[np.float64]:
    """Return each corner's weight as a function of (column, row, 1), (triangles, 3, 3): not scaled to a sum of 1."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    # Differences first: a small triangle far away keeps its digits.
    normals = np.stack([np.cross(b, c - b), np.cross(c, a - c), np.cross(a, b - a)], axis=1)
    volume = np.einsum("ni,ni->n", a, normals[:, 0])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # A triangle seen exactly edge-on has no volume: its weights become inf, and it is not drawn.
        normals /= volume[:, None, None]
    weights = np.empty_like(normals)
    with np.errstate(invalid="ignore"):
        weights[..., 0] = normals[..., 0] / lens.fx_px
        weights[..., 1] = normals[..., 1] / lens.fy_px
        weights[..., 2] = normals[..., 2] - weights[..., 0] * (lens.cx_px - 0.5) - weights[..., 1] * (lens.cy_px - 0.5)
    return weights


def _boxes(corners: NDArray[np.float64], lens: Intrinsics, near: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last (column, row) whose centre a triangle's box holds; last < first where none."""
    z = corners[..., 2]
    before = z >= near
    low = np.full((len(corners), 2), np.inf)
    high = np.full((len(corners), 2), -np.inf)
    whole = before.all(axis=1)
    inside = _image(corners[whole], lens)
    low[whole], high[whole] = inside.min(axis=1), inside.max(axis=1)
    cut = np.flatnonzero(before.any(axis=1) & ~whole)
    if cut.size:
        # What is left of a triangle that crosses the near plane: its corners before the plane, its edges on it.
        start, end = corners[cut], corners[cut][:, (1, 2, 0)]
        crosses = before[cut] != before[cut][:, (1, 2, 0)]
        step = np.where(crosses, end[..., 2] - start[..., 2], 1.0)
        on_plane = start + (end - start) * ((near - start[..., 2]) / step)[..., None]
        on_plane[..., 2] = near
        kept = np.concatenate([before[cut], crosses], axis=1)[..., None]
        points = np.concatenate([np.where(before[cut][..., None], start, 1.0), on_plane], axis=1)
        inside = _image(points, lens)
        low[cut] = np.where(kept, inside, np.inf).min(axis=1)
        high[cut] = np.where(kept, inside, -np.inf).max(axis=1)
    limit = np.array([lens.width, lens.height], dtype=np.float64)
    slack = 1e-6
    with np.errstate(invalid="ignore"):
        first = np.ceil(np.clip(low - 0.5 - slack, 0.0, limit))
        last = np.floor(np.clip(high - 0.5 + slack, -1.0, limit - 1.0))
    bad = ~(np.isfinite(first) & np.isfinite(last))
    first[bad], last[bad] = 0.0, -1.0
    return first.astype(np.int64), last.astype(np.int64)


def _image(points: NDArray[np.float64], lens: Intrinsics) -> NDArray[np.float64]:
    """Return where points of the camera's frame fall, (..., 2) pixels."""
    scale = np.array([lens.fx_px, lens.fy_px])
    with np.errstate(over="ignore"):
        pixels: NDArray[np.float64] = points[..., :2] / points[..., 2:] * scale + np.array([lens.cx_px, lens.cy_px])
    return pixels
