"""Patterns, evaluated at surface coordinates and box-filtered over a pixel's footprint.

Comes in: samples with (u, v) in metres, a material row and a footprint in metres. Goes out: linear colour, gloss and
glow. Every edge is integrated over the footprint rather than sampled, so that nothing flickers when the camera moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .materials import MaterialTable, Pattern

__all__ = ["SurfaceColour", "paint", "value_noise"]

_F: TypeAlias = NDArray[np.float32]

_LATTICE: Final = 256
# One fixed lattice of random numbers for all scenes: patterns differ by their place and their colours.
_RANDOM: Final = np.random.default_rng(20251213).random((_LATTICE, _LATTICE), dtype=np.float32)

# Each lattice point with its three neighbours at greater x, y: one look-up instead of four.
_NEIGHBOURS: Final = np.stack(
    [np.roll(_RANDOM, (-dy, -dx), axis=(0, 1)) for dy in (0, 1) for dx in (0, 1)], axis=-1
).reshape(-1, 4)


class SurfaceColour(NamedTuple):
    """What `paint` found: colour (n, 3) linear, gloss (n,), glow (n,), float32."""

    colour: _F
    gloss: _F
    glow: _F


class _Samples(NamedTuple):
    """Samples of one pattern; `width_u` and `width_v` are the footprint in units of `size`, as are u and v."""

    u: _F
    v: _F
    width_u: _F
    width_v: _F
    a: _F
    b: _F
    c: _F
    size: _F
    row: NDArray[np.int32]
    gloss: _F
    glow: _F


def paint(table: MaterialTable, row: NDArray[np.int32], uv: _F, footprint_m: _F) -> SurfaceColour:
    """Return the surface's colour at each sample.

    Args:
        table: the scene's materials.
        row: (n,) int32, material of each sample.
        uv: (n, 2) float32, metres.
        footprint_m: (n,) float32, width of the pixel on the surface, metres.
    """
    colour = table.colours[:, 0].take(row, axis=0)
    gloss, glow, pattern = table.gloss.take(row), table.glow.take(row), table.pattern.take(row)
    for kind in np.flatnonzero(np.bincount(pattern)):
        if kind == Pattern.PLAIN:
            continue
        at = np.flatnonzero(pattern == kind)
        rows = row.take(at)
        size = table.size_m.take(rows, axis=0)
        u, v = (uv.take(at, axis=0) / size).T
        width_u, width_v = np.maximum(footprint_m.take(at)[:, None] / size, 1e-4).T
        a, b, c = (table.colours[:, i].take(rows, axis=0) for i in range(3))
        samples = _Samples(u, v, width_u, width_v, a, b, c, size, rows, gloss.take(at), glow.take(at))
        colour[at], gloss[at], glow[at] = _PAINTERS[Pattern(int(kind))](samples)
    return SurfaceColour(colour, gloss, glow)


def value_noise(x: _F, y: _F) -> _F:
    """Return smooth noise in 0..1 whose patches are one unit wide; it repeats every 256 units."""
    floor_x, floor_y = np.floor(x), np.floor(y)
    fx, fy = x - floor_x, y - floor_y
    column, line = floor_x.astype(np.int32) & 255, floor_y.astype(np.int32) & 255
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    corners = _NEIGHBOURS.take(line * _LATTICE + column, axis=0)
    low = corners[:, 0] + (corners[:, 1] - corners[:, 0]) * fx
    high = corners[:, 2] + (corners[:, 3] - corners[:, 2]) * fx
    mixed: _F = low + (high - low) * fy
    return mixed


def _cell(x: _F, y: _F, salt: NDArray[np.int32] | int = 0) -> _F:
    """A random number per unit cell, 0..1."""
    column = np.floor(x).astype(np.int64) + 37 * np.asarray(salt, dtype=np.int64)
    line = np.floor(y).astype(np.int64) + 101 * np.asarray(salt, dtype=np.int64)
    picked: _F = _RANDOM[line & 255, column & 255]
    return picked


def _pulse(x: _F, duty: float, width: _F) -> _F:
    """Share of [x - width/2, x + width/2] that lies in [k, k + duty] for some integer k."""
    low, high = x - 0.5 * width, x + 0.5 * width
    covered = _pulse_integral(high, duty) - _pulse_integral(low, duty)
    share: _F = np.clip(covered / width, 0.0, 1.0)
    return share


def _pulse_integral(x: _F, duty: float) -> _F:
    whole = np.floor(x)
    integral: _F = whole * np.float32(duty) + np.minimum(x - whole, np.float32(duty))
    return integral


def _slab(x: _F, low: _F | float, high: _F | float, width: _F) -> _F:
    """Share of [x - width/2, x + width/2] that lies in [low, high]."""
    share: _F = np.clip((np.minimum(x + 0.5 * width, high) - np.maximum(x - 0.5 * width, low)) / width, 0.0, 1.0)
    return share


def _mix(a: _F, b: _F, share: _F) -> _F:
    mixed: _F = a + (b - a) * share[:, None]
    return mixed


def _fade(width: _F) -> _F:
    """1 where cells are much larger than the footprint, 0 where they are smaller."""
    share: _F = np.clip(1.6 - 2.0 * width, 0.0, 1.0)
    return share


def _windows(s: _Samples) -> tuple[_F, _F, _F]:
    pane = _pulse(s.u - 0.22, 0.56, s.width_u) * _pulse(s.v - 0.3, 0.5, s.width_v)
    # A house has its wall's colour for c, and then no shop.
    shop = _slab(s.v, 0.0, 0.92, s.width_v) * (s.a != s.c).any(axis=1)
    front = _pulse(s.u - 0.08, 0.84, s.width_u) * _slab(s.v, 0.12, 0.72, s.width_v)
    wall = _mix(s.a, s.c, shop)
    glass = pane * (1 - shop) + front * shop
    lit = (_cell(s.u, s.v, s.row) > 0.55).astype(np.float32) * _fade(np.maximum(s.width_u, s.width_v))
    share = lit + 0.45 * (1 - _fade(np.maximum(s.width_u, s.width_v)))
    return _mix(wall, s.b, glass), s.gloss * glass, s.glow * glass * share


def _blocks(s: _Samples) -> tuple[_F, _F, _F]:
    line = np.floor(s.v)
    u = s.u + 0.5 * (line.astype(np.int64) & 1)
    joint = 1 - (1 - _pulse(u, 0.06, s.width_u)) * (1 - _pulse(s.v, 0.1, s.width_v))
    shade = 1 + (_cell(u, s.v, s.row) - 0.5) * 0.5 * _fade(np.maximum(s.width_u, s.width_v))
    return _mix(s.a * shade[:, None], s.b, joint), s.gloss, s.glow


def _tiles(s: _Samples) -> tuple[_F, _F, _F]:
    joint = 1 - (1 - _pulse(s.u, 0.05, s.width_u)) * (1 - _pulse(s.v, 0.05, s.width_v))
    pick = 0.5 + (_cell(s.u, s.v, s.row) - 0.5) * _fade(np.maximum(s.width_u, s.width_v))
    return _mix(_mix(s.a, s.c, pick), s.b, joint), s.gloss, s.glow


def _road(s: _Samples) -> tuple[_F, _F, _F]:
    across = s.v * s.size[:, 1]
    width = s.width_v * s.size[:, 1]
    dash = _slab(across, -0.11, 0.11, width) * _pulse(s.u, 0.5, s.width_u)
    edge = 0.5 * s.size[:, 1]
    line = _slab(np.abs(across), edge - 0.35, edge - 0.15, width)
    worn = 1 + 0.25 * (value_noise(s.u * 1.7, s.v * 2.0) - 0.5)
    return _mix(s.a * worn[:, None], s.b, np.minimum(dash + line, 1.0)), s.gloss, s.glow


def _fields(s: _Samples) -> tuple[_F, _F, _F]:
    # Warped borders look less like a chessboard.
    u = s.u + 0.35 * value_noise(s.v * 1.3, s.u * 0.7)
    v = s.v + 0.35 * value_noise(s.u * 1.1 + 9, s.v * 0.9)
    pick = _cell(u, v, s.row)[:, None]
    plot = np.where(pick < 0.4, s.a, np.where(pick < 0.75, s.b, s.c))
    mean = (0.4 * s.a + 0.35 * s.b + 0.25 * s.c).astype(np.float32)
    colour = _mix(mean, plot, _fade(np.maximum(s.width_u, s.width_v)))
    across: _F = np.where(pick[:, 0] < 0.5, u, v).astype(np.float32, copy=False)
    width = np.maximum(s.width_u, s.width_v)
    across *= 9
    width *= 9
    furrow = _pulse(across, 0.5, width)
    return colour * (0.9 + 0.2 * furrow)[:, None], s.gloss, s.glow


def _mottle(s: _Samples) -> tuple[_F, _F, _F]:
    width = np.maximum(s.width_u, s.width_v)
    coarse = 0.5 + (value_noise(s.u, s.v) - 0.5) * _fade(width)
    fine = (value_noise(s.u * 3.1 + 17, s.v * 3.1 + 5) - 0.5) * _fade(3 * width)
    share = np.clip((coarse - 0.5) * 1.6 + 0.5 + 0.35 * fine, 0.0, 1.0)
    return _mix(s.a, s.b, share), s.gloss, s.glow


def _bands(s: _Samples) -> tuple[_F, _F, _F]:
    return _mix(s.a, s.b, _pulse(0.5 * s.v, 0.5, 0.5 * s.width_v)), s.gloss, s.glow


def _stripes(s: _Samples) -> tuple[_F, _F, _F]:
    return _mix(s.a, s.b, _pulse(0.5 * s.u, 0.5, 0.5 * s.width_u)), s.gloss, s.glow


def _strata(s: _Samples) -> tuple[_F, _F, _F]:
    v: _F = s.v + np.float32(0.8) * value_noise(s.u, np.float32(0.5) * s.v)
    share = _pulse(0.5 * v, 0.5, 0.5 * s.width_v)
    pick = 0.5 + (_cell(np.zeros_like(v), v, s.row) - 0.5) * _fade(s.width_v)
    return _mix(_mix(s.a, s.b, share), s.c, 0.6 * pick), s.gloss, s.glow


def _checks(s: _Samples) -> tuple[_F, _F, _F]:
    across, along = _pulse(0.5 * s.u, 0.5, 0.5 * s.width_u), _pulse(0.5 * s.v, 0.5, 0.5 * s.width_v)
    return _mix(s.a, s.b, across + along - 2 * across * along), s.gloss, s.glow


_PAINTERS: Final[dict[Pattern, Callable[[_Samples], tuple[_F, _F, _F]]]] = {
    Pattern.WINDOWS: _windows,
    Pattern.BLOCKS: _blocks,
    Pattern.TILES: _tiles,
    Pattern.ROAD: _road,
    Pattern.FIELDS: _fields,
    Pattern.MOTTLE: _mottle,
    Pattern.BANDS: _bands,
    Pattern.STRATA: _strata,
    Pattern.CHECKS: _checks,
    Pattern.STRIPES: _stripes,
}
