"""One look at the scene: depth, and which point of which surface every pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.camera import Camera

from .camera import CapturedCamera
from .raster import Raster, rasterise
from .surfaces import Surface

__all__ = ["View", "look_at_surfaces"]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a camera sees of surfaces.

    Args:
        camera: lens and pose, metres.
        surfaces: that it looked at.
        depth: (height, width) float32, planar metres; inf where nothing was hit.
        raster: triangle and place on it under each pixel.
        first: (surfaces + 1,) int64, number of each surface's first triangle in the raster.
    """

    camera: Camera
    surfaces: list[Surface]
    depth: NDArray[np.float32]
    raster: Raster
    first: NDArray[np.int64]


def look_at_surfaces(surfaces: list[Surface], captured: CapturedCamera, *, metres_per_unit: float) -> View:
    """Return what the camera sees."""
    counts = [len(surface.mesh.triangles) for surface in surfaces]
    first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
    corners = np.empty((int(first[-1]), 3, 3))
    for surface, begin, end in zip(surfaces, first[:-1], first[1:], strict=True):
        camera_from_object = captured.camera_from_world @ surface.world_from_object
        in_camera = surface.mesh.vertices @ camera_from_object[:3, :3].T + camera_from_object[:3, 3]
        np.take(in_camera, surface.mesh.triangles, axis=0, out=corners[begin:end])
    raster = rasterise(corners, captured.camera.intrinsics, near=captured.near, far=captured.far)
    depth = raster.depth * np.float32(metres_per_unit)
    return View(captured.camera, surfaces, depth, raster, first)
