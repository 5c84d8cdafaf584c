"""The followed grid: bound to the surfaces under it, carried by whatever moves them.

A seed is bound to (instance, three vertices, barycentric coordinates) by what its pixel shows. At another moment it is
where these vertices are then: modifiers, armatures, shape keys and instances all end in vertex positions and matrices.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.conventions import Convention
from bridge.geometry.projection import seed_points
from bridge.geometry.seeds import seed_pixels
from bridge.geometry.visibility import visibility
from bridge.tick import TRACK_COUNT, TrackSet, Visibility

from .surfaces import Surface
from .view import View

__all__ = ["FollowedGrid"]


@dataclass(frozen=True, slots=True, eq=False)
class _Binding:
    """The seeds on one surface: which they are, the vertices they hang on, and how."""

    topology: tuple[int, int, int]
    seeds: NDArray[np.int64]
    vertices: NDArray[np.int64]
    weights: NDArray[np.float64]

    def points(self, surface: Surface) -> NDArray[np.float64]:
        in_object = np.einsum("nc,ncd->nd", self.weights, surface.mesh.vertices[self.vertices])
        matrix = surface.world_from_object
        in_world: NDArray[np.float64] = in_object @ matrix[:3, :3].T + matrix[:3, 3]
        return in_world


@dataclass(frozen=True, slots=True, eq=False)
class FollowedGrid:
    """The 2,500 points of one clip.

    Args:
        bindings: by the surface's key.
        sky: (2500, 4) float64, our world: the directions of seeds that hit nothing, w = 0; other rows do not count.
        convention: of the scene, with its unit.
    """

    bindings: dict[Hashable, _Binding]
    sky: NDArray[np.float64]
    convention: Convention

    @classmethod
    def seeded(cls, view: View, convention: Convention) -> FollowedGrid:
        """Return the grid that begins on a view."""
        lens = view.camera.intrinsics
        rows, columns = seed_pixels(lens.width, lens.height)
        triangle = view.raster.triangle[rows, columns]
        hit = np.flatnonzero(triangle >= 0)
        weights = view.raster.barycentric(rows[hit], columns[hit])
        owner = np.searchsorted(view.first, triangle[hit], side="right") - 1
        bindings: dict[Hashable, _Binding] = {}
        for number in np.unique(owner):
            mine = owner == number
            surface = view.surfaces[int(number)]
            corners = surface.mesh.triangles[triangle[hit[mine]] - view.first[number]]
            bindings[surface.key] = _Binding(surface.mesh.topology, hit[mine], corners, weights[mine])
        return cls(bindings, seed_points(view.depth, view.camera).astype(np.float64), convention)

    def points(self, surfaces: list[Surface]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return where the points are.

        Returns:
            points: p_in_world, homogeneous, (2500, 4) float32, metres.
            lost: (2500,) bool: the surface is gone, or its faces are other ones.
        """
        points = self.sky.copy()
        lost = np.zeros(TRACK_COUNT, np.bool_)
        by_key = {surface.key: surface for surface in surfaces}
        for key, binding in self.bindings.items():
            surface = by_key.get(key)
            if surface is None or surface.mesh.topology != binding.topology:
                lost[binding.seeds] = True
            else:
                points[binding.seeds, :3] = self.convention.points(binding.points(surface))
        return points.astype(np.float32), lost

    def start(self, view: View) -> TrackSet:
        """Return the set at the moment it was seeded: every point is seen."""
        points, _ = self.points(view.surfaces)
        return TrackSet(points, np.full(TRACK_COUNT, Visibility.VISIBLE, np.uint8))

    def at(self, view: View) -> TrackSet:
        """Return the set at the moment of a view."""
        points, lost = self.points(view.surfaces)
        seen = visibility(points, view.camera, view.depth)
        seen[lost] = Visibility.LOST
        return TrackSet(points, seen)
