"""A scene: a static world, rigid instances that move, materials, light, a camera and a caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue

from .atmosphere import Atmosphere
from .materials import MaterialTable
from .mesh import Mesh
from .motion import CameraMotion, Motion

__all__ = ["Instance", "Scene"]


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A rigid body that moves.

    Args:
        id: greater than 0, which is the static world's.
        mesh: in the body's own frame, x forward, z up.
        motion: `world_from_instance` at a time.
    """

    id: int
    mesh: Mesh
    motion: Motion


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All of a procedural scene; equal seeds of one family give equal scenes.

    Args:
        family, seed: what it was made from.
        caption: what the video shows, for a prompt.
        world: everything that stands still.
        instances: everything that moves, with unique ids.
        materials: the rows that all meshes refer to.
        atmosphere: sun, sky and haze.
        camera: where the camera is at a time.
        fov_x_rad: its horizontal field of view.

    Raises:
        InvalidValue: an id is not positive, or used twice.
    """

    family: str
    seed: int
    caption: str
    world: Mesh
    instances: tuple[Instance, ...]
    materials: MaterialTable
    atmosphere: Atmosphere
    camera: CameraMotion
    fov_x_rad: float

    def __post_init__(self) -> None:
        ids = [instance.id for instance in self.instances]
        if len(set(ids)) != len(ids) or any(i <= 0 for i in ids):
            raise InvalidValue(
                "must be positive and unique", field="instances.id", value=ids, remedy="0 is the static world."
            )

    def transforms(self, time_s: float) -> NDArray[np.float64]:
        """Return `world_from_instance` of every instance, in order, (n, 4, 4) float64."""
        if not self.instances:
            return np.zeros((0, 4, 4))
        return np.stack([instance.motion(time_s) for instance in self.instances])
