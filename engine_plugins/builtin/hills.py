"""The family `hills`: open country with fields, farms, windmills and a track, seen from the track or from the air."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .atmosphere import Atmosphere, Weather
from .ground import Ground
from .materials import Materials, Pattern
from .mesh import UP, Mesh, cuboid, merge, placement, polygon, prism, ribbon
from .motion import CameraMotion, LaneDrive, LoopPath, PathCamera, Spin, Swing
from .palettes import Palette, pick_palette, pick_weather
from .props import car, choose, house, trees, truck
from .scene import Instance, Scene

__all__ = ["hills"]


@dataclass(slots=True)
class _Plan:
    """What the parts of a landscape agree on while it is built."""

    rng: np.random.Generator
    palette: Palette
    weather: Weather
    materials: Materials
    path: LoopPath
    ground: Ground
    speed_mps: float
    parts: list[Mesh]
    instances: list[Instance]


def hills(seed: int) -> Scene:
    """Return the landscape of a seed."""
    rng = np.random.default_rng([seed, 3])
    ground = Ground.rolling(rng, relief_m=rng.uniform(10.0, 26.0), rim=(rng.uniform(40.0, 140.0), 260.0))
    waves = np.stack([[1.0, 2.0, 3.0], rng.uniform(0.02, [0.2, 0.16, 0.08]), rng.uniform(0, 2 * np.pi, 3)], axis=1)
    path = LoopPath(np.zeros(2), rng.uniform(90.0, 140.0), waves, ground.wild)
    level = replace(ground, roads=(path,), level_m=7.0, blend_m=24.0)
    speed = float(rng.uniform(3.0, 7.0))
    plan = _Plan(rng, pick_palette(rng), pick_weather(rng), Materials(), path, level, speed, [], [])
    _lay_land(plan)
    _plant(plan)
    _settle(plan)
    _drive(plan)
    camera, words = _camera(plan)
    return Scene(
        family="hills",
        seed=seed,
        caption=f"Rolling hills with fields and farms in {plan.palette.name} colours {plan.weather.name}, {words}.",
        world=merge(plan.parts),
        instances=tuple(plan.instances),
        materials=plan.materials.table(),
        atmosphere=Atmosphere.of(plan.weather, rng),
        camera=camera,
        fov_x_rad=float(np.radians(rng.uniform(56.0, 76.0))),
    )


def _lay_land(plan: _Plan) -> None:
    rng, palette = plan.rng, plan.palette
    size = (float(rng.uniform(22.0, 46.0)), float(rng.uniform(18.0, 34.0)))
    crop = palette.soil[int(rng.integers(2))] if rng.random() < 0.6 else palette.leaves[0]
    land = plan.materials.add(Pattern.FIELDS, *palette.grass, crop, size=size)
    plan.parts.append(plan.ground.mesh(half_m=210.0, cell_m=6.0, material=land))
    along = np.linspace(0.0, plan.path.length_m, round(plan.path.length_m / 3.0) + 1)
    track = plan.materials.add(Pattern.ROAD, palette.asphalt, palette.soil[0], size=(9.0, 5.4))
    up = 0.12 * UP
    plan.parts.append(
        ribbon(plan.path.beside(along, 2.7) + up, plan.path.beside(along, -2.7) + up, material=track, along_m=along)
    )
    post = cuboid((0.14, 0.14, 1.1), side=plan.materials.plain("6b5138"), foot=0.6)
    for side in (1.0, -1.0):
        spots = plan.path.beside(np.arange(0.0, plan.path.length_m, 5.0), side * 4.6)
        spots = spots[rng.random(len(spots)) < 0.8]
        plan.parts.append(post.placed(placement(spots)))


def _plant(plan: _Plan) -> None:
    rng = plan.rng
    kinds = trees(plan.materials, plan.palette)
    groves = rng.uniform(-270.0, 270.0, (34, 2))
    spots = (groves[rng.integers(len(groves), size=520)] + rng.normal(0.0, 13.0, (520, 2))).reshape(-1, 2)
    spots = spots[plan.path.nearest(spots)[0] > 8.0]
    ground = plan.ground.at(*spots.T)
    kind = rng.integers(len(kinds), size=len(spots))
    for k, mesh in enumerate(kinds):
        chosen = np.flatnonzero(kind == k)
        if chosen.size:
            at = np.column_stack([spots[chosen], ground[chosen] - 0.1])
            turn, size = rng.uniform(0, 6.28, chosen.size), rng.uniform(0.8, 2.0, chosen.size)
            plan.parts.append(mesh.placed(placement(at, yaw_rad=turn, scale=size)))


def _settle(plan: _Plan) -> None:
    """Farms, hay bales, rocks and windmills."""
    rng, path = plan.rng, plan.path
    bale = plan.materials.add(Pattern.BANDS, "d8b65a", "b8923f", size=(1.0, 0.35))
    stone = plan.materials.add(
        Pattern.STRATA, plan.palette.stone, plan.palette.soil[1], plan.palette.paving, size=(3.0, 0.7)
    )
    for _ in range(26):
        along, side = float(rng.uniform(0, path.length_m)), 1.0 if rng.random() < 0.5 else -1.0
        away = float(rng.uniform(14.0, 60.0))
        x, y, _ = path.beside(along, side * away)
        if path.nearest(np.array([[x, y]]))[0][0] < 13.0:
            continue
        at = (x, y, float(plan.ground.at(np.array(x), np.array(y))))
        forward = path.forward(along)
        yaw = float(np.arctan2(forward[1], forward[0])) + (0.0 if side > 0 else np.pi)
        kind = rng.random()
        if kind < 0.4:
            size = (float(rng.uniform(8, 15)), float(rng.uniform(6, 9)), float(rng.uniform(3, 6)))
            mesh = house(rng, plan.materials, plan.palette, size, plan.weather.lamps)
        elif kind < 0.6:
            mesh = merge(
                [
                    prism(polygon(10, 1.0), 0.0, 1.3, side=bale, foot=0.5).placed(placement((3.0 * k, k % 2, 0)))
                    for k in range(3)
                ]
            )
        elif kind < 0.75:
            mesh = prism(
                polygon(6, rng.uniform(1.5, 4.0)), -1.0, rng.uniform(2.0, 6.0), side=stone, taper=0.5, foot=0.6
            )
        else:
            _windmill(plan, at, yaw)
            continue
        plan.parts.append(mesh.placed(placement(at, yaw_rad=yaw)))


def _windmill(plan: _Plan, at: tuple[float, float, float], yaw: float) -> None:
    rng = plan.rng
    height = float(rng.uniform(8.0, 14.0))
    wall = plan.materials.add(Pattern.BLOCKS, choose(rng, plan.palette.walls), plan.palette.stone, size=(1.6, 0.8))
    cap = plan.materials.plain(choose(rng, plan.palette.roofs))
    mill = [prism(polygon(8, 2.4), -1.0, height, side=wall, taper=0.7, foot=0.6)]
    mill.append(prism(polygon(8, 2.0), height, height + 2.0, side=cap, taper=0.0))
    plan.parts.append(merge(mill).placed(placement(at, yaw_rad=yaw)))
    sail = plan.materials.add(Pattern.BANDS, choose(rng, plan.palette.paints), "f3efe4", size=(1.0, 1.0))
    blade = cuboid((0.12, 1.3, 0.72 * height), side=sail, at=(0, 0, 0.5))
    quarter = np.eye(4)[[0, 2, 1, 3]] * np.array([[1.0], [-1.0], [1.0], [1.0]])
    blades = [blade]
    for _ in range(3):
        blades.append(blades[-1].placed(quarter))
    # The sails turn about the body's x axis, which looks at the road.
    hub = placement(at, yaw_rad=yaw - 0.5 * np.pi) @ placement((2.5, 0.0, height + 0.3))
    period = float(rng.uniform(7.0, 14.0))
    plan.instances.append(Instance(len(plan.instances) + 1, merge(blades), Spin(hub, 0, period, float(rng.random()))))


def _drive(plan: _Plan) -> None:
    rng = plan.rng
    along = 16.0
    while along < plan.path.length_m - 14.0:
        paint, load = choose(rng, plan.palette.paints), choose(rng, plan.palette.paints)
        lit = plan.weather.lamps
        mesh = (
            truck(plan.materials, paint, load, lit=lit)
            if rng.random() < 0.5
            else car(plan.materials, paint, lit=lit, estate=True)
        )
        motion = LaneDrive(plan.path, along, 0.0, plan.speed_mps, lift_m=0.12)
        plan.instances.append(Instance(len(plan.instances) + 1, mesh, motion))
        along += rng.uniform(22.0, 110.0)


def _camera(plan: _Plan) -> tuple[CameraMotion, str]:
    rng, path, speed = plan.rng, plan.path, plan.speed_mps
    middle = Swing(0.0)
    yaw = Swing(0.0, float(rng.uniform(0.1, 0.45)), float(rng.uniform(20.0, 36.0)), float(rng.random()))
    style = int(rng.integers(4))
    if style == 0:
        return PathCamera(
            path, 0.0, speed, middle, Swing(2.4), yaw, Swing(0.0, 0.03, 15.0)
        ), "the camera follows the track"
    if style == 1:
        # Above every tree that could stand beside the track, so it may leave it a little.
        height = Swing(float(rng.uniform(30.0, 45.0)), 4.0, 37.0)
        aside = Swing(0.0, 8.0, 61.0)
        return PathCamera(path, 0.0, 1.3 * speed, aside, height, yaw, Swing(-0.42, 0.05, 31.0)), "seen from a drone"
    if style == 2:
        height, forward = Swing(11.0, 6.0, float(rng.uniform(34.0, 52.0))), float(rng.uniform(1.5, 4.0))
        return PathCamera(path, 0.0, forward, middle, height, yaw, Swing(-0.16)), "the camera rises and sinks"
    aside = Swing(float(rng.uniform(0.7, 1.4)) * (1.0 if rng.random() < 0.5 else -1.0), 0.3, 39.0)
    height = Swing(float(rng.uniform(4.5, 9.0)))
    return PathCamera(
        path, 0.0, float(rng.uniform(1.5, 4.0)), middle, height, aside, Swing(-0.05)
    ), "the camera looks aside"
