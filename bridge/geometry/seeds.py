"""The grid on which a clip's followed points are seeded, and the capture pixels that they live on.

Laws: 50 x 50 seeds in row-major order, identity = position in the order; the grid is LongVie 2's own (its tracker's,
on an 832 x 480 canvas), so it depends on no image size. A seed lives at the CENTRE of the capture pixel that contains
its grid position, and its point is what that pixel's centre ray hits. `docs/decisions/0003-seeds-live-on-pixels.md`
says why.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue

__all__ = ["seed_grid", "seed_pixels", "seed_uv"]

_Scalar = TypeVar("_Scalar", bound=np.generic)

_GRID: Final = 50

# Position i of 50 is 9 + i * 558/49 of 576 across and 9 + i * 366/49 of 384 down. Kept as integer fractions, so that
# the pixel of a position on the edge of two is the same in every language: never a matter of rounding.
_ACROSS: Final = (9 * 49, 558, 49 * 576)
_DOWN: Final = (9 * 49, 366, 49 * 384)


@lru_cache(maxsize=1)
def seed_grid() -> NDArray[np.float64]:
    """Return the ideal grid in normalised image coordinates, shared and read-only.

    Returns:
        uv: (2500, 2) float64, row-major; (0, 0) is the image's top-left corner, (1, 1) its bottom-right one.
    """
    x = np.linspace(9.0, 567.0, _GRID) * 832.0 / 576.0
    y = np.linspace(9.0, 375.0, _GRID) * 480.0 / 384.0
    v, u = np.meshgrid(y / 480.0, x / 832.0, indexing="ij")
    return _frozen(np.stack([u.ravel(), v.ravel()], axis=1))


@lru_cache(maxsize=32)
def seed_pixels(width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the capture pixel of every seed, shared and read-only: floor(v * height), floor(u * width).

    Args:
        width, height: the capture's size in pixels. From 52 x 52 on, every seed has a pixel of its own.

    Returns:
        rows, columns: (2500,) int64 each, row-major over the grid: `depth[rows, columns]` is what the seeds see.

    Raises:
        InvalidValue: a size is not positive.
    """
    if width <= 0 or height <= 0:
        raise InvalidValue(
            "must be positive", field="size", value=f"{width} x {height}", remedy="Give the capture's size in pixels."
        )
    rows = np.repeat(_cells(_DOWN, height), _GRID)
    columns = np.tile(_cells(_ACROSS, width), _GRID)
    return _frozen(rows), _frozen(columns)


def seed_uv(width: int, height: int) -> NDArray[np.float64]:
    """Return where the seeds really are: their pixels' centres, (2500, 2) float64, normalised.

    Raises:
        InvalidValue: a size is not positive.
    """
    rows, columns = seed_pixels(width, height)
    return np.stack([(columns + 0.5) / width, (rows + 0.5) / height], axis=1)


def _cells(fraction: tuple[int, int, int], pixels: int) -> NDArray[np.int64]:
    first, step, whole = fraction
    return (first + step * np.arange(_GRID, dtype=np.int64)) * int(pixels) // whole


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    array.flags.writeable = False
    return array
