"""What an engine knows of a clip and found footage does not: where things went, what they hid, where they end.

In: an engine's views, tick by tick. Out: a `ClipTruth`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.geometry.camera import Camera
from bridge.geometry.projection import project
from bridge.geometry.visibility import visibility
from bridge.tick import Visibility
from engine_plugins.builtin import FollowedGrid, RenderedFrame, Scene

__all__ = ["HIDDEN", "ClipTruth", "Watcher", "depth_edges"]

HIDDEN: Final = -1
"""In a warp: nothing of the first frame is seen here."""
_EDGE_RATIO: Final = 1.15
"""Depths that differ by more, from a pixel to its neighbour, are two things'."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipTruth:
    """One clip; what nobody knows of it is None.

    Args:
        tracks: (81, 2500, 2) float32, where the followed grid is, pixels (0 is the first pixel's left or upper border);
            NaN where a point is not seen.
        warp: (81, height, width) int32, the pixel of the clip's first frame (row * width + column) that is seen here,
            or `HIDDEN`.
        edges: (81, height, width) bool, the nearer side of a jump in depth.
    """

    tracks: NDArray[np.float32] | None = None
    warp: NDArray[np.int32] | None = None
    edges: NDArray[np.bool_] | None = None

    def save(self, folder: Path) -> None:
        """Write what is known into a clip's folder."""
        for field in fields(self):
            if getattr(self, field.name) is not None:
                np.save(folder / f"{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, folder: Path) -> ClipTruth:
        """Read what `save` wrote, memory-mapped."""
        paths = [folder / f"{field.name}.npy" for field in fields(cls)]
        return cls(*(np.load(p, mmap_mode="r", allow_pickle=False) if p.exists() else None for p in paths))


class Watcher:
    """Looks on while a clip is rendered: `capture_clip(..., look_on=watcher)`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._grids: tuple[FollowedGrid, FollowedGrid] | None = None
        self._seen: list[tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]] = []

    def __call__(self, view: RenderedFrame, transforms: NDArray[np.float64]) -> None:
        """Take in the next tick."""
        if self._grids is None:
            begin = (self._scene, view, transforms)
            self._grids = FollowedGrid.seeded(*begin), FollowedGrid.of_all_pixels(*begin)
        sparse, dense = (grid.points(transforms) for grid in self._grids)
        tracks = _seen_at(sparse, view.camera, view.depth)
        self._seen.append((tracks, _warp(dense, view.camera, view.depth), depth_edges(view.depth)))

    def truth(self) -> ClipTruth:
        """Return what was seen so far."""
        tracks, warp, edges = (np.stack(plane) for plane in zip(*self._seen, strict=True))
        return ClipTruth(tracks, warp, edges)


def depth_edges(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where depth, (height, width) metres, jumps: true on the nearer of two neighbours."""
    edges = np.zeros(depth.shape, np.bool_)
    for axis in (0, 1):
        ahead = np.moveaxis(depth, axis, 0)
        marked = np.moveaxis(edges, axis, 0)
        marked[:-1] |= ahead[1:] > ahead[:-1] * _EDGE_RATIO
        marked[1:] |= ahead[:-1] > ahead[1:] * _EDGE_RATIO
    return edges


def _seen_at(points: NDArray[np.float32], camera: Camera, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    uv, _, _ = project(points, camera)
    seen = visibility(points, camera, depth) == Visibility.VISIBLE
    pixels = uv * [camera.intrinsics.width, camera.intrinsics.height]
    return np.where(seen[:, None], pixels, np.nan).astype(np.float32)


def _warp(points: NDArray[np.float32], camera: Camera, depth: NDArray[np.float32]) -> NDArray[np.int32]:
    """Splat every pixel of the first frame to where it is now, the nearest on top; then close the cracks."""
    height, width = depth.shape
    uv, depth_m, _ = project(points, camera)
    seen = np.flatnonzero(visibility(points, camera, depth) == Visibility.VISIBLE)
    rows = np.minimum((uv[seen, 1] * height).astype(np.int64), height - 1)
    columns = np.minimum((uv[seen, 0] * width).astype(np.int64), width - 1)
    far_first = np.argsort(-depth_m[seen], kind="stable")
    warp = np.full((height, width), HIDDEN, np.int32)
    warp[rows[far_first], columns[far_first]] = seen[far_first]
    return _closed(warp)


def _closed(warp: NDArray[np.int32]) -> NDArray[np.int32]:
    """Fill pixels that are mostly surrounded: what is nearer now than before has gaps between its points."""
    known = (warp != HIDDEN).astype(np.uint8)
    crowded = cv2.blur(known.astype(np.float32), (3, 3), borderType=cv2.BORDER_REPLICATE) > 0.5
    nearest = cv2.dilate(warp.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
    return np.where((known == 0) & crowded, nearest, warp).astype(np.int32)
