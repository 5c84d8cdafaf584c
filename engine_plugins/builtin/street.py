"""The family `street`: a town or village along a winding loop road, with traffic and a camera that travels it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .atmosphere import Atmosphere, Weather
from .ground import Ground
from .materials import Materials, Pattern
from .mesh import UP, Mesh, cuboid, merge, placement, polygon, ribbon
from .motion import CameraMotion, LaneDrive, LoopPath, OrbitCamera, PathCamera, Swing
from .palettes import Palette, pick_palette, pick_weather
from .props import bus, car, choose, house, lamp, person, tower, trees, truck
from .scene import Instance, Scene

__all__ = ["street"]

_LANE: Final = 2.0
_PAVEMENT: Final = 2.6
_KERB: Final = 0.16
_SKYLINE: Final = 70


@dataclass(slots=True)
class _Plan:
    """What the parts of a street agree on while it is built."""

    rng: np.random.Generator
    palette: Palette
    weather: Weather
    materials: Materials
    path: LoopPath
    ground: Ground
    half_road_m: float
    lane_speed_mps: float
    tallest_m: float
    urban: float
    parts: list[Mesh]
    tops: list[tuple[float, float, float]]

    @property
    def front_m(self) -> float:
        """From the road's middle to where houses may begin."""
        return self.half_road_m + _PAVEMENT


def street(seed: int) -> Scene:
    """Return the street of a seed."""
    rng = np.random.default_rng([seed, 1])
    plan = _plan(rng)
    _lay_land(plan)
    _lay_road(plan)
    _build_houses(plan)
    _plant(plan)
    _furnish(plan)
    if plan.urban > 0.55:
        _raise_skyline(plan)
    camera, words, gap = _camera(plan)
    place = "city street" if plan.urban > 0.7 else "town street" if plan.urban > 0.35 else "village road"
    return Scene(
        family="street",
        seed=seed,
        caption=f"A {place} in {plan.palette.name} colours {plan.weather.name}, with cars and trees, {words}.",
        world=merge(plan.parts),
        instances=_traffic(plan, gap),
        materials=plan.materials.table(),
        atmosphere=Atmosphere.of(plan.weather, rng),
        camera=camera,
        fov_x_rad=float(np.radians(rng.uniform(58.0, 78.0))),
    )


def _plan(rng: np.random.Generator) -> _Plan:
    palette, weather = pick_palette(rng), pick_weather(rng)
    ground = Ground.rolling(rng, relief_m=rng.uniform(1.0, 6.0), rim=(rng.uniform(15.0, 90.0), 230.0))
    waves = np.stack([[2.0, 3.0, 4.0], rng.uniform(0.02, [0.17, 0.09, 0.04]), rng.uniform(0.0, 2 * np.pi, 3)], axis=1)
    path = LoopPath(np.zeros(2), rng.uniform(75.0, 115.0), waves, ground.wild)
    urban = float(rng.random())
    return _Plan(
        rng=rng,
        palette=palette,
        weather=weather,
        materials=Materials(),
        path=path,
        ground=replace(ground, roads=(path,)),
        half_road_m=6.3 if rng.random() < 0.5 else 4.3,
        lane_speed_mps=float(rng.uniform(2.5, 6.5)),
        tallest_m=6.0 + 22.0 * urban,
        urban=urban,
        parts=[],
        tops=[],
    )


def _lay_land(plan: _Plan) -> None:
    palette = plan.palette
    if plan.urban > 0.8:
        land = plan.materials.add(Pattern.TILES, palette.paving, palette.stone, palette.grass[0], size=(9.0, 9.0))
    elif plan.rng.random() < 0.5:
        land = plan.materials.add(Pattern.FIELDS, *palette.grass, palette.soil[0], size=(26.0, 19.0))
    else:
        land = plan.materials.add(Pattern.MOTTLE, *palette.grass, size=(11.0, 11.0))
    plan.parts.append(plan.ground.mesh(half_m=160.0, cell_m=5.0, material=land))


def _lay_road(plan: _Plan) -> None:
    path, half = plan.path, plan.half_road_m
    count = round(path.length_m / 3.0)
    along = np.linspace(0.0, path.length_m, count + 1)
    period = path.length_m / round(path.length_m / 7.0)
    road = plan.materials.add(Pattern.ROAD, plan.palette.asphalt, "ece8da", size=(period, 2 * half))
    slabs = plan.materials.add(
        Pattern.TILES, plan.palette.paving, plan.palette.stone, plan.palette.paving, size=(period / 4, 1.3)
    )
    kerb = plan.materials.plain(plan.palette.stone)

    def line(left: float, lift: float) -> NDArray[np.float64]:
        return path.beside(along, left) + lift * UP

    low, high = 0.1, 0.1 + _KERB
    plan.parts.append(ribbon(line(half, low), line(-half, low), material=road, along_m=along))
    for side in (1.0, -1.0):
        inner, outer, foot = line(side * half, high), line(side * plan.front_m, high), line(side * half, low - 0.05)
        verge = line(side * plan.front_m, low - 1.0)
        for far, near, what in ((outer, inner, slabs), (inner, foot, kerb), (verge, outer, kerb)):
            left, right = (far, near) if side > 0 else (near, far)
            plan.parts.append(ribbon(left, right, material=what, along_m=along))
    zebra = plan.materials.add(Pattern.STRIPES, "ece8da", plan.palette.asphalt, size=(0.55, 1.0))
    for spot in plan.rng.uniform(0.0, path.length_m, 4):
        sheet = cuboid((2 * half - 0.8, 3.0, 0.02), side=zebra)
        forward = path.forward(spot)
        yaw = np.arctan2(forward[1], forward[0]) + 0.5 * np.pi
        plan.parts.append(sheet.placed(placement(path.point(spot) + low * UP, yaw_rad=yaw)))


def _build_houses(plan: _Plan) -> None:
    """Put houses on both sides where they keep clear of the road."""
    rng, path, lit = plan.rng, plan.path, plan.weather.lamps
    density = 0.55 + 0.4 * plan.urban
    for side in (1.0, -1.0):
        along = rng.uniform(0.0, 8.0)
        while along < path.length_m - 16.0:
            tall = rng.random() < plan.urban
            length, width = rng.uniform(9.0, 19.0), rng.uniform(8.0, 13.0)
            height = rng.uniform(7.0, plan.tallest_m) if tall and plan.tallest_m > 7.0 else rng.uniform(3.2, 6.5)
            setback = rng.uniform(0.3, 1.5) if tall else rng.uniform(1.5, 7.0)
            middle = along + 0.5 * length
            along += length + (rng.uniform(0.5, 5.0) if tall else rng.uniform(3.0, 12.0))
            if rng.random() > density:
                continue
            spot = path.beside(middle, side * (plan.front_m + setback + 0.5 * width))
            forward = path.forward(middle)
            # The front is the mesh's -y side: it has to look at the road.
            yaw = float(np.arctan2(forward[1], forward[0])) + (0.0 if side > 0 else np.pi)
            transform = placement(spot, yaw_rad=yaw)
            outline = 0.5 * np.array([(x * length, y * width, 0.0) for x in (-1, 0, 1) for y in (-1, 0, 1)])
            corners = outline @ transform[:3, :3].T + spot
            if path.nearest(corners[:, :2])[0].min() < plan.front_m + 0.2:
                continue
            build = tower if tall else house
            mesh = build(rng, plan.materials, plan.palette, (length, width, height), lit)
            plan.parts.append(mesh.placed(transform))
            plan.tops.append((spot[0], spot[1], spot[2] + (height + 3.0 if tall else 1.9 * height + 1.0)))


def _plant(plan: _Plan) -> None:
    rng, path = plan.rng, plan.path
    kinds = trees(plan.materials, plan.palette)
    spacing = rng.uniform(9.0, 22.0)
    along = np.arange(0.0, path.length_m - spacing, spacing)
    rows = [path.beside(along + rng.uniform(-1, 1, along.size), side * (plan.front_m - 0.7)) for side in (1.0, -1.0)]
    lining = np.concatenate(rows)
    lining = lining[rng.random(len(lining)) < 0.75]
    wild = rng.uniform(-260.0, 260.0, (420, 2))
    distance, _ = path.nearest(wild)
    wild = wild[
        (distance > plan.front_m + (26.0 if plan.urban > 0.3 else 9.0)) & (rng.random(420) < 1.1 - 0.8 * plan.urban)
    ]
    for spots, smallest, largest in ((lining, 0.6, 0.95), (np.column_stack([wild, plan.ground.at(*wild.T)]), 0.8, 1.9)):
        kind = rng.integers(len(kinds), size=len(spots))
        for k, mesh in enumerate(kinds):
            chosen = spots[kind == k]
            if len(chosen):
                size = rng.uniform(smallest, largest, len(chosen))
                turn = rng.uniform(0.0, 2 * np.pi, len(chosen))
                plan.parts.append(mesh.placed(placement(chosen, yaw_rad=turn, scale=size)))


def _furnish(plan: _Plan) -> None:
    rng, path = plan.rng, plan.path
    along = np.arange(5.0, path.length_m - 5.0, rng.uniform(22.0, 34.0))
    post = lamp(plan.materials, lit=plan.weather.lamps)
    for side in (1.0, -1.0):
        forward = path.forward(along)
        yaw = np.arctan2(forward[:, 1], forward[:, 0]) - side * 0.5 * np.pi
        spots = path.beside(along + 4.0 * side, side * (plan.half_road_m + 0.5)) + _KERB * UP
        plan.parts.append(post.placed(placement(spots, yaw_rad=yaw)))
    if plan.half_road_m > 5.0:
        models = [car(plan.materials, choose(rng, plan.palette.paints), estate=bool(i % 2)) for i in range(4)]
        for side in (1.0, -1.0):
            for spot in np.arange(6.0, path.length_m - 6.0, 6.2):
                if rng.random() < 0.3:
                    drive = LaneDrive(path, float(spot), side * (plan.half_road_m - 1.25), -side, lift_m=0.1)
                    plan.parts.append(models[int(rng.integers(4))].placed(drive(0.0)))


def _raise_skyline(plan: _Plan) -> None:
    rng = plan.rng
    angle, distance = rng.uniform(0, 2 * np.pi, _SKYLINE), rng.uniform(235.0, 440.0, _SKYLINE)
    spots = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
    base = plan.ground.at(*spots.T) - 4.0
    walls = [
        plan.materials.add(
            Pattern.WINDOWS, colour, "3a4652", colour, size=(4.0, 4.5), gloss=0.5, glow=float(plan.weather.lamps)
        )
        for colour in plan.palette.walls
    ]
    for i in range(_SKYLINE):
        size = (rng.uniform(12, 26), rng.uniform(12, 26), rng.uniform(20, 30 + 60 * plan.urban))
        block = cuboid(
            size, side=walls[int(rng.integers(len(walls)))], cap=plan.materials.plain(plan.palette.stone), foot=0.6
        )
        plan.parts.append(block.placed(placement((*spots[i], base[i]), yaw_rad=angle[i])))


def _traffic(plan: _Plan, gap_m: float) -> tuple[Instance, ...]:
    """Vehicles on both lanes and people on the pavements.

    All on one lane keep one speed, so they never meet. The first `gap_m` ahead of and behind the way's start, where a
    camera in the right lane travels at that speed, stay free (0: no camera drives there).
    """
    rng, path, palette, lit = plan.rng, plan.path, plan.palette, plan.weather.lamps
    instances: list[Instance] = []

    def join(mesh: Mesh, motion: LaneDrive) -> None:
        instances.append(Instance(len(instances) + 1, mesh, motion))

    for side, speed in ((-1.0, plan.lane_speed_mps), (1.0, -float(rng.uniform(3.5, 8.0)))):
        free = gap_m if side < 0 else 0.0
        along = max(free, 4.0)
        while along < path.length_m - max(free, 12.0):
            kind, paint = rng.random(), choose(rng, palette.paints)
            if kind < 0.72:
                mesh = car(plan.materials, paint, lit=lit, estate=kind < 0.25)
            elif kind < 0.9:
                mesh = truck(plan.materials, paint, choose(rng, palette.paints), lit=lit)
            else:
                mesh = bus(plan.materials, paint, lit=lit)
            join(mesh, LaneDrive(path, along, side * _LANE, speed, lift_m=0.1))
            along += rng.uniform(13.0, 55.0)
    for i in range(int(rng.integers(8, 20))):
        side = 1.0 if i % 2 else -1.0
        pace = float(rng.uniform(0.8, 1.5)) * (1.0 if rng.random() < 0.5 else -1.0)
        figure = person(plan.materials, choose(rng, palette.paints), choose(rng, ("2f3640", "5a4a3c", "3d4f66")))
        lane = side * (plan.half_road_m + float(rng.uniform(0.9, 1.5)))
        join(figure, LaneDrive(path, float(rng.uniform(0.0, path.length_m)), lane, pace, lift_m=0.1 + _KERB))
    return tuple(instances)


def _camera(plan: _Plan) -> tuple[CameraMotion, str, float]:
    """Return the camera, words for it, and how much of its lane it needs for itself."""
    rng, path = plan.rng, plan.path
    speed = plan.lane_speed_mps
    still = Swing(0.0)
    yaw = Swing(0.0, float(rng.uniform(0.0, 0.3)), float(rng.uniform(14.0, 30.0)), float(rng.random()))
    pitch = Swing(float(rng.uniform(-0.10, 0.02)), float(rng.uniform(0.0, 0.04)), float(rng.uniform(11.0, 25.0)))
    lane = Swing(-_LANE)
    style = int(rng.choice(7, p=[0.26, 0.12, 0.14, 0.12, 0.14, 0.12, 0.10]))
    if style == 0:
        height = Swing(float(rng.uniform(1.6, 3.0)))
        return PathCamera(path, 0.0, speed, lane, height, yaw, pitch), "seen from a car that drives along it", 15.0
    if style == 1:
        height, down = Swing(float(rng.uniform(2.6, 4.0))), Swing(-0.16)
        return PathCamera(path, 0.0, speed, lane, height, still, down, 10.0), "the camera follows a car", 9.5
    if style == 2:
        aside = float(rng.uniform(0.9, 1.5)) * (1.0 if rng.random() < 0.5 else -1.0)
        plan.lane_speed_mps = slow = float(rng.uniform(1.2, 2.6))
        height, turn = Swing(float(rng.uniform(1.7, 3.2))), Swing(aside, 0.15, 28.0)
        return PathCamera(path, 0.0, slow, lane, height, turn, Swing(0.05)), "the camera moves past the houses", 15.0
    if style == 3:
        spot, turn = (
            float(rng.uniform(0, path.length_m)),
            Swing(0.0, float(rng.uniform(0.2, 1.0)), float(rng.uniform(50, 80))),
        )
        height, creep = Swing(float(rng.uniform(5.0, 9.0))), float(rng.uniform(0.0, 0.8))
        return PathCamera(path, spot, creep, still, height, turn, Swing(-0.12)), "the camera pans slowly", 0.0
    if style == 4:
        height = Swing(12.0, 7.5, float(rng.uniform(36.0, 60.0)), float(rng.random()))
        forward = float(rng.uniform(1.5, 4.0))
        return (
            PathCamera(path, 0.0, forward, still, height, yaw, Swing(-0.22, 0.05, 40.0)),
            "the camera rises and sinks",
            0.0,
        )
    if style == 5:
        height, forward = Swing(float(rng.uniform(17.0, 32.0)), 2.0, 33.0), float(rng.uniform(3.0, 7.0))
        return (
            PathCamera(path, 0.0, forward, still, height, yaw, Swing(-0.38)),
            "seen from a drone that flies over it",
            0.0,
        )
    return _circling(plan), "the camera circles above it", 0.0


def _circling(plan: _Plan) -> CameraMotion:
    """A camera that goes round a spot of the road, above all roofs and trees near it."""
    rng = plan.rng
    spot = plan.path.point(float(rng.uniform(0, plan.path.length_m)))
    period = float(rng.uniform(70.0, 150.0)) * (1.0 if rng.random() < 0.5 else -1.0)
    around = spot[:2] + np.concatenate([polygon(24, radius) for radius in (20.0, 36.0, 52.0)])
    highest = float(plan.ground.at(*around.T).max()) + 15.0
    for x, y, top in plan.tops:
        if np.hypot(x - spot[0], y - spot[1]) < 68.0:
            highest = max(highest, top)
    height = Swing(highest - spot[2] + float(rng.uniform(4.0, 9.0)), 2.0, 27.0)
    radius = Swing(float(rng.uniform(30.0, 48.0)), 3.0, 41.0)
    centre = (float(spot[0]), float(spot[1]), float(spot[2]))
    return OrbitCamera(centre, radius, height, period, float(rng.uniform(0, 6.28)), Swing(0.0, 0.12, 37.0), Swing(0.0))
