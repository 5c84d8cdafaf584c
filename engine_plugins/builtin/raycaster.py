"""Rays into a scene at one moment: what they hit and whether they are blocked.

The static world's tree is built once. All instances share a second, small one that is rebuilt when time moves on: for a
few thousand triangles that takes a millisecond, less than sending the rays through each instance's own frame.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .mesh import merge
from .open3d_import import load_open3d
from .scene import Scene

__all__ = ["Hits", "Raycaster"]


class Hits(NamedTuple):
    """What rays hit; every array has one entry per ray.

    distance: (n,) float32, in lengths of the ray's direction; inf where nothing was hit, the others then mean nothing.
    triangle: (n,) int64, the world's first, then the instances' in their order.
    weights: (n, 3) float32, barycentric coordinates of the triangle's corners.
    """

    distance: NDArray[np.float32]
    triangle: NDArray[np.int64]
    weights: NDArray[np.float32]


class Raycaster:
    """A scene's triangles, at the time that `move_to` was given.

    Args:
        scene: what to cast rays into.
        threads: of the CPU for rays; 0 takes all.

    Attributes:
        surface: (triangles, 3 corners, 3) float32, as in `Mesh`, world first.
        material: (triangles,) int32.
        instance: (triangles,) int64, index into `scene.instances`; -1 for the world.
        normal: (triangles, 3) float32, unit, in the world, at the current time.
        transforms: (instances, 4, 4) float64, `world_from_instance` at the current time.
    """

    def __init__(self, scene: Scene, *, threads: int = 1) -> None:
        self._scene = scene
        self._threads = threads
        self._open3d = load_open3d()
        meshes = [scene.world, *(instance.mesh for instance in scene.instances)]
        whole = merge(meshes)
        self.surface = whole.surface
        self.material = whole.material
        counts = [mesh.triangles for mesh in meshes]
        self.instance = np.repeat(np.arange(-1, len(scene.instances)), counts)
        self._first_moving = counts[0]
        ends = np.cumsum([0, *counts[1:]])
        self._spans = [slice(int(low), int(high)) for low, high in pairwise(ends)]
        self._moving_corners = whole.corners[self._first_moving :]
        self._moving_normal = _normals(self._moving_corners)
        self.normal = np.empty((whole.triangles, 3), np.float32)
        self.normal[: self._first_moving] = _normals(scene.world.corners)
        self._world = self._tree(scene.world.corners)
        self._moving: Any = None
        self._time_s = float("nan")
        self.transforms = np.zeros((0, 4, 4))

    def move_to(self, time_s: float) -> None:
        """Put every instance where it is at a time."""
        if time_s == self._time_s:
            return
        self._time_s = time_s
        self.transforms = self._scene.transforms(time_s)
        if self._moving_corners.shape[0]:
            corners = np.empty_like(self._moving_corners)
            normal = self.normal[self._first_moving :]
            for span, matrix in zip(self._spans, self.transforms, strict=True):
                rotation = matrix[:3, :3].T
                np.matmul(self._moving_corners[span], rotation, out=corners[span])
                corners[span] += matrix[:3, 3]
                np.matmul(self._moving_normal[span], rotation.astype(np.float32), out=normal[span])
            self._moving = self._tree(corners)

    def cast(self, origin: NDArray[np.float64], direction: NDArray[np.float32]) -> Hits:
        """Return the first hit of each ray from one origin, (3,); `direction` (n, 3) of any length."""
        rays = self._rays(origin, direction)
        distance, triangle, weights = self._cast_into(self._world, rays)
        if self._moving is not None:
            moving_distance, moving_triangle, moving_weights = self._cast_into(self._moving, rays)
            nearer = np.flatnonzero(moving_distance < distance)
            distance[nearer] = moving_distance[nearer]
            triangle[nearer] = moving_triangle[nearer] + self._first_moving
            weights[nearer] = moving_weights[nearer]
        return Hits(distance, triangle, weights)

    def blocked(
        self, origin: NDArray[np.floating[Any]], direction: NDArray[np.floating[Any]], *, until: float = float("inf")
    ) -> NDArray[np.bool_]:
        """Return whether something lies on each ray, (n,), nearer than `until` lengths of its direction.

        Args:
            origin, direction: (3,) or (n, 3).
            until: in lengths of the direction.
        """
        rays = self._rays(origin, direction)
        result: NDArray[np.bool_] = self._world.test_occlusions(rays, tfar=until, nthreads=self._threads).numpy()
        if self._moving is not None:
            result = result | self._moving.test_occlusions(rays, tfar=until, nthreads=self._threads).numpy()
        return result

    def _rays(self, origin: NDArray[np.floating[Any]], direction: NDArray[np.floating[Any]]) -> Any:
        count = max(origin.size, direction.size) // 3
        rays = np.empty((count, 6), np.float32)
        rays[:, :3] = origin
        rays[:, 3:] = direction
        return self._open3d.core.Tensor.from_numpy(rays)

    def _cast_into(self, tree: Any, rays: Any) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        answer = tree.cast_rays(rays, nthreads=self._threads)
        distance = answer["t_hit"].numpy().copy()
        triangle = answer["primitive_ids"].numpy().astype(np.int64)
        uv = answer["primitive_uvs"].numpy()
        triangle[np.isinf(distance)] = 0
        weights = np.empty((distance.size, 3), np.float32)
        weights[:, 1:] = uv
        weights[:, 0] = 1.0 - uv[:, 0] - uv[:, 1]
        return distance, triangle, weights

    def _tree(self, corners: NDArray[np.float64]) -> Any:
        tensor = self._open3d.core.Tensor.from_numpy
        tree = self._open3d.t.geometry.RaycastingScene(nthreads=self._threads)
        indices = np.arange(corners.shape[0] * 3, dtype=np.uint32).reshape(-1, 3)
        tree.add_triangles(tensor(corners.reshape(-1, 3).astype(np.float32)), tensor(indices))
        return tree


def _normals(corners: NDArray[np.float64]) -> NDArray[np.float32]:
    ax, ay, az = (corners[:, 1] - corners[:, 0]).T
    bx, by, bz = (corners[:, 2] - corners[:, 0]).T
    normal = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
    normal /= np.sqrt(np.maximum((normal * normal).sum(axis=1, keepdims=True), 1e-60))
    return normal.astype(np.float32)
