"""The followed grid on a scene: seeded on a view, carried by rigid bodies, seen or hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.camera import Camera
from bridge.geometry.projection import project, seed_points, unproject_pixels
from bridge.geometry.seeds import seed_pixels
from bridge.tick import TrackSet, Visibility

from .raycaster import Raycaster
from .rendering import View
from .scene import Scene

__all__ = ["FollowedGrid"]


@dataclass(frozen=True, slots=True, eq=False)
class FollowedGrid:
    """The 2,500 points of one clip, fixed to the bodies that they were seeded on.

    Bodies are rigid, so a point is its place in its body's frame; that is the same as a triangle and barycentric
    coordinates, without their rounding.

    Args:
        ids: (2500,) uint32, instance under each seed; 0 for the world and the sky.
        body: (2500,) int64, index into the scene's instances; -1 for the world and the sky.
        in_body: (2500, 4) float64 homogeneous, in the body's frame (the world's own where there is none).
    """

    ids: NDArray[np.uint32]
    body: NDArray[np.int64]
    in_body: NDArray[np.float64]

    @classmethod
    def seeded(cls, scene: Scene, view: View, transforms: NDArray[np.float64]) -> FollowedGrid:
        """Return the grid that begins on a view, with the (instances, 4, 4) transforms of the same moment."""
        lens = view.camera.intrinsics
        # From the float32 seeds, not from the rays: whoever follows them from the wire then gets the same points.
        points = seed_points(view.depth, view.camera).astype(np.float64)
        return cls._bound(scene, view.instance_ids[seed_pixels(lens.width, lens.height)], points, transforms)

    @classmethod
    def of_all_pixels(cls, scene: Scene, view: View, transforms: NDArray[np.float64]) -> FollowedGrid:
        """Return a grid of what every pixel of a view sees, row by row: height * width points instead of 2,500."""
        lens = view.camera.intrinsics
        rows, columns = (index.ravel() for index in np.indices(view.depth.shape))
        points = unproject_pixels(view.depth, rows, columns, intrinsics=lens) @ view.camera.world_from_camera.matrix.T
        return cls._bound(scene, view.instance_ids.ravel(), points, transforms)

    @classmethod
    def _bound(
        cls, scene: Scene, ids: NDArray[np.uint32], points: NDArray[np.float64], transforms: NDArray[np.float64]
    ) -> FollowedGrid:
        """Fix points in the world to the bodies that they are on."""
        index = {instance.id: i for i, instance in enumerate(scene.instances)}
        body = np.array([index.get(int(i), -1) for i in ids], dtype=np.int64)
        moving = np.flatnonzero(body >= 0)
        if moving.size:
            body_from_world = np.linalg.inv(transforms)[body[moving]]
            points[moving] = np.einsum("nij,nj->ni", body_from_world, points[moving])
        return cls(ids, body, points)

    def points(self, transforms: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the points in the world, (2500, 4) float32 homogeneous, where the bodies stand as given."""
        points = self.in_body.copy()
        moving = np.flatnonzero(self.body >= 0)
        if moving.size:
            points[moving] = np.einsum("nij,nj->ni", transforms[self.body[moving]], points[moving])
        return points.astype(np.float32)

    def at(self, raycaster: Raycaster, camera: Camera) -> TrackSet:
        """Return the set at the raycaster's moment: visible where the camera's ray to the point is free."""
        points = self.points(raycaster.transforms)
        uv, _, in_front = project(points, camera)
        with np.errstate(invalid="ignore"):
            framed = np.flatnonzero(in_front & (uv >= 0).all(axis=1) & (uv <= 1).all(axis=1))
        visibility = np.full(points.shape[0], Visibility.OCCLUDED, np.uint8)
        eye = camera.world_from_camera.matrix[:3, 3]
        for surface in (True, False):
            chosen = framed[(points[framed, 3] == 1) == surface]
            if chosen.size:
                towards = points[chosen, :3].astype(np.float64) - (eye if surface else 0.0)
                # A ray ends a thousandth before its point, which lies on a surface itself.
                blocked = raycaster.blocked(eye, towards, until=0.999 if surface else float("inf"))
                visibility[chosen[~blocked]] = Visibility.VISIBLE
        return TrackSet(points, visibility)
