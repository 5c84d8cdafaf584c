"""Triangle meshes and the few solids that scenes are built from.

A mesh is a soup of triangles: corners, what the surface is like at each corner, a material per triangle. Laws: metres,
z up, right-handed; surface coordinates (u, v) are metres along the surface, so a brick is as large on every wall;
openness is how much of the sky a corner sees (1 in the open, less at the foot of a wall).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["UP", "Mesh", "cuboid", "gable", "heightfield", "merge", "placement", "polygon", "prism", "ribbon", "sphere"]

UP: Final = np.array([0.0, 0.0, 1.0])
"""The world's up."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles with their surface coordinates and materials.

    Args:
        corners: p_in_local, (triangles, 3 corners, 3) float64, metres.
        surface: (triangles, 3 corners, 3) float32: u in metres, v in metres, openness in 0..1.
        material: (triangles,) int32, row of the scene's material table.
    """

    corners: NDArray[np.float64]
    surface: NDArray[np.float32]
    material: NDArray[np.int32]

    def placed(self, world_from_local: NDArray[np.float64]) -> Mesh:
        """Return one copy per transform, all in one mesh; (4, 4) or (copies, 4, 4) float64."""
        transforms = world_from_local.reshape(-1, 4, 4)
        corners = np.einsum("nij,tcj->ntci", transforms[:, :3, :3], self.corners) + transforms[:, None, None, :3, 3]
        copies = transforms.shape[0]
        return Mesh(corners.reshape(-1, 3, 3), np.tile(self.surface, (copies, 1, 1)), np.tile(self.material, copies))

    @property
    def triangles(self) -> int:
        """How many triangles there are."""
        return int(self.corners.shape[0])


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return all triangles in one mesh, in order; at least one mesh."""
    return Mesh(
        np.concatenate([mesh.corners for mesh in meshes]),
        np.concatenate([mesh.surface for mesh in meshes]),
        np.concatenate([mesh.material for mesh in meshes]),
    )


def placement(at: ArrayLike, *, yaw_rad: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return `world_from_local`: scaled, turned about z, then put at `at`.

    Args:
        at: (3,) or (copies, 3), metres.
        yaw_rad: one, or one per copy.
        scale: one number, one per copy, or three (x, y, z) per copy or for all.

    Returns:
        (4, 4) or (copies, 4, 4) float64.
    """
    position = np.asarray(at, dtype=np.float64)
    copies = position.shape[:-1]
    yaw = np.broadcast_to(np.asarray(yaw_rad, dtype=np.float64), copies)
    sizes = np.asarray(scale, dtype=np.float64)
    sizes = np.broadcast_to(sizes[..., None] if sizes.ndim == len(copies) else sizes, (*copies, 3))
    result = np.zeros((*copies, 4, 4))
    result[..., 0, 0], result[..., 0, 1] = np.cos(yaw), -np.sin(yaw)
    result[..., 1, 0], result[..., 1, 1] = np.sin(yaw), np.cos(yaw)
    result[..., 2, 2] = result[..., 3, 3] = 1.0
    result[..., :3, :3] *= sizes[..., None, :]
    result[..., :3, 3] = position
    return result


def polygon(sides: int, radius: float, *, turn_rad: float = 0.0) -> NDArray[np.float64]:
    """Return a regular polygon, (sides, 2), anticlockwise."""
    angle = turn_rad + np.arange(sides) * 2.0 * np.pi / sides
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def prism(
    outline: NDArray[np.float64],
    bottom: float,
    top: float,
    *,
    side: int,
    cap: int | None = None,
    taper: float = 1.0,
    foot: float = 1.0,
) -> Mesh:
    """Return a convex outline raised from `bottom` to `top`, closed on both ends.

    Args:
        outline: (n, 2), anticlockwise and convex.
        bottom, top: heights in metres.
        side, cap: materials of the walls and of both ends (the side's where None).
        taper: size of the upper outline relative to the lower one; 0 makes a pyramid or a cone.
        foot: openness at the lower edge.
    """
    count = outline.shape[0]
    following = np.roll(outline, -1, axis=0)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(following - outline, axis=1))])
    low = np.column_stack([outline, np.full(count, bottom)])
    high = np.column_stack([outline * taper, np.full(count, top)])
    low_next, high_next = np.roll(low, -1, axis=0), np.roll(high, -1, axis=0)
    rise = np.hypot(top - bottom, (1.0 - taper) * np.linalg.norm(outline, axis=1).mean())
    at_low = np.column_stack([along[:-1], np.zeros(count), np.full(count, foot)])
    at_low_next = np.column_stack([along[1:], np.zeros(count), np.full(count, foot)])
    at_high = np.column_stack([along[:-1], np.full(count, rise), np.ones(count)])
    at_high_next = np.column_stack([along[1:], np.full(count, rise), np.ones(count)])
    walls = [(low, low_next, high_next), (low, high_next, high)]
    wall_surface = [(at_low, at_low_next, at_high_next), (at_low, at_high_next, at_high)]
    if taper == 0.0:
        walls, wall_surface = walls[:1], wall_surface[:1]
    parts = [
        _soup(np.stack(wall, axis=1), np.stack(at, axis=1), side) for wall, at in zip(walls, wall_surface, strict=True)
    ]
    cap = side if cap is None else cap
    parts.append(_fan(low[::-1], foot, cap))
    if taper > 0.0:
        parts.append(_fan(high, 1.0, cap))
    return merge(parts)


def cuboid(
    size: ArrayLike, *, side: int, cap: int | None = None, at: ArrayLike = (0.0, 0.0, 0.0), foot: float = 1.0
) -> Mesh:
    """Return a box of `size` (x, y, z) that stands on `at`, its foot's middle."""
    length, width, height = np.asarray(size, dtype=np.float64)
    outline = 0.5 * np.array([[-length, -width], [length, -width], [length, width], [-length, width]])
    return prism(outline, 0.0, height, side=side, cap=cap, foot=foot).placed(placement(at))


def gable(length: float, width: float, height: float, *, roof: int, wall: int, eaves: float = 0.4) -> Mesh:
    """Return a gable roof with its ridge along x; it stands on z = 0 and overhangs by `eaves`."""
    x, y = 0.5 * length + eaves, 0.5 * width + eaves
    drop = -eaves * height / (0.5 * width)
    slope = float(np.hypot(y, height - drop))
    left = np.array([[-x, -y, drop], [x, -y, drop], [x, 0, height], [-x, 0, height]], dtype=np.float64)
    uv = np.array([[0, 0, 1], [2 * x, 0, 1], [2 * x, slope, 1], [0, slope, 1]], dtype=np.float64)
    right = left[[1, 0, 3, 2]] * (1, -1, 1)
    y = 0.5 * width
    x = 0.5 * length
    ends = np.array(
        [[[x, -y, 0], [x, y, 0], [x, 0, height]], [[-x, y, 0], [-x, -y, 0], [-x, 0, height]]], dtype=np.float64
    )
    end_uv = np.array([[[0, 0, 1], [width, 0, 1], [y, height, 1]]] * 2, dtype=np.float64)
    return merge([_quad(left, uv, roof), _quad(right, uv, roof), _soup(ends, end_uv, wall)])


def sphere(radius: float, *, material: int, rings: int = 6, sectors: int = 10, foot: float = 1.0) -> Mesh:
    """Return a faceted ball about the origin; `foot` is its openness at the south pole."""
    polar = np.linspace(0.0, np.pi, rings + 1)[:, None]
    around = np.linspace(0.0, 2.0 * np.pi, sectors + 1)[None, :]
    # The seam's two ends must be the same numbers, or rays slip through between them.
    ring_x, ring_y = np.cos(around), np.sin(around)
    ring_x[:, -1], ring_y[:, -1] = ring_x[:, 0], ring_y[:, 0]
    south = np.sin(polar)
    south[-1] = 0.0
    points = radius * np.stack(np.broadcast_arrays(south * ring_x, south * ring_y, np.cos(polar)), axis=-1)
    at = np.stack(
        np.broadcast_arrays(
            radius * around, radius * (np.pi - polar), foot + (1.0 - foot) * (0.5 + 0.5 * np.cos(polar))
        ),
        axis=-1,
    )
    return _sheet(points, at, material, facing_up=False)


def heightfield(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], *, material: NDArray[np.int32] | int
) -> Mesh:
    """Return a terrain.

    Args:
        x, y: (columns,) and (rows,), rising, metres.
        z: (rows, columns), metres.
        material: one for all, or (rows - 1, columns - 1), one per cell.
    """
    grid_x, grid_y = np.meshgrid(x, y)
    points = np.stack([grid_x, grid_y, z], axis=-1)
    at = np.stack([grid_x, grid_y, np.ones_like(z)], axis=-1)
    return _sheet(points, at, material, facing_up=True)


def ribbon(
    left: NDArray[np.float64], right: NDArray[np.float64], *, material: int, along_m: NDArray[np.float64]
) -> Mesh:
    """Return a strip between two lines: u runs along it, v across it with 0 in the middle, positive to the left.

    Args:
        left, right: (points, 3), metres, seen in the direction of travel from above.
        along_m: (points,), u of each pair.
    """
    half = 0.5 * np.linalg.norm(left - right, axis=1)
    one = np.ones_like(half)
    points = np.stack([right, left], axis=0)
    at = np.stack([np.stack([along_m, -half, one], axis=1), np.stack([along_m, half, one], axis=1)], axis=0)
    return _sheet(points, at, material, facing_up=True)


def _sheet(
    points: NDArray[np.float64], at: NDArray[np.float64], material: NDArray[np.int32] | int, *, facing_up: bool
) -> Mesh:
    """Triangles of a (rows, columns, 3) grid of points; cells without area are left out."""
    corner = [slice(None, -1), slice(1, None)]
    order = [(0, 0), (0, 1), (1, 1), (1, 0)] if facing_up else [(0, 0), (1, 0), (1, 1), (0, 1)]
    quad = np.stack([points[corner[r], corner[c]] for r, c in order], axis=-2).reshape(-1, 4, 3)
    quad_at = np.stack([at[corner[r], corner[c]] for r, c in order], axis=-2).reshape(-1, 4, 3)
    rows = np.broadcast_to(np.asarray(material, dtype=np.int32), (points.shape[0] - 1, points.shape[1] - 1)).reshape(-1)
    halves = [[0, 1, 2], [0, 2, 3]]
    corners = quad[:, halves].reshape(-1, 3, 3)
    keep = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) > 1e-12
    surface = quad_at[:, halves].reshape(-1, 3, 3).astype(np.float32)
    return Mesh(corners[keep], surface[keep], np.repeat(rows, 2)[keep])


def _fan(outline: NDArray[np.float64], openness: float, material: int) -> Mesh:
    count = outline.shape[0] - 2
    corners = np.stack([np.repeat(outline[:1], count, axis=0), outline[1:-1], outline[2:]], axis=1)
    at = np.concatenate([corners[..., :2], np.full((count, 3, 1), openness)], axis=2)
    return _soup(corners, at, material)


def _quad(corners: NDArray[np.float64], at: NDArray[np.float64], material: int) -> Mesh:
    return _soup(corners[[[0, 1, 2], [0, 2, 3]]], at[[[0, 1, 2], [0, 2, 3]]], material)


def _soup(corners: NDArray[np.float64], at: NDArray[np.float64], material: int) -> Mesh:
    return Mesh(
        np.ascontiguousarray(corners, dtype=np.float64),
        at.astype(np.float32),
        np.full(corners.shape[0], material, dtype=np.int32),
    )
