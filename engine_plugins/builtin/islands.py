"""The family `islands`: rocks in the sea, a lighthouse, ruins, boats, balloons. For evaluation, and nothing else.

It shares the renderer with the training families, but none of their layouts, props, palettes or cameras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .atmosphere import Atmosphere, Weather
from .materials import Materials, Pattern
from .mesh import Mesh, cuboid, heightfield, merge, placement, polygon, prism, sphere
from .motion import CameraMotion, Hover, Motion, OrbitCamera, Spin, Swing
from .scene import Instance, Scene

__all__ = ["islands"]

_COLOURS: Final = (
    ("turquoise and coral", ("0d6a80", "14808f"), "f4e3b5", ("4f7f35", "35632f"), ("6d4b3a", "4a3128", "8a624a")),
    ("slate and heather", ("14303f", "1d4253"), "e0d5ba", ("4e6332", "6d4a72"), ("3a3d44", "24272d", "565a60")),
    ("ochre and deep blue", ("0b2f52", "123f66"), "efcf90", ("8a8034", "5f6129"), ("7d4a22", "54301a", "a06f35")),
    ("ice and pine", ("123f55", "1d5366"), "f2f6f8", ("2b4a39", "e4edf0"), ("3f5663", "2a3c48", "64798a")),
)
_PAINTS: Final = ("d7263d", "f46036", "2e294e", "1b998b", "f7f3e3", "ffd23f", "3d5a80", "8d3b72")
_WEATHERS: Final = (
    Weather("in clear sea air", (35, 60), "fff6e0", "2d74c4", "c6e0ee", 2.6, 0.60, 800, 0.35),
    Weather("in the late light", (10, 18), "ffc98f", "50699f", "f0c9a0", 2.5, 0.70, 520, 0.45),
    Weather("under high cloud", (40, 60), "f4f5f5", "9fb6c8", "e2eaed", 1.3, 0.85, 900, 0.6),
    Weather("after rain", (25, 40), "fdf3e2", "5f87a6", "c4d6df", 1.9, 0.8, 480, 0.55),
)


@dataclass(slots=True)
class _Plan:
    """What the parts of an archipelago agree on while it is built."""

    rng: np.random.Generator
    materials: Materials
    peaks: np.ndarray
    rock: int
    parts: list[Mesh]
    moving: list[tuple[Mesh, Motion]]

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the height of land or sea floor; x, y of any one shape."""
        result = np.full(np.shape(x), -6.0)
        for px, py, radius, top, tilt in self.peaks:
            dx, dy = x - px, y - py
            angle = np.arctan2(dy, dx)
            shore = radius * (1.0 + 0.16 * np.sin(3 * angle + tilt) + 0.09 * np.sin(7 * angle - 2 * tilt))
            share = np.clip(1.25 - np.hypot(dx, dy) / shore, 0.0, 1.0)
            bump = 0.12 * top * np.sin(0.21 * dx + tilt) * np.sin(0.27 * dy - tilt)
            result = np.maximum(result, -6.0 + (top + 6.0 + bump) * np.minimum(1.15 * share, 1.0) ** 0.8)
        return result

    def paint(self) -> int:
        """A new plain material in a boat's colour."""
        return self.materials.plain(_PAINTS[int(self.rng.integers(len(_PAINTS)))], gloss=0.2)


def islands(seed: int) -> Scene:
    """Return the archipelago of a seed."""
    rng = np.random.default_rng([seed, 9])
    name, sea, sand, green, rocks = _COLOURS[int(rng.integers(len(_COLOURS)))]
    weather = _WEATHERS[int(rng.integers(len(_WEATHERS)))]
    materials = Materials()
    rock = materials.add(Pattern.STRATA, *rocks, size=(9.0, 1.6))
    middle = [[0.0, 0.0, rng.uniform(30.0, 36.0), rng.uniform(20.0, 34.0), rng.uniform(0, 6.28)]]
    around = []
    for k in range(9):
        angle, size = 0.7 * k + rng.uniform(-0.2, 0.2), rng.uniform(14.0, 34.0)
        # A shore reaches to 1.4 of its size: the boats' rings, up to 102 m, stay open water.
        distance = 114.0 + 1.4 * size + rng.uniform(0.0, 50.0)
        around.append(
            [distance * np.cos(angle), distance * np.sin(angle), size, rng.uniform(4.0, 34.0), rng.uniform(0, 6.28)]
        )
    plan = _Plan(rng, materials, np.array(middle + around), rock, [], [])
    _spread_sea_and_land(plan, sea, sand, green)
    _build(plan)
    _ply(plan)
    camera, words = _camera(plan)
    return Scene(
        family="islands",
        seed=seed,
        caption=(
            f"Rocky islands in the sea in {name} {weather.name}, with a lighthouse, ruins, boats and balloons, {words}."
        ),
        world=merge(plan.parts),
        instances=tuple(Instance(i + 1, mesh, motion) for i, (mesh, motion) in enumerate(plan.moving)),
        materials=materials.table(),
        atmosphere=Atmosphere.of(weather, rng),
        camera=camera,
        fov_x_rad=float(np.radians(rng.uniform(55.0, 75.0))),
    )


def _spread_sea_and_land(plan: _Plan, sea: tuple[str, str], sand: str, green: tuple[str, str]) -> None:
    materials = plan.materials
    water = materials.add(Pattern.MOTTLE, *sea, size=(14.0, 8.0), gloss=0.55)
    far = np.array([-3000.0, 3000.0])
    plan.parts.append(heightfield(far, far, np.zeros((2, 2)), material=water))
    line = np.linspace(-260.0, 260.0, 161)
    x, y = np.meshgrid(line, line)
    z = plan.height(x, y)
    cell = 0.25 * (z[1:, 1:] + z[1:, :-1] + z[:-1, 1:] + z[:-1, :-1])
    slope = np.hypot(z[:-1, 1:] - z[:-1, :-1], z[1:, :-1] - z[:-1, :-1]) / (line[1] - line[0])
    beach = materials.add(Pattern.MOTTLE, sand, sand, size=(6.0, 6.0))
    meadow = materials.add(Pattern.MOTTLE, *green, size=(7.0, 7.0))
    kind = np.where(cell < 0.9, beach, np.where(slope > 0.62, plan.rock, meadow)).astype(np.int32)
    land = heightfield(line, line, z, material=kind)
    above = land.corners[:, :, 2].max(axis=1) > -0.5
    # The strata of rock run level: v is the height there.
    surface = land.surface.copy()
    surface[land.material == plan.rock, :, 1] = land.corners[land.material == plan.rock, :, 2]
    plan.parts.append(Mesh(land.corners[above], surface[above], land.material[above]))


def _build(plan: _Plan) -> None:
    """A lighthouse on the middle island, ruins and huts on all, stacks of rock in the water."""
    rng, materials = plan.rng, plan.materials
    top = float(plan.height(np.array(0.0), np.array(0.0)))
    tall = float(rng.uniform(11.0, 18.0))
    tower = materials.add(Pattern.BANDS, "f5f1e8", _PAINTS[int(rng.integers(2))], size=(1.0, 2.6))
    steel = materials.plain("3c4148")
    plan.parts.append(prism(polygon(12, 2.3), top - 3.0, top + tall, side=tower, taper=0.62, foot=0.6))
    plan.parts.append(prism(polygon(12, 2.0), top + tall, top + tall + 0.4, side=steel))
    plan.parts.append(prism(polygon(8, 1.3), top + tall + 2.4, top + tall + 3.8, side=plan.paint(), taper=0.0))
    lens = [
        cuboid((3.4, 0.9, 1.5), side=materials.plain("fff2b8", glow=1.5)),
        prism(polygon(6, 0.3), 0.0, 2.0, side=steel),
    ]
    plan.moving.append((merge(lens), Spin(placement((0.0, 0.0, top + tall + 0.4)), 2, float(rng.uniform(6.0, 12.0)))))
    marble = materials.add(Pattern.BANDS, "e9e2d0", "cfc5ae", size=(1.0, 0.9))
    for px, py, radius, _, _ in plan.peaks:
        for _ in range(int(rng.integers(2, 6))):
            angle, away = rng.uniform(0, 6.28), rng.uniform(0.25, 0.6) * radius
            x, y = px + away * np.cos(angle), py + away * np.sin(angle)
            ground = float(plan.height(np.array(x), np.array(y)))
            if ground > 1.0 and np.hypot(x, y) > 6.0:
                plan.parts.append(
                    _ruin(plan, marble).placed(placement((x, y, ground - 0.3), yaw_rad=rng.uniform(0, 6.28)))
                )
    for _ in range(26):
        angle, away = rng.uniform(0, 6.28), rng.uniform(113.0, 230.0)
        stack = prism(
            polygon(6, rng.uniform(2.0, 5.0)),
            -6.0,
            rng.uniform(3.0, 17.0),
            side=plan.rock,
            taper=rng.uniform(0.3, 0.8),
            foot=0.7,
        )
        plan.parts.append(stack.placed(placement((away * np.cos(angle), away * np.sin(angle), 0.0), yaw_rad=angle)))


def _ruin(plan: _Plan, marble: int) -> Mesh:
    rng = plan.rng
    kind = int(rng.integers(4))
    if kind == 0:
        return prism(polygon(4, rng.uniform(3.0, 6.0)), 0.0, rng.uniform(3.0, 6.0), side=marble, taper=0.0, foot=0.6)
    if kind == 1:
        tops = rng.uniform(1.5, 5.0, 6)
        row = [
            prism(polygon(7, 0.5), 0.0, top, side=marble, foot=0.6).placed(placement((2.2 * k - 5.5, 0, 0)))
            for k, top in enumerate(tops)
        ]
        return merge([*row, cuboid((13.0, 2.0, 0.6), side=marble, foot=0.7)])
    if kind == 2:
        legs = [cuboid((1.0, 1.0, 4.0), side=plan.rock, at=(x, 0, 0), foot=0.6) for x in (-2.0, 2.0)]
        return merge([*legs, cuboid((5.6, 1.2, 1.0), side=marble, at=(0, 0, 4.0))])
    hut = prism(polygon(8, 2.2), 0.0, 2.2, side=plan.materials.plain("efe6d2"), foot=0.6)
    return merge([hut, prism(polygon(8, 2.8), 2.2, 4.4, side=plan.paint(), taper=0.0)])


def _ply(plan: _Plan) -> None:
    """Boats on rings about the middle island, inside and outside the camera's, and balloons above."""
    rng = plan.rng
    for ring, count in ((57.0, 5), (88.0, 5), (102.0, 5)):
        speed = float(rng.uniform(1.5, 4.0)) * (1.0 if rng.random() < 0.5 else -1.0)
        for k in range(count):
            phase = (k + float(rng.uniform(-0.25, 0.25))) * 2 * np.pi / count
            swell = Swing(-0.1, 0.15, float(rng.uniform(3.0, 6.0)), float(rng.random()))
            plan.moving.append((_boat(plan), Hover((0.0, 0.0, 0.0), (ring, ring), speed, phase, swell, sway_rad=0.06)))
    for _ in range(int(rng.integers(6, 11))):
        outside = rng.random() < 0.7
        angle, away = rng.uniform(0, 6.28), rng.uniform(105.0, 150.0) if outside else rng.uniform(0.0, 25.0)
        at = (
            away * np.cos(angle),
            away * np.sin(angle),
            float(rng.uniform(14.0, 40.0) if outside else rng.uniform(38.0, 50.0)),
        )
        drift = (float(rng.uniform(5.0, 12.0)), float(rng.uniform(5.0, 12.0)))
        bob = Swing(0.0, 1.5, float(rng.uniform(12.0, 25.0)), float(rng.random()))
        plan.moving.append(
            (_balloon(plan), Hover(at, drift, float(rng.uniform(0.6, 1.6)), float(rng.uniform(0, 6.28)), bob))
        )


def _boat(plan: _Plan) -> Mesh:
    rng = plan.rng
    outline = np.array([[-3.2, -1.1], [1.2, -1.3], [3.8, 0.0], [1.2, 1.3], [-3.2, 1.1]])
    hull = prism(outline, -0.5, 1.0, side=plan.paint(), cap=plan.materials.plain("b98a5a"), taper=1.12)
    if rng.random() < 0.6:
        cloth = plan.materials.add(Pattern.STRIPES, "f7f3e6", _PAINTS[int(rng.integers(len(_PAINTS)))], size=(0.9, 1.0))
        mast = prism(polygon(6, 0.12), 1.0, 8.0, side=plan.materials.plain("5d4632"))
        sail = prism(
            np.array([[-2.6, -0.06], [-0.15, -0.06], [-0.15, 0.06], [-2.6, 0.06]]), 1.7, 7.4, side=cloth, taper=0.08
        )
        jib = prism(np.array([[0.2, -0.05], [3.0, -0.05], [3.0, 0.05], [0.2, 0.05]]), 1.4, 6.2, side=cloth, taper=0.08)
        return merge([hull, mast, sail, jib])
    cabin = cuboid((2.2, 1.5, 1.4), side=plan.materials.plain("f2efe6"), cap=plan.paint(), at=(-0.6, 0, 1.0), foot=0.7)
    return merge([hull, cabin, prism(polygon(8, 0.35), 2.4, 3.6, side=plan.paint()).placed(placement((-1.0, 0, 0)))])


def _balloon(plan: _Plan) -> Mesh:
    first, second = plan.rng.choice(len(_PAINTS), 2, replace=False)
    cloth = plan.materials.add(Pattern.STRIPES, _PAINTS[int(first)], _PAINTS[int(second)], size=(1.25 * np.pi, 1.0))
    envelope = sphere(5.0, material=cloth, rings=10, sectors=16, foot=0.6).placed(
        placement((0, 0, 8.5), scale=(1.0, 1.0, 1.15))
    )
    return merge([envelope, cuboid((1.4, 1.4, 1.2), side=plan.materials.plain("8a6237"))])


def _camera(plan: _Plan) -> tuple[CameraMotion, str]:
    """A ring over open water, 61 to 80 m from the middle, near enough for the island to fill the view."""
    rng = plan.rng
    way = 1.0 if rng.random() < 0.5 else -1.0
    ring = float(rng.uniform(66.0, 72.0))
    period = way * 2 * np.pi * ring / float(rng.uniform(5.0, 9.0))
    yaw, words = (
        (Swing(0.0, 0.25, 33.0), "seen from a boat that circles the largest"),
        (Swing(-way * 0.45, 0.2, 29.0), "the camera glides along the shore"),
        (Swing(way * 0.45, 0.2, 47.0), "the camera looks back as it leaves a bay"),
    )[int(rng.integers(3))]
    height = Swing(float(rng.uniform(4.0, 9.0)), 1.0, 19.0)
    if rng.random() < 0.4:
        height, words = Swing(float(rng.uniform(14.0, 30.0)), 3.0, 37.0), f"{words}, from high above"
    level = float(np.arctan2(height.mean - 9.0, ring))
    pitch = Swing(level + float(rng.uniform(-0.03, 0.03)), 0.03, 17.0)
    return OrbitCamera(
        (0.0, 0.0, 0.0), Swing(ring, 3.0, 53.0), height, period, float(rng.uniform(0, 6.28)), yaw, pitch
    ), words
