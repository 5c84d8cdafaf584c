"""The z-buffer against every ray on every triangle, worked out another way (Moller-Trumbore)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge.geometry.camera import Intrinsics
from engine_plugins.blender.longvie.capture.raster import rasterise

LENS = Intrinsics(fx_px=41.0, fy_px=37.0, cx_px=22.3, cy_px=14.9, width=48, height=32)


def cast(corners: NDArray[np.float64], lens: Intrinsics) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (triangles, pixels) planar z of each hit, inf for none."""
    column, row = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    ray = np.stack([(column - lens.cx_px) / lens.fx_px, (row - lens.cy_px) / lens.fy_px, np.ones_like(row)], -1)
    ray = ray.reshape(1, -1, 3)
    a, ab, ac = (
        corners[:, None, 0],
        corners[:, None, 1] - corners[:, None, 0],
        corners[:, None, 2] - corners[:, None, 0],
    )
    p = np.cross(ray, ac)
    det = (ab * p).sum(-1)
    u = (-a * p).sum(-1) / det
    q = np.cross(-a, ab)
    v = (ray * q).sum(-1) / det
    z = (ac * q).sum(-1) / det
    z = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (z > 0), z, np.inf)
    return z, np.minimum(np.minimum(u, v), 1 - u - v)


@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("far", [np.inf, 9.0])
def test_pixels_show_the_nearest_triangle(size: float, far: float) -> None:
    random = np.random.default_rng(int(size * 10))
    # Around the camera: in front, beside and behind it, so that many cross the near plane.
    corners = random.uniform(-6, 12, (300, 1, 3)) + random.uniform(-size, size, (300, 3, 3))
    near = 0.4
    z, margin = cast(corners, LENS)
    z = np.where((z >= near) & (z <= far), z, np.inf)
    raster = rasterise(corners, LENS, near=near, far=far)
    expected, got = z.min(axis=0), raster.depth.ravel().astype(np.float64)
    # Rays that pass an edge within rounding may go either way.
    clear = np.abs(margin).min(axis=0) > 1e-7
    assert clear.mean() > 0.95
    np.testing.assert_allclose(got[clear], expected[clear], rtol=1e-5)
    hit = clear & np.isfinite(expected)
    assert hit.mean() > 0.01
    np.testing.assert_array_equal(raster.triangle.ravel()[hit], z.argmin(axis=0)[hit])
    assert (raster.triangle.ravel()[clear & ~hit] == -1).all()


def test_barycentric_coordinates_lead_to_the_hit() -> None:
    corners = np.random.default_rng(3).uniform((-3, -2, -1), (3, 2, 8), (80, 3, 3))
    raster = rasterise(corners, LENS, near=0.1, far=np.inf)
    rows, columns = np.nonzero(raster.triangle >= 0)
    weights = raster.barycentric(rows, columns)
    point = np.einsum("nc,ncd->nd", weights, corners[raster.triangle[rows, columns]])
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(point[:, 2], raster.depth[rows, columns], rtol=1e-5)
    np.testing.assert_allclose(point[:, 0] / point[:, 2] * LENS.fx_px + LENS.cx_px, columns + 0.5, atol=1e-4)


def test_neighbours_leave_no_hole() -> None:
    # Edges run exactly through pixel centres, along rows, columns and diagonals.
    lens = Intrinsics(fx_px=16.0, fy_px=16.0, cx_px=16.5, cy_px=16.5, width=33, height=33)
    line = np.linspace(-2.0, 2.0, 9)
    quads = [((x, y), (x + 0.5, y), (x + 0.5, y + 0.5), (x, y + 0.5)) for x in line[:-1] for y in line[:-1]]
    corners = np.array([[(*q[i], 1.5) for i in half] for q in quads for half in ((0, 1, 2), (0, 2, 3))])
    for unit in (1.0, 1e-3, 1e4):
        raster = rasterise(corners * unit, lens, near=0.1 * unit, far=np.inf)
        np.testing.assert_allclose(raster.depth, 1.5 * unit, rtol=1e-6)


def test_nothing_to_see() -> None:
    for corners in (np.empty((0, 3, 3)), np.zeros((1, 3, 3)), np.full((1, 3, 3), -1.0)):
        raster = rasterise(corners, LENS, near=0.1, far=100.0)
        assert np.isinf(raster.depth).all()
        assert (raster.triangle == -1).all()
