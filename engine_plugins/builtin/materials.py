"""What surfaces look like: a pattern, up to three colours, a size in metres, gloss and glow.

Patterns are drawn from surface coordinates, so they move with a moving body. They are large on purpose: a picture of
80 x 144 pixels has to be readable.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colour", "MaterialTable", "Materials", "Pattern", "linear"]

Colour: TypeAlias = str
"""sRGB as "rrggbb"."""


class Pattern(enum.IntEnum):
    """How the colours a, b, c share the surface; `size` is (across u, across v) in metres."""

    PLAIN = 0
    """a."""
    WINDOWS = 1
    """A wall a with panes b, one per size; the lowest row is a shop front c."""
    BLOCKS = 2
    """Laid blocks a with joints b; every block has its own shade."""
    TILES = 3
    """Slabs a and c at random, joints b."""
    ROAD = 4
    """Asphalt a, v from the middle; lines b at the middle and at half of size[1] from it; dashes size[0] long."""
    FIELDS = 5
    """Plots of size, each a, b or c, with furrows."""
    MOTTLE = 6
    """Soft patches of a and b."""
    BANDS = 7
    """a and b in turn along v."""
    STRATA = 8
    """Uneven layers of a, b and c along v."""
    CHECKS = 9
    """a and b as on a chessboard."""
    STRIPES = 10
    """a and b in turn along u."""


def linear(colour: Colour) -> NDArray[np.float32]:
    """Return linear light, (3,) float32, of an sRGB colour "rrggbb"."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)]) / 255.0
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class MaterialTable:
    """All materials of a scene, a row each.

    Args:
        pattern: (rows,) uint8 of `Pattern`.
        colours: (rows, 3 colours, 3 channels) float32, linear light.
        size_m: (rows, 2) float32.
        gloss: (rows,) float32, 0 matt to 1 mirror; for windows it holds for the panes.
        glow: (rows,) float32, light of its own; for windows, that of the panes that are lit.
    """

    pattern: NDArray[np.uint8]
    colours: NDArray[np.float32]
    size_m: NDArray[np.float32]
    gloss: NDArray[np.float32]
    glow: NDArray[np.float32]


@dataclass(slots=True)
class Materials:
    """Collects a scene's materials while it is built."""

    _rows: list[tuple[Pattern, tuple[Colour, ...], tuple[float, float], float, float]] = field(default_factory=list)

    def add(
        self,
        pattern: Pattern,
        *colours: Colour,
        size: tuple[float, float] = (1.0, 1.0),
        gloss: float = 0.0,
        glow: float = 0.0,
    ) -> int:
        """Add a material and return its row; colours not given repeat the last one."""
        filled = (*colours, *(colours[-1],) * (3 - len(colours)))
        self._rows.append((pattern, filled, size, gloss, glow))
        return len(self._rows) - 1

    def plain(self, colour: Colour, *, gloss: float = 0.0, glow: float = 0.0) -> int:
        """Add a material of one colour and return its row."""
        return self.add(Pattern.PLAIN, colour, gloss=gloss, glow=glow)

    def table(self) -> MaterialTable:
        """Return what was collected."""
        return MaterialTable(
            pattern=np.array([row[0] for row in self._rows], dtype=np.uint8),
            colours=np.array([[linear(colour) for colour in row[1]] for row in self._rows], dtype=np.float32),
            size_m=np.array([row[2] for row in self._rows], dtype=np.float32),
            gloss=np.array([row[3] for row in self._rows], dtype=np.float32),
            glow=np.array([row[4] for row in self._rows], dtype=np.float32),
        )
