"""The canvas on which tracked points are drawn, and its coordinates.

The released weights were trained on tracks drawn at 832 x 480, whatever the model's own size: a rectangle is painted
there and the picture is resized afterwards.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CANVAS_HEIGHT", "CANVAS_WIDTH", "canvas_from_uv", "uv_from_canvas"]

CANVAS_WIDTH: Final = 832
"""Pixels."""
CANVAS_HEIGHT: Final = 480
"""Pixels."""

_SIZE_PX: Final = np.array([CANVAS_WIDTH, CANVAS_HEIGHT], dtype=np.float32)


def canvas_from_uv(uv: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return canvas pixels, (..., 2) float32 (x, y), of normalised image coordinates, whose corners are 0 and 1."""
    return uv.astype(np.float32, copy=False) * _SIZE_PX


def uv_from_canvas(xy_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return normalised image coordinates, (..., 2) float32, of canvas pixels, (..., 2) (x, y)."""
    return xy_px.astype(np.float32, copy=False) / _SIZE_PX
