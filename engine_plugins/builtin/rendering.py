"""Pictures of a scene: colour, exact depth and instance ids.

Depth and ids come from the rays through the pixels' centres, and from nothing else: they are what the followed points
are seeded on. Colour is shaded at the same hits, and with three rays more wherever a pixel borders on another surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.geometry.camera import Camera, Intrinsics
from bridge.tick import FPS

from .atmosphere import to_srgb8
from .raycaster import Hits, Raycaster
from .scene import Scene
from .textures import paint

__all__ = ["RenderedFrame", "Renderer", "View"]

# Three places in the pixel beside its centre: no two of the four share a row or a column.
_SUBPIXELS: Final = ((0.15, 0.3), (0.75, 0.1), (0.35, 0.85))


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What the camera sees at one tick, without colour.

    Args:
        camera: what saw it.
        depth: (height, width) float32, planar metres, inf for the sky.
        instance_ids: (height, width) uint32, 0 for the static world and the sky.
    """

    camera: Camera
    depth: NDArray[np.float32]
    instance_ids: NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class RenderedFrame(View):
    """A view with its picture: `rgb` is (height, width, 3) uint8 sRGB."""

    rgb: NDArray[np.uint8]


class Renderer:
    """Looks at a scene with its own camera, tick by tick; tick i shows the time i / 16 s.

    Args:
        scene: what to look at.
        width, height: of the pictures, pixels.
        shadows: whether the sun casts them.
        threads: of the CPU for rays; 0 takes all.

    Raises:
        InvalidValue: a size is not positive.
    """

    def __init__(self, scene: Scene, *, width: int, height: int, shadows: bool = True, threads: int = 1) -> None:
        if width <= 0 or height <= 0:
            raise InvalidValue(
                "must be positive",
                field="size",
                value=f"{width} x {height}",
                remedy="Give the picture's size in pixels.",
            )
        self.scene = scene
        self.intrinsics = Intrinsics.from_fov(fov_x_rad=scene.fov_x_rad, width=width, height=height)
        self.raycaster = Raycaster(scene, threads=threads)
        self._shadows = shadows
        self._ids = np.array([0, *(instance.id for instance in scene.instances)], dtype=np.uint32)
        column, row = np.meshgrid(np.arange(width), np.arange(height))
        self._corner = np.stack([column.ravel(), row.ravel()], axis=1).astype(np.float64)
        self._centre_rays = self._rays_in_camera(self._corner + 0.5)
        self._latest: tuple[int, tuple[View, Hits, NDArray[np.float32]]] | None = None

    def camera(self, index: int) -> Camera:
        """Return the camera at a tick."""
        return Camera(self.intrinsics, self.scene.camera(index / FPS))

    def look(self, index: int) -> View:
        """Return depth and ids at a tick; a few milliseconds for a small picture.

        Raises:
            InvalidValue: the index is negative.
        """
        return self._look(index)[0]

    def render(self, index: int) -> RenderedFrame:
        """Return the picture at a tick.

        Raises:
            InvalidValue: the index is negative.
        """
        view, hits, direction = self._look(index)
        origin = view.camera.world_from_camera.matrix[:3, 3]
        colour = self._shade(origin, direction, hits)
        edges = np.flatnonzero(self._borders(hits, view.depth).ravel())
        if edges.size:
            rotation = view.camera.world_from_camera.matrix[:3, :3]
            spots = (self._corner[edges, None, :] + np.array(_SUBPIXELS)).reshape(-1, 2)
            finer = (self._rays_in_camera(spots) @ rotation.T).astype(np.float32)
            finer_colour = self._shade(origin, finer, self.raycaster.cast(origin, finer))
            # Mixing what is shown, not the light, keeps a bright sky from eating thin dark things.
            mixed = np.sqrt(np.minimum(finer_colour, 1.0)).reshape(-1, len(_SUBPIXELS), 3).sum(axis=1)
            mixed += np.sqrt(np.minimum(colour[edges], 1.0))
            colour[edges] = (mixed / (len(_SUBPIXELS) + 1)) ** 2
        rgb = to_srgb8(colour).reshape(self.intrinsics.height, self.intrinsics.width, 3)
        return RenderedFrame(view.camera, view.depth, view.instance_ids, rgb)

    def _look(self, index: int) -> tuple[View, Hits, NDArray[np.float32]]:
        if index < 0:
            raise InvalidValue("must not be negative", field="index", value=index, remedy="Count ticks from 0.")
        self.raycaster.move_to(index / FPS)
        if self._latest is not None and self._latest[0] == index:
            # A tick and its picture are asked for one after the other: the same rays.
            return self._latest[1]
        camera = self.camera(index)
        pose = camera.world_from_camera.matrix
        # The rays' z in the camera frame is 1, so the distance along them IS planar depth.
        direction = (self._centre_rays @ pose[:3, :3].T).astype(np.float32)
        hits = self.raycaster.cast(pose[:3, 3], direction)
        shape = (self.intrinsics.height, self.intrinsics.width)
        body = np.where(np.isinf(hits.distance), -1, self.raycaster.instance[hits.triangle])
        view = View(camera, hits.distance.reshape(shape), self._ids[body + 1].reshape(shape))
        self._latest = index, (view, hits, direction)
        return self._latest[1]

    def _rays_in_camera(self, pixel: NDArray[np.float64]) -> NDArray[np.float64]:
        lens = self.intrinsics
        x = (pixel[:, 0] - lens.cx_px) / lens.fx_px
        y = (pixel[:, 1] - lens.cy_px) / lens.fy_px
        return np.stack([x, y, np.ones_like(x)], axis=1)

    def _borders(self, hits: Hits, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels next to another material, another side of a thing, or a jump in depth, (height, width)."""
        hit = np.isfinite(depth)
        facing = self.raycaster.normal[hits.triangle].reshape(*depth.shape, 3)
        kind = np.where(hit, self.raycaster.material[hits.triangle].reshape(depth.shape), -1)
        near = np.where(hit, 1.0 / np.maximum(depth, 1e-6), 0.0)
        borders = np.zeros(depth.shape, np.bool_)
        for axis in (0, 1):
            low = tuple(slice(None, -1) if i == axis else slice(None) for i in range(2))
            high = tuple(slice(1, None) if i == axis else slice(None) for i in range(2))
            differs = kind[low] != kind[high]
            differs |= hit[low] & (np.einsum("hwc,hwc->hw", facing[low], facing[high]) < 0.9)
            # Disparity is linear over a plane, so a jump is a step beyond what perspective can make of one pixel.
            differs |= np.abs(near[low] - near[high]) > 0.12 * np.maximum(near[low], near[high])
            borders[low] |= differs
            borders[high] |= differs
        return borders

    def _shade(self, origin: NDArray[np.float64], direction: NDArray[np.float32], hits: Hits) -> NDArray[np.float32]:
        """Linear colour of rays, (n, 3)."""
        air = self.scene.atmosphere
        length = np.sqrt(np.einsum("nc,nc->n", direction, direction))
        unit = direction / length[:, None]
        colour = np.empty_like(direction)
        is_hit = np.isfinite(hits.distance)
        at, above = np.flatnonzero(is_hit), np.flatnonzero(~is_hit)
        if above.size:
            colour[above] = air.sky(unit.take(above, axis=0))
        if at.size == 0:
            return colour
        unit, triangle, along = unit.take(at, axis=0), hits.triangle.take(at), hits.distance.take(at)
        distance_m = along * length.take(at)
        normal = self.raycaster.normal.take(triangle, axis=0)
        cosine = np.einsum("nc,nc->n", normal, unit)
        normal *= -np.sign(cosine)[:, None]
        cosine = np.abs(cosine)
        weights = hits.weights.take(at, axis=0)
        surface = np.einsum("nk,nkc->nc", weights, self.raycaster.surface.take(triangle, axis=0))
        # Half way between the footprint across and along the view: sharp enough on roads, calm enough far away.
        footprint = distance_m / np.float32(self.intrinsics.fx_px) / np.sqrt(np.maximum(cosine, 0.02))
        painted = paint(self.scene.materials, self.raycaster.material.take(triangle), surface[:, :2], footprint)
        point = origin.astype(np.float32) + along[:, None] * direction.take(at, axis=0)
        light = air.light(normal, self._sunlit(point, normal, distance_m), surface[:, 2])
        seen = painted.colour * (light + painted.glow[:, None])
        glossy = np.flatnonzero(painted.gloss > 0)
        if glossy.size:
            mirrored = unit[glossy] + 2.0 * cosine[glossy, None] * normal[glossy]
            fresnel = painted.gloss[glossy] * (0.12 + 0.88 * (1.0 - cosine[glossy]) ** 4)
            seen[glossy] += (air.sky(mirrored, detailed=False) - seen[glossy]) * fresnel[:, None]
        colour[at] = air.hazed(seen, unit, distance_m)
        return colour

    def _sunlit(
        self, point: NDArray[np.float32], normal: NDArray[np.float32], distance_m: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Share of the sun that falls on points, its cosine included, (n,)."""
        to_sun = self.scene.atmosphere.to_sun.astype(np.float32)
        share: NDArray[np.float32] = np.maximum(normal @ to_sun, 0.0)
        facing = np.flatnonzero(share > 0)
        if self._shadows and facing.size:
            # Off the surface by more than a float32 ray is wrong, so that no surface shades itself.
            lift = (0.01 + 2e-4 * distance_m.take(facing))[:, None]
            shaded = self.raycaster.blocked(point.take(facing, axis=0) + lift * normal.take(facing, axis=0), to_sun)
            share[facing[shaded]] = 0.0
        return share
