"""The sparse control video: followed points as coloured rectangles on black, on the 832 x 480 canvas.

Laws, surprises of the training data included:

- Colour and size come from the clip's first frame. There every point has a size of its own, from the distance to its
  nearest neighbour; on all later frames all have the size of the point that was drawn last on the first.
- Larger z is painted first. As near is 1 here, what is FARTHER lies on top. Ties keep the order of the grid.
- Occluded points are painted like the others. A point whose x or y is exactly 0 is not.
- A point that is not drawn on the first frame has neither place nor colour there, and is not drawn at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bridge.errors import ShapeMismatch

from .canvas import CANVAS_HEIGHT, CANVAS_WIDTH
from .point_colours import point_colours
from .point_spacing import nearest_distances
from .rectangles import Corners, EqualRectangles, paint_rectangles, rectangle_corners

__all__ = ["SparsePainter", "paint_sparse"]


def paint_sparse(xy_px: NDArray[np.float32], z: NDArray[np.float32], drawn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the painted frames of one clip, (frames, 480, 832, 3) uint8 RGB; the arguments are `SparsePainter`'s."""
    painted = np.empty((len(z), CANVAS_HEIGHT, CANVAS_WIDTH, 3), dtype=np.uint8)
    for frame, canvas in zip(painted, SparsePainter(xy_px, z, drawn), strict=True):
        frame[...] = canvas
    return painted


class SparsePainter:
    """Iterates over the painted frames of one clip.

    Each is (480, 832, 3) uint8 RGB, and only valid until the next: frames are painted on one and the same canvas.

    Args:
        xy_px: (frames, points, 2) float32, canvas pixels; anything where not drawn.
        z: (frames, points) float32, near = 1, far = 0: the normalised disparity; anything where not drawn.
        drawn: (frames, points) bool. A point whose position is not finite is not drawn either.

    Raises:
        ShapeMismatch: the three do not fit each other.
    """

    def __init__(self, xy_px: NDArray[np.float32], z: NDArray[np.float32], drawn: NDArray[np.bool_]) -> None:
        if xy_px.shape != (*z.shape, 2) or drawn.shape != z.shape or z.ndim != 2:
            raise ShapeMismatch(
                "needs xy_px (frames, points, 2), z (frames, points) and drawn (frames, points)",
                field="tracks",
                value=f"{xy_px.shape}, {z.shape}, {drawn.shape}",
                remedy="Pass all points of every frame and mark those that are gone as not drawn.",
            )
        somewhere = drawn & np.isfinite(xy_px).all(axis=2)
        self._seeded = somewhere[0]
        self._drawn = somewhere & self._seeded & (xy_px != 0).all(axis=2)
        self._xy_px, self._z = np.where(somewhere[:, :, None], xy_px, np.float32(0)), z
        self._colours = np.zeros((z.shape[1], 3), dtype=np.uint8)
        self._colours[self._seeded] = point_colours(xy_px[0, self._seeded], z[0, self._seeded])

    def __len__(self) -> int:
        return len(self._z)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        sizes = self._first_sizes()
        order = self._drawing_order(0, self._drawn[0])
        canvas = np.zeros((CANVAS_HEIGHT, CANVAS_WIDTH, 3), dtype=np.uint8)
        corners = rectangle_corners(self._xy_px[0, order], sizes[order])
        paint_rectangles(canvas, corners, self._colours[order])
        yield canvas
        size = int(sizes[order[-1]]) if order.size else 0
        if size <= EqualRectangles.MAX_SIZE:
            yield from self._equal_frames(size)
        else:
            yield from self._large_frames(size, canvas)

    def _first_sizes(self) -> NDArray[np.int64]:
        sizes = np.zeros(self._z.shape[1], dtype=np.int64)
        seeds = np.column_stack([self._xy_px[0, self._seeded], self._z[0, self._seeded]])
        # A lone point has no neighbour at all; the canvas is as large as any size need be.
        sizes[self._seeded] = np.minimum(nearest_distances(seeds), CANVAS_WIDTH).astype(np.int64)
        return sizes

    def _drawing_order(self, frame: int, among: NDArray[np.bool_]) -> NDArray[np.intp]:
        points = np.flatnonzero(among)
        order: NDArray[np.intp] = points[np.argsort(-self._z[frame, points], kind="stable")]
        return order

    def _equal_frames(self, size: int) -> Iterator[NDArray[np.uint8]]:
        rectangles = EqualRectangles(self._colours, size)
        corners = rectangle_corners(self._xy_px, size)
        seen = self._drawn & corners.on_canvas()
        for frame in range(1, len(self)):
            order = self._drawing_order(frame, seen[frame])
            yield rectangles.paint(Corners(*(edge[frame, order] for edge in corners)), order)

    def _large_frames(self, size: int, canvas: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        for frame in range(1, len(self)):
            order = self._drawing_order(frame, self._drawn[frame])
            canvas.fill(0)
            paint_rectangles(canvas, rectangle_corners(self._xy_px[frame, order], size), self._colours[order])
            yield canvas
