"""Filled rectangles on the canvas, later ones over earlier ones.

A rectangle of size s reaches s / 2 to both sides of its centre and s / 3 up and down. Corners truncate toward zero and
both belong to it, which is what the training data's drawing did.

`EqualRectangles` needs no call per rectangle. All rectangles of a frame have one size, so every row of every one is a
run of s + 1 pixels, and a run is one element of a view of the canvas whose elements overlap: a single indexed
assignment writes all runs, in order. Why this is exact for every centre:

- The right end of a run is the truncated right corner x1, and x1 - s is the truncated left one, as both are shifted by
  the same fraction. Only across zero may the two truncate apart; then x1 - s is off the canvas, as it should be.
- The number of rows does differ from one rectangle to the next. Each is painted upward from its lowest row, and a
  rectangle that is short of a row paints its highest one twice.
- A margin around the canvas takes what hangs over its edge.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .canvas import CANVAS_HEIGHT, CANVAS_WIDTH

__all__ = ["Corners", "EqualRectangles", "paint_rectangles", "rectangle_corners"]

_FAR_OUTSIDE: Final = 1 << 14
"""Corners beyond this are as good as here, and fit the drawing library's fixed point numbers."""


class Corners(NamedTuple):
    """Corner pixels, both inclusive, each (...,) int32."""

    left: NDArray[np.int32]
    top: NDArray[np.int32]
    right: NDArray[np.int32]
    bottom: NDArray[np.int32]

    def on_canvas(self) -> NDArray[np.bool_]:
        """Return which rectangles have a pixel on the canvas, (...,) bool."""
        return (self.left < CANVAS_WIDTH) & (self.right >= 0) & (self.top < CANVAS_HEIGHT) & (self.bottom >= 0)


def rectangle_corners(xy_px: NDArray[np.float32], size: NDArray[np.int64] | int) -> Corners:
    """Return the corners of rectangles.

    Args:
        xy_px: (..., 2) float32, centres in canvas pixels.
        size: of each, (...,), or of all: twice the half width, three times the half height.
    """
    half_width = np.asarray(size) / 2.0
    half_height = half_width / 1.5
    x, y = xy_px[..., 0].astype(np.float64), xy_px[..., 1].astype(np.float64)
    return Corners(
        left=_truncated(x - half_width),
        top=_truncated(y - half_height),
        right=_truncated(x + half_width),
        bottom=_truncated(y + half_height),
    )


def _truncated(edge: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.clip(edge, -_FAR_OUTSIDE, _FAR_OUTSIDE, out=edge).astype(np.int32)


def paint_rectangles(canvas: NDArray[np.uint8], corners: Corners, colours: NDArray[np.uint8]) -> None:
    """Paint rectangles of any sizes onto (height, width, 3) uint8, one after the other.

    Args:
        canvas: contiguous; painted on.
        corners: of all rectangles, in drawing order.
        colours: (points, 3) uint8 RGB.
    """
    columns = (edge.tolist() for edge in corners)
    for left, top, right, bottom, colour in zip(*columns, colours.tolist(), strict=True):
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, cv2.FILLED)


class EqualRectangles:
    """Paints frames of points whose rectangles all have one size.

    Args:
        colours: (points, 3) uint8 RGB.
        size: of every rectangle, at most `MAX_SIZE`.
    """

    MAX_SIZE: Final = 64
    """Beyond it a rectangle has so many pixels that painting runs is no faster than calling a drawing library."""

    def __init__(self, colours: NDArray[np.uint8], size: int) -> None:
        self._size = size
        self._rows = math.ceil(size / 1.5) + 1
        self._pitch = CANVAS_WIDTH + 2 * size
        run = np.dtype((np.void, 3 * (size + 1)))
        block = np.dtype((np.void, run.itemsize * self._rows))
        pixels = np.repeat(colours[:, None, :], (size + 1) * self._rows, axis=1)
        self._run = run
        self._blocks: NDArray[np.void] = pixels.reshape(len(colours), block.itemsize).view(block).reshape(-1)
        # One row of margin above and below, `size` pixels on both sides.
        self._canvas = np.zeros((CANVAS_HEIGHT + 2, self._pitch, 3), dtype=np.uint8)
        first_run = self._canvas.reshape(-1)[: run.itemsize].view(run)
        self._runs: NDArray[np.void] = as_strided(
            first_run, shape=((CANVAS_HEIGHT + 2) * self._pitch - size,), strides=(3,)
        )

    def paint(self, corners: Corners, points: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return a canvas with one rectangle for each of the points.

        Args:
            corners: each (n,) int32, in drawing order, of rectangles of this size that are on the canvas.
            points: (n,) which point each is: its colour.

        Returns:
            (480, 832, 3) uint8 RGB, black where nothing is: a view that the next call paints over.
        """
        top, bottom = np.maximum(corners.top, -1), np.minimum(corners.bottom, CANVAS_HEIGHT)
        rows = np.maximum(bottom[:, None] - np.arange(self._rows, dtype=np.int32), top[:, None])
        # Row 0 of the canvas is row 1 here; both margins cancel in the column, right - size + size.
        rows *= self._pitch
        rows += (corners.right + self._pitch)[:, None]
        self._canvas.fill(0)
        # With a flat index numpy writes element after element, so a later rectangle lies over an earlier one.
        self._runs[rows.reshape(-1)] = self._blocks[points].view(self._run)
        return self._canvas[1:-1, self._size : self._size + CANVAS_WIDTH]
