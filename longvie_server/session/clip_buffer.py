"""Where the ticks of a clip are kept: arrays of a whole clip, written in place and used again.

A tick that arrived in a transport's buffer is copied here once, so that buffer goes back at once; a finished clip is
already the arrays that the world model's worker takes. Memory that was touched before is several times as fast to write
as fresh memory, so all sessions of a server share one pool.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_TICKS, TRACK_COUNT

from ..control.clip_geometry import ClipGeometry
from .reduce import PointsInImage

__all__ = ["BufferPool", "ClipBuffer"]


class ClipBuffer:
    """The geometry of one clip in the making, at the model's size."""

    def __init__(self, height: int, width: int) -> None:
        self._geometry = ClipGeometry(
            depth_m=np.empty((CLIP_TICKS, height, width), np.float32),
            track_uv=np.empty((CLIP_TICKS, TRACK_COUNT, 2), np.float32),
            track_depth_m=np.empty((CLIP_TICKS, TRACK_COUNT), np.float32),
            track_drawn=np.empty((CLIP_TICKS, TRACK_COUNT), np.bool_),
        )
        self.count = 0

    def append(self, depth_m: NDArray[np.float32], points: PointsInImage) -> None:
        """Add a tick: depth (height, width) float32, metres, and its points."""
        geometry, row = self._geometry, self.count
        geometry.depth_m[row] = depth_m
        geometry.track_uv[row] = points.uv
        geometry.track_depth_m[row] = points.depth_m
        geometry.track_drawn[row] = points.drawn
        self.count += 1

    @property
    def first_depth_m(self) -> NDArray[np.float32]:
        """Depth of the clip's first tick alone, (1, height, width) float32, metres."""
        return self._geometry.depth_m[:1]

    def filled(self) -> ClipGeometry:
        """Return the whole clip; where ticks are missing, the last one is held."""
        geometry, count = self._geometry, self.count
        for array in (geometry.depth_m, geometry.track_uv, geometry.track_depth_m, geometry.track_drawn):
            array[count:] = array[count - 1]
        return geometry


class BufferPool:
    """Buffers of one size, used again.

    Args:
        height, width: of the model's frames.
        spare: how many unused buffers are kept.
    """

    def __init__(self, height: int, width: int, *, spare: int = 3) -> None:
        self._size, self._most = (height, width), spare
        self._spare: list[ClipBuffer] = []

    def take(self) -> ClipBuffer:
        """Return an empty buffer."""
        return self._spare.pop() if self._spare else ClipBuffer(*self._size)

    def give_back(self, buffer: ClipBuffer) -> None:
        """Take a buffer that nobody uses any more."""
        buffer.count = 0
        if len(self._spare) < self._most:
            self._spare.append(buffer)
