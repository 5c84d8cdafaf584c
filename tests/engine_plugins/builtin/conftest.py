"""A scene small enough to compute by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge.geometry.camera import Pose
from engine_plugins.builtin import Instance, Scene
from engine_plugins.builtin.atmosphere import Atmosphere
from engine_plugins.builtin.materials import Materials
from engine_plugins.builtin.mesh import cuboid
from engine_plugins.builtin.palettes import WEATHERS


@dataclass(frozen=True)
class Straight:
    """A body that moves along +y at 2 m/s and turns about z at 0.3 rad/s, from (8, 0, 0)."""

    def __call__(self, time_s: float) -> NDArray[np.float64]:
        c, s = np.cos(0.3 * time_s), np.sin(0.3 * time_s)
        matrix = np.eye(4)
        matrix[:2, :2] = [[c, -s], [s, c]]
        matrix[:3, 3] = (8.0, 2.0 * time_s, 0.0)
        return matrix


@dataclass(frozen=True)
class Still:
    """A camera that stands at (0, 0, 1) and looks along +x."""

    def __call__(self, time_s: float) -> Pose:
        return Pose.look_at((0.0, 0.0, 1.0), (1.0, 0.0, 1.0))


def two_boxes() -> Scene:
    """A wall whose face is x = 12, y -4..4, z 0..4, and a cube of 2 m (id 7) that moves in front of it."""
    materials = Materials()
    grey = materials.plain("808080")
    return Scene(
        family="test",
        seed=0,
        caption="Two boxes.",
        world=cuboid((2.0, 8.0, 4.0), side=grey, at=(13.0, 0.0, 0.0)),
        instances=(Instance(7, cuboid((2.0, 2.0, 2.0), side=grey), Straight()),),
        materials=materials.table(),
        atmosphere=Atmosphere.of(WEATHERS[1], np.random.default_rng(0)),
        camera=Still(),
        fov_x_rad=float(np.pi / 2),
    )


@pytest.fixture(scope="session")
def boxes() -> Scene:
    return two_boxes()
