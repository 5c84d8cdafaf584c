"""The family `plaza`: a paved square with a monument, toys and pieces of art, balls that roll and people who stroll.

Everything stands or moves on rings about the middle; the camera has one ring for itself and so never meets anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .atmosphere import Atmosphere, Weather
from .ground import Ground
from .materials import Materials, Pattern
from .mesh import Mesh, cuboid, merge, placement, polygon, prism, sphere
from .motion import CameraMotion, Hover, Motion, OrbitCamera, Roll, Spin, Swing
from .palettes import Palette, pick_palette, pick_weather
from .props import choose, house, lamp, person, tower, trees
from .scene import Instance, Scene

__all__ = ["plaza"]

_RING_M: Final = 3.6
_CLEAR_M: Final = 3.4


@dataclass(slots=True)
class _Plan:
    """What the parts of a square agree on while it is built."""

    rng: np.random.Generator
    palette: Palette
    weather: Weather
    materials: Materials
    radius_m: float
    camera_ring_m: float
    parts: list[Mesh]
    moving: list[tuple[Mesh, Motion]]

    def paint(self) -> int:
        """A new material in one of the place's colours, plain or patterned."""
        first, second = choose(self.rng, self.palette.paints), choose(self.rng, self.palette.walls)
        pattern = (Pattern.PLAIN, Pattern.CHECKS, Pattern.BANDS, Pattern.STRIPES, Pattern.BLOCKS)[
            int(self.rng.integers(5))
        ]
        size = float(self.rng.uniform(0.5, 1.1))
        return self.materials.add(pattern, first, second, size=(size, size), gloss=0.25)


def plaza(seed: int) -> Scene:
    """Return the square of a seed."""
    rng = np.random.default_rng([seed, 2])
    radius = float(rng.uniform(32.0, 52.0))
    plan = _Plan(
        rng, pick_palette(rng), pick_weather(rng), Materials(), radius, float(rng.uniform(0.32, 0.8)) * radius, [], []
    )
    _pave(plan)
    _enclose(plan)
    _erect_middle(plan)
    rings = [ring for ring in np.arange(7.4, radius - 4.0, _RING_M) if abs(ring - plan.camera_ring_m) > _CLEAR_M]
    first = int(rng.integers(2))
    for i, ring in enumerate(rings):
        (_fill_ring if i % 2 == first else _move_on_ring)(plan, float(ring))
    camera, words = _camera(plan)
    return Scene(
        family="plaza",
        seed=seed,
        caption=(
            f"A paved square in {plan.palette.name} colours {plan.weather.name}, with sculptures, rolling balls "
            f"and people, {words}."
        ),
        world=merge(plan.parts),
        instances=tuple(Instance(i + 1, mesh, motion) for i, (mesh, motion) in enumerate(plan.moving)),
        materials=plan.materials.table(),
        atmosphere=Atmosphere.of(plan.weather, rng),
        camera=camera,
        fov_x_rad=float(np.radians(rng.uniform(55.0, 78.0))),
    )


def _pave(plan: _Plan) -> None:
    rng, palette = plan.rng, plan.palette
    patterns = (Pattern.TILES, Pattern.CHECKS, Pattern.BLOCKS)
    size = float(rng.uniform(1.6, 4.5))
    floor = plan.materials.add(
        patterns[int(rng.integers(3))], palette.paving, palette.stone, choose(rng, palette.walls), size=(size, size)
    )
    land = plan.materials.add(Pattern.MOTTLE, *palette.grass, size=(12.0, 12.0))
    ground = Ground.rolling(rng, relief_m=0.0, rim=(rng.uniform(10.0, 60.0), 120.0))
    plan.parts.append(ground.mesh(half_m=100.0, cell_m=10.0, material=land, reach_m=700.0))
    plan.parts.append(prism(polygon(48, plan.radius_m), -1.0, 0.12, side=floor))
    ring = plan.materials.plain(choose(rng, palette.paints))
    plan.parts.append(prism(polygon(32, 6.0), 0.0, 0.3, side=ring, cap=floor, foot=0.7))


def _enclose(plan: _Plan) -> None:
    """Houses and trees around the square, fronts towards it."""
    rng = plan.rng
    angle = 0.0
    kinds = trees(plan.materials, plan.palette)
    while angle < 2 * np.pi - 0.25:
        length, width, height = rng.uniform(10.0, 20.0), rng.uniform(8.0, 12.0), rng.uniform(5.0, 20.0)
        span = (length + rng.uniform(0.5, 6.0)) / plan.radius_m
        middle = angle + 0.5 * span
        angle += span
        out = plan.radius_m + 2.0 + 0.5 * width + length * length / (8.0 * plan.radius_m)
        spot = (out * np.cos(middle), out * np.sin(middle), 0.0)
        if rng.random() < 0.75:
            build = tower if height > 8.0 else house
            mesh = build(rng, plan.materials, plan.palette, (length, width, height), plan.weather.lamps)
            plan.parts.append(mesh.placed(placement(spot, yaw_rad=middle - 0.5 * np.pi)))
        else:
            for shift in (-0.3, 0.0, 0.3):
                turn = middle + shift * span
                at = (out * np.cos(turn), out * np.sin(turn), 0.0)
                plan.parts.append(
                    kinds[int(rng.integers(len(kinds)))].placed(placement(at, scale=rng.uniform(0.9, 1.6)))
                )


def _erect_middle(plan: _Plan) -> None:
    """A monument in the middle: column, steps with a ball, or a carousel that turns."""
    rng = plan.rng
    kind = int(rng.integers(3))
    if kind == 0:
        plan.parts.append(prism(polygon(8, 2.0), 0.3, 2.0, side=plan.paint(), foot=0.6))
        plan.parts.append(prism(polygon(10, 0.9), 2.0, rng.uniform(7.0, 13.0), side=plan.paint(), taper=0.7))
    elif kind == 1:
        for step in range(5):
            height = 0.3 + 0.7 * step
            plan.parts.append(
                prism(polygon(4, 4.4 - 0.8 * step, turn_rad=0.78), height, height + 0.7, side=plan.paint(), foot=0.6)
            )
        plan.parts.append(sphere(1.3, material=plan.paint(), rings=8, sectors=12).placed(placement((0, 0, 5.1))))
    else:
        deck = [prism(polygon(16, 4.6), 0.0, 0.5, side=plan.paint(), foot=0.6)]
        deck.append(prism(polygon(12, 0.5), 0.5, 4.2, side=plan.paint()))
        deck.append(prism(polygon(16, 5.0), 4.2, 6.2, side=plan.paint(), taper=0.0))
        for k in range(8):
            spot = (3.6 * np.cos(0.785 * k), 3.6 * np.sin(0.785 * k), 1.0)
            deck.append(
                cuboid((1.3, 0.5, 0.9), side=plan.paint(), at=(0, 0, 0)).placed(
                    placement(spot, yaw_rad=0.785 * k + 1.57)
                )
            )
        plan.moving.append((merge(deck), Spin(placement((0.0, 0.0, 0.3)), 2, float(rng.uniform(14.0, 30.0)))))


def _fill_ring(plan: _Plan, ring_m: float) -> None:
    """Pieces of art, benches, lamps and trees on a ring."""
    rng = plan.rng
    kinds = trees(plan.materials, plan.palette)
    post = lamp(plan.materials, lit=plan.weather.lamps)
    count = max(3, int(ring_m * rng.uniform(0.3, 0.6)))
    for angle in (np.arange(count) + rng.uniform(-0.25, 0.25, count)) * 2 * np.pi / count:
        at = (ring_m * np.cos(angle), ring_m * np.sin(angle), 0.12)
        kind = rng.random()
        if kind < 0.5:
            mesh = _sculpture(plan)
        elif kind < 0.65:
            mesh = cuboid((0.7, 2.4, 0.5), side=plan.paint(), foot=0.5)
        elif kind < 0.8:
            mesh = post
        else:
            tub = prism(polygon(8, 0.9), 0.0, 0.6, side=plan.paint(), foot=0.6)
            tree = kinds[int(rng.integers(len(kinds)))].placed(placement((0, 0, 0.2), scale=rng.uniform(0.5, 0.8)))
            mesh = merge([tub, tree])
        plan.parts.append(mesh.placed(placement(at, yaw_rad=angle)))


def _sculpture(plan: _Plan) -> Mesh:
    rng = plan.rng
    tall, wide = float(rng.uniform(1.2, 4.6)), float(rng.uniform(0.7, 1.6))
    kind = int(rng.integers(5))
    if kind == 0:
        return cuboid((2 * wide, 1.4 * wide, tall), side=plan.paint(), foot=0.55)
    if kind == 1:
        return prism(polygon(int(rng.integers(3, 7)), wide), 0.0, tall, side=plan.paint(), taper=0.0, foot=0.55)
    if kind == 2:
        return sphere(wide, material=plan.paint(), rings=7, sectors=10, foot=0.5).placed(placement((0, 0, wide)))
    if kind == 3:
        parts = [
            cuboid((w, w, tall / 3), side=plan.paint(), foot=0.6).placed(
                placement((0, 0, k * tall / 3), yaw_rad=0.5 * k)
            )
            for k, w in enumerate(rng.uniform(0.6, 1.5, 3) * wide)
        ]
        return merge(parts)
    gate = plan.paint()
    legs = [cuboid((0.4, 0.4, tall), side=gate, at=(0, y * wide, 0), foot=0.6) for y in (-1, 1)]
    return merge([*legs, cuboid((0.45, 2 * wide + 0.6, 0.4), side=gate, at=(0, 0, tall))])


def _move_on_ring(plan: _Plan, ring_m: float) -> None:
    """Balls, people or drones that go round a ring, all of it at one speed."""
    rng = plan.rng
    way = 1.0 if rng.random() < 0.5 else -1.0
    count = max(2, int(ring_m * rng.uniform(0.2, 0.38)))
    angles = (np.arange(count) + rng.uniform(-0.2, 0.2, count)) * 2 * np.pi / count
    kind = rng.random()
    speed = way * float(rng.uniform(0.8, 1.5) if kind < 0.35 else rng.uniform(1.2, 3.5))
    for angle in angles:
        motion: Motion
        if kind < 0.35:
            mesh = person(plan.materials, choose(rng, plan.palette.paints), "3b4250")
            motion = Hover((0.0, 0.0, 0.12), (ring_m, ring_m), speed, float(angle), Swing(0.0))
        elif kind < 0.8:
            radius = float(rng.uniform(0.7, 1.6))
            mesh = sphere(radius, material=plan.paint(), rings=8, sectors=12)
            motion = Roll((0.0, 0.0, 0.12), ring_m, radius, speed, float(angle))
        else:
            mesh = merge(
                [cuboid((1.2, 1.2, 0.3), side=plan.paint()), cuboid((0.4, 2.6, 0.1), side=plan.paint(), at=(0, 0, 0.3))]
            )
            bob = Swing(float(rng.uniform(2.5, 7.0)), 0.5, float(rng.uniform(4.0, 9.0)), float(rng.random()))
            motion = Hover((0.0, 0.0, 0.0), (ring_m, ring_m), speed, float(angle), bob)
        plan.moving.append((mesh, motion))


def _camera(plan: _Plan) -> tuple[CameraMotion, str]:
    rng = plan.rng
    ring = plan.camera_ring_m
    way = 1.0 if rng.random() < 0.5 else -1.0
    pace = float(rng.uniform(0.6, 2.4))
    style = int(rng.integers(4))
    # A turn of the view about the camera moves the picture more than its way does: slower where the ring is small.
    period = way * max(2 * np.pi * ring / pace, 60.0)
    yaw, words = (
        (Swing(0.0, 0.35, 31.0), "the camera circles it"),
        (Swing(-way * 1.15, 0.25, 27.0), "the camera walks through it"),
        (Swing(float(np.pi), 0.4, 45.0), "the camera looks outwards as it turns"),
        (Swing(way * 0.6, 0.3, 40.0), "the camera drifts across it"),
    )[style]
    height = Swing(float(rng.uniform(1.7, 5.0)), float(rng.uniform(0.0, 1.2)), 23.0)
    if style == 0 and rng.random() < 0.5:
        height, words = Swing(float(rng.uniform(6.0, 15.0)), 2.5, 29.0), "seen from above as the camera circles it"
    # The camera looks along the ground, not at the middle's foot.
    level = float(np.arctan2(height.mean, ring))
    pitch = Swing(level - (0.5 * level if style == 0 else 0.06), 0.04, 19.0)
    return OrbitCamera((0.0, 0.0, 0.12), Swing(ring), height, period, float(rng.uniform(0, 6.28)), yaw, pitch), words
