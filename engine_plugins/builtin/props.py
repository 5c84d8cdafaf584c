"""Things that stand or move in scenes: trees, lamps, cars, people, houses. Each is a mesh on z = 0, x forward."""

from __future__ import annotations

import numpy as np

from .materials import Materials, Pattern
from .mesh import Mesh, cuboid, gable, merge, placement, polygon, prism, sphere
from .palettes import Palette

__all__ = ["bus", "car", "house", "lamp", "person", "tower", "trees", "truck", "wheels"]


def choose(rng: np.random.Generator, colours: tuple[str, ...]) -> str:
    """Return one of the colours."""
    return colours[int(rng.integers(len(colours)))]


def trees(materials: Materials, palette: Palette) -> list[Mesh]:
    """Return one tree of each kind that a palette has, about 4 to 8 m tall."""
    bark = materials.plain("6b5138")
    kinds: list[Mesh] = []
    for i, leaf in enumerate(palette.leaves):
        shade = palette.leaves[(i + 1) % len(palette.leaves)]
        crown = materials.add(Pattern.MOTTLE, leaf, shade, size=(1.1, 1.1))
        trunk = prism(polygon(5, 0.2), 0.0, 2.4, side=bark, taper=0.7, foot=0.6)
        if i % 3 == 0:
            ball = sphere(1.9, material=crown, rings=5, sectors=8, foot=0.45)
            kinds.append(merge([trunk, ball.placed(placement((0, 0, 3.6), scale=(1.0, 1.0, 1.15)))]))
        elif i % 3 == 1:
            tiers = [
                prism(
                    polygon(7, 1.9 - 0.5 * k, turn_rad=0.4 * k),
                    1.2 + 1.5 * k,
                    3.9 + 1.6 * k,
                    side=crown,
                    taper=0.0,
                    foot=0.5,
                )
                for k in range(3)
            ]
            kinds.append(merge([trunk, *tiers]))
        else:
            ball = sphere(1.0, material=crown, rings=6, sectors=7, foot=0.45)
            kinds.append(merge([trunk, ball.placed(placement((0, 0, 4.2), scale=(1.15, 1.15, 3.0)))]))
    return kinds


def lamp(materials: Materials, *, lit: bool) -> Mesh:
    """Return a street lamp, 5.5 m tall, whose arm reaches along x."""
    steel = materials.plain("3b3f45")
    head = materials.plain("fff1c9", glow=2.5 if lit else 0.3)
    return merge(
        [
            prism(polygon(6, 0.11), 0.0, 5.5, side=steel, taper=0.6, foot=0.6),
            cuboid((1.5, 0.1, 0.1), side=steel, at=(0.7, 0, 5.4)),
            cuboid((0.6, 0.28, 0.14), side=head, cap=head, at=(1.4, 0, 5.28)),
        ]
    )


def wheels(materials: Materials, *, base_m: float, track_m: float, radius_m: float) -> Mesh:
    """Return four wheels that touch z = 0, the axles `base_m` apart and centred."""
    tyre = materials.add(Pattern.PLAIN, "26272a")
    wheel = prism(polygon(8, radius_m), -0.12, 0.12, side=tyre, cap=materials.plain("9a9da1"))
    spots = np.zeros((4, 4, 4))
    spots[:, 0, 0] = spots[:, 1, 2] = spots[:, 3, 3] = 1.0
    spots[:, 2, 1] = -1.0  # the outline's z becomes y: the axle lies across
    spots[:, :3, 3] = [(0.5 * x * base_m, 0.5 * y * track_m, radius_m) for x in (-1, 1) for y in (-1, 1)]
    return wheel.placed(spots)


def _lights(materials: Materials, front: float, back: float, half_width: float, height: float, lit: bool) -> Mesh:
    white = materials.plain("fff6dc", glow=3.0 if lit else 0.4)
    red = materials.plain("c3211d", glow=1.6 if lit else 0.2)
    return merge(
        [
            cuboid((0.08, 0.36, 0.2), side=colour, at=(x, y, height))
            for x, colour in ((front, white), (back, red))
            for y in (-half_width, half_width)
        ]
    )


def car(materials: Materials, paint: str, *, lit: bool = False, estate: bool = False) -> Mesh:
    """Return a car, 4.3 m long."""
    body = materials.plain(paint, gloss=0.5)
    glass = materials.plain("2b3640", gloss=0.8)
    hull = np.array([[-2.15, -0.88], [2.15, -0.88], [2.15, 0.88], [-2.15, 0.88]])
    length = 2.9 if estate else 2.2
    cabin = 0.5 * np.array([[-length, -1.62], [length, -1.62], [length, 1.62], [-length, 1.62]])
    return merge(
        [
            prism(hull, 0.3, 0.62, side=body, foot=0.35),
            prism(hull, 0.62, 0.92, side=body, taper=0.94),
            prism(cabin, 0.0, 0.56, side=glass, cap=body, taper=0.78).placed(
                placement((-0.25 if not estate else -0.5, 0, 0.92))
            ),
            wheels(materials, base_m=2.6, track_m=1.66, radius_m=0.34),
            _lights(materials, 2.13, -2.13, 0.6, 0.55, lit),
        ]
    )


def truck(materials: Materials, paint: str, load: str, *, lit: bool = False) -> Mesh:
    """Return a delivery truck, 7 m long and 3.2 m tall."""
    cab = materials.plain(paint, gloss=0.4)
    glass = materials.plain("2b3640", gloss=0.8)
    box = materials.add(Pattern.BANDS, load, "f1efe9", size=(1.0, 0.9))
    return merge(
        [
            cuboid((6.8, 2.0, 0.35), side=materials.plain("34363a"), at=(0, 0, 0.45), foot=0.4),
            cuboid((1.8, 2.1, 1.0), side=cab, at=(2.5, 0, 0.7), foot=0.6),
            prism(
                0.5 * np.array([[-1.7, -2.0], [1.7, -2.0], [1.7, 2.0], [-1.7, 2.0]]),
                1.7,
                2.5,
                side=glass,
                cap=cab,
                taper=0.85,
            ).placed(placement((2.5, 0, 0))),
            cuboid((4.7, 2.25, 2.4), side=box, cap=materials.plain(load), at=(-1.0, 0, 0.8), foot=0.6),
            wheels(materials, base_m=4.4, track_m=1.9, radius_m=0.45),
            _lights(materials, 3.4, -3.38, 0.75, 0.8, lit),
        ]
    )


def bus(materials: Materials, paint: str, *, lit: bool = False) -> Mesh:
    """Return a bus, 10 m long and 3.1 m tall."""
    panes = materials.add(Pattern.STRIPES, "25313a", "39454e", size=(1.1, 1.0), gloss=0.7, glow=0.5 if lit else 0.0)
    body = materials.plain(paint, gloss=0.4)
    hull = 0.5 * np.array([[-10.0, -2.4], [10.0, -2.4], [10.0, 2.4], [-10.0, 2.4]])
    return merge(
        [
            prism(hull, 0.35, 1.35, side=body, foot=0.4),
            prism(hull, 1.35, 2.4, side=panes),
            prism(hull, 2.4, 3.1, side=body, taper=0.97),
            wheels(materials, base_m=6.0, track_m=2.2, radius_m=0.48),
            _lights(materials, 4.99, -4.99, 0.85, 0.7, lit),
        ]
    )


def person(materials: Materials, coat: str, legs: str) -> Mesh:
    """Return a walking figure, 1.75 m tall."""
    skin = materials.plain("c79a78")
    return merge(
        [
            prism(polygon(6, 0.22), 0.0, 0.85, side=materials.plain(legs), foot=0.5),
            prism(polygon(6, 0.32), 0.8, 1.45, side=materials.plain(coat), taper=0.7),
            sphere(0.15, material=skin, rings=4, sectors=6).placed(placement((0, 0, 1.6))),
        ]
    )


def house(
    rng: np.random.Generator, materials: Materials, palette: Palette, size: tuple[float, float, float], lit: bool
) -> Mesh:
    """Return a house with a gabled roof, chimney and door; `size` is length, width and height of the walls."""
    length, width, height = size
    paint = choose(rng, palette.walls)
    floors = max(1, round(height / 3.0))
    wall = materials.add(
        Pattern.WINDOWS, paint, "2f3c48", paint,
        size=(length / max(2, round(length / 2.6)), height / floors), gloss=0.6, glow=1.6 if lit else 0.0,
    )  # fmt: skip
    plain = materials.plain(paint)
    roof = materials.add(Pattern.BANDS, choose(rng, palette.roofs), choose(rng, palette.roofs), size=(1.0, 0.8))
    pitch = rng.uniform(0.55, 0.95) * 0.5 * width
    parts = [
        cuboid((length, width, 3.0), side=plain, at=(0, 0, -3.0)),
        cuboid((length, width, height), side=wall, cap=plain, foot=0.55),
        gable(length, width, pitch, roof=roof, wall=plain).placed(placement((0, 0, height))),
        cuboid((0.8, 0.8, pitch + 1.0), side=materials.plain("8a5a48"), at=(0.28 * length, 0.12 * width, height)),
        cuboid(
            (1.4, 0.3, 2.3),
            side=materials.plain(choose(rng, palette.paints)),
            at=(0.2 * length, -0.5 * width, 0),
            foot=0.6,
        ),
    ]
    return merge(parts)


def tower(
    rng: np.random.Generator, materials: Materials, palette: Palette, size: tuple[float, float, float], lit: bool
) -> Mesh:
    """Return a block of flats or offices with a flat roof, a parapet and a shop front; `size` as for a house."""
    length, width, height = size
    paint, trim = choose(rng, palette.walls), choose(rng, palette.walls)
    floors = max(2, round(height / 3.4))
    bays = max(2, round(length / rng.uniform(2.4, 4.0)))
    glass = ("31404d", "3d5566", "48606b", "283440")[int(rng.integers(4))]
    wall = materials.add(
        Pattern.WINDOWS, paint, glass, choose(rng, palette.paints),
        size=(length / bays, height / floors), gloss=0.7, glow=1.8 if lit else 0.0,
    )  # fmt: skip
    plain, edge = materials.plain(paint), materials.plain(trim)
    top = materials.add(Pattern.TILES, palette.roofs[0], palette.stone, palette.roofs[-1], size=(4.0, 4.0))
    parts = [
        cuboid((length, width, 3.0), side=plain, at=(0, 0, -3.0)),
        cuboid((length, width, height), side=wall, cap=top, foot=0.55),
        cuboid((length + 0.5, 0.4, 0.9), side=edge, at=(0, -0.5 * width, height - 0.3)),
        cuboid((length + 0.5, 0.4, 0.9), side=edge, at=(0, 0.5 * width, height - 0.3)),
        cuboid((0.4, width, 0.9), side=edge, at=(-0.5 * length, 0, height - 0.3)),
        cuboid((0.4, width, 0.9), side=edge, at=(0.5 * length, 0, height - 0.3)),
        cuboid((0.3 * length, 0.3 * width, 2.2), side=plain, at=(-0.15 * length, 0.1 * width, height), foot=0.7),
    ]
    if rng.random() < 0.6:
        awning = materials.add(Pattern.STRIPES, choose(rng, palette.paints), "f4efe4", size=(0.8, 1.0))
        parts.append(cuboid((0.7 * length, 1.2, 0.25), side=awning, at=(0, -0.5 * width - 0.6, 0.82 * height / floors)))
    return merge(parts)
