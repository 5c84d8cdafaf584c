"""Terrain: soft hills, levelled along roads and inside clearings, with a rim that closes the horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .mesh import Mesh, heightfield
from .motion import LoopPath

__all__ = ["Ground"]

_F = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """The height of the land at any place.

    Args:
        waves: (n, 4) rows of wave numbers (1/m) in x and y, phase, amplitude (m).
        rim: (height in metres, distance at which it begins to rise).
        roads: paths along which the land is level across.
        level_m: half-width of the level strip.
        blend_m: distance from a road at which the land is free again.
    """

    waves: _F
    rim: tuple[float, float]
    roads: tuple[LoopPath, ...] = ()
    level_m: float = 14.0
    blend_m: float = 34.0

    @classmethod
    def rolling(cls, rng: np.random.Generator, *, relief_m: float, rim: tuple[float, float]) -> Ground:
        """Return hills of about `relief_m`, 90 to 240 m from crest to crest."""
        count = 5
        length, angle = rng.uniform(90.0, 240.0, count), rng.uniform(0.0, 2.0 * np.pi, count)
        number = 2.0 * np.pi / length
        amplitude = relief_m * length / length.sum()
        phase = rng.uniform(0.0, 2.0 * np.pi, count)
        return cls(np.stack([number * np.cos(angle), number * np.sin(angle), phase, amplitude], axis=1), rim)

    def wild(self, x: _F, y: _F) -> _F:
        """Return the height without roads; x, y of any one shape."""
        kx, ky, phase, amplitude = self.waves.T
        hills = (amplitude * np.sin(x[..., None] * kx + y[..., None] * ky + phase)).sum(axis=-1)
        height, begins = self.rim
        distance, angle = np.hypot(x, y), np.arctan2(y, x)
        crest = 0.7 + 0.2 * np.sin(5 * angle + self.waves[0, 2]) + 0.1 * np.sin(13 * angle + self.waves[1, 2])
        rise = np.clip((distance - begins) / 260.0, 0.0, 1.0)
        land: _F = hills + height * crest * rise * rise * (3 - 2 * rise)
        return land

    def at(self, x: _F, y: _F) -> _F:
        """Return the height of the land; x, y of any one shape."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        height = self.wild(x, y)
        flat = np.stack([x.ravel(), y.ravel()], axis=1)
        for road in self.roads:
            distance, level = (value.reshape(x.shape) for value in road.nearest(flat))
            share = np.clip((distance - self.level_m) / (self.blend_m - self.level_m), 0.0, 1.0)
            share = share * share * (3 - 2 * share)
            height = level + (height - level) * share
        return height

    def mesh(self, *, half_m: float, cell_m: float, material: int, reach_m: float = 900.0) -> Mesh:
        """Return the land: cells of `cell_m` up to `half_m` from the middle, ever larger ones beyond, to `reach_m`."""
        inner = np.linspace(-half_m, half_m, 2 * max(1, round(half_m / cell_m)) + 1)
        outer = half_m + (reach_m - half_m) * (np.arange(1, 15) / 14.0) ** 1.6
        line = np.concatenate([-outer[::-1], inner, outer])
        x, y = np.meshgrid(line, line)
        return heightfield(line, line, self.at(x, y), material=material)
