"""Depth and followed points as a picture: what the model will be told, before anything is sent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.projection import project
from bridge.tick import Tick, Visibility

__all__ = ["paint_tick"]

_FIRST, _LAST = np.array((0.1, 0.8, 1.0)), np.array((1.0, 0.6, 0.1))


def paint_tick(tick: Tick) -> NDArray[np.float32]:
    """Return a picture of a tick that begins a clip, (height, width, 3) float32 in 0..1, top row first.

    Near is black and far is white, as the model sees it; points run from blue (left) to orange (right).
    """
    with np.errstate(divide="ignore"):
        disparity = 1.0 / tick.depth
    near, far = np.percentile(disparity, (95.0, 5.0))
    span = max(float(near - far), 1e-12)
    grey = np.clip((near - disparity) / span, 0.0, 1.0)
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    tracks = tick.seeds if tick.seeds is not None else tick.tracks
    if tracks is not None:
        height, width = tick.depth.shape
        uv, _, in_front = project(tracks.points, tick.camera)
        with np.errstate(invalid="ignore"):
            inside = in_front & (uv >= 0).all(axis=1) & (uv <= 1).all(axis=1)
        shown = inside & (tracks.visibility != Visibility.LOST) & (tracks.points[:, 3] == 1)
        across = (np.arange(len(uv)) % 50 / 49.0)[shown, None]
        column = np.clip((uv[shown, 0] * width).astype(np.int64), 0, width - 1)
        row = np.clip((uv[shown, 1] * height).astype(np.int64), 0, height - 1)
        colour = _FIRST * (1 - across) + _LAST * across
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            picture[np.minimum(row + down, height - 1), np.minimum(column + right, width - 1)] = colour
    return picture
