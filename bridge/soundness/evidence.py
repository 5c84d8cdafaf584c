"""How well a reading of the stream explains it: points held against depth.

Two kinds of evidence. Where the engine follows points, each visible one must lie on the depth of its tick, and each
seed on its pixel (`PointView`). Where it does not, what one tick saw must be what another sees from elsewhere
(`PairView`). Both give the share of points that agree under a `Hypothesis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.depth import DepthDeclaration, to_planar_metres
from ..geometry.projection import unproject_pixels
from ..geometry.seeds import seed_pixels
from ..tick import Tick, TrackSet, Visibility
from .hypothesis import AS_SENT, Hypothesis, PoseReading

__all__ = ["Hits", "PairView", "PointView", "Score", "Sight", "score"]

_Array = NDArray[np.float64]
# How far a point may be outside the depths of the four pixels around it.
_TOLERANCE: Final = 0.005
_FEWEST: Final = 20


class Sight:
    """One tick's camera and depth, under any reading."""

    def __init__(self, tick: Tick) -> None:
        self.tick = tick
        self._planar: dict[DepthDeclaration, NDArray[np.float32]] = {}

    def depth(self, reading: Hypothesis) -> NDArray[np.float32]:
        """Return planar metres, (height, width), top row first and left column first."""
        declaration = reading.declaration or self.tick.depth_declaration
        planar = self._planar.get(declaration)
        if planar is None:
            planar = to_planar_metres(self.tick.depth, declaration=declaration, intrinsics=self.tick.camera.intrinsics)
            self._planar[declaration] = planar
        return planar[:, ::-1] if reading.mirrored_columns else planar

    def camera_from_world(self, reading: Hypothesis) -> tuple[_Array, _Array]:
        """Return the rotation (3, 3) and the translation (3,)."""
        sent = self.tick.camera.world_from_camera.matrix
        rotation, position = sent[:3, :3], sent[:3, 3] * reading.position_scale
        if reading.pose is PoseReading.AS_SENT:
            rotation, position = rotation.T, -rotation.T @ position
        elif reading.pose is PoseReading.TRANSPOSED:
            position = -rotation @ position
        elif reading.pose is PoseReading.IGNORED:
            rotation, position = np.eye(3), np.zeros(3)
        axes = np.array(reading.axes, np.float64).T
        return axes @ rotation, axes @ position

    def hits(self, points: _Array, reading: Hypothesis) -> Hits:
        """Project homogeneous world points, (n, 4), and look up the depth around each."""
        rotation, translation = self.camera_from_world(reading)
        p_in_camera = points[:, :3] @ rotation.T + points[:, 3:] * translation
        lens, depth = self.tick.camera.intrinsics, self.depth(reading)
        z = p_in_camera[:, 2]
        with np.errstate(all="ignore"):
            u = lens.fx_px * p_in_camera[:, 0] / z + lens.cx_px
            v = lens.fy_px * p_in_camera[:, 1] / z + lens.cy_px
            inside = (z > 0) & (u >= 0) & (u <= lens.width) & (v >= 0) & (v <= lens.height)
        u, v = np.where(inside, u, np.nan), np.where(inside, v, np.nan)
        left = np.floor(np.where(inside, u, 0.5) - 0.5).astype(np.int64)
        top = np.floor(np.where(inside, v, 0.5) - 0.5).astype(np.int64)
        right, bottom = np.minimum(left + 1, lens.width - 1), np.minimum(top + 1, lens.height - 1)
        left, top = np.maximum(left, 0), np.maximum(top, 0)
        around = depth[np.stack([top, top, bottom, bottom]), np.stack([left, right, left, right])].astype(np.float64)
        return Hits(u, v, np.where(points[:, 3] == 0, np.inf, z), inside, around)


class Hits(NamedTuple):
    """Where points fall: pixels u, v (n,), NaN outside; their own depth; inside (n,); the depth around, (4, n)."""

    u: _Array
    v: _Array
    z: _Array
    inside: NDArray[np.bool_]
    around: _Array

    def agree(self) -> NDArray[np.bool_]:
        """Return which points lie between the nearest and the farthest depth around them, (n,)."""
        nearest, farthest = self.around.min(axis=0), self.around.max(axis=0)
        # A direction agrees with the sky, and with nothing else.
        on_surface = (self.z >= nearest * (1 - _TOLERANCE)) & (self.z <= farthest * (1 + _TOLERANCE))
        agree: NDArray[np.bool_] = self.inside & np.where(np.isinf(self.z), np.isinf(farthest), on_surface)
        return agree


class Score(NamedTuple):
    """Shares of points, 0..1: on the depth, and (NaN without seeds) on their seed pixel."""

    on_depth: float
    on_grid: float

    @property
    def total(self) -> float:
        """The mean of both."""
        return self.on_depth if np.isnan(self.on_grid) else 0.5 * (self.on_depth + self.on_grid)


@dataclass(frozen=True, eq=False)
class PointView:
    """The engine's own points at one tick.

    Args:
        sight: that tick.
        points: (n, 4) float64, the visible ones.
        seeds: (n,) their number in the grid, where they are seeds.
    """

    sight: Sight
    points: _Array
    seeds: NDArray[np.int64] | None

    @classmethod
    def of(cls, sight: Sight, tracks: TrackSet, *, seeds: bool) -> PointView | None:
        """Return the view of a track set; None where too few of its points are visible."""
        seen = np.flatnonzero(tracks.visibility == Visibility.VISIBLE)
        if seen.size < _FEWEST:
            return None
        return cls(sight, tracks.points[seen].astype(np.float64), seen if seeds else None)

    def thinned(self, count: int) -> PointView:
        """Return a view of about `count` of the points."""
        every = slice(None, None, max(1, len(self.points) // count))
        return replace(self, points=self.points[every], seeds=None if self.seeds is None else self.seeds[every])

    def hits(self, reading: Hypothesis) -> Hits:
        """Return where the points fall under a reading."""
        points = self.points.copy()
        points[:, :3] = points[:, :3] @ np.array(reading.world, np.float64).T * reading.points_scale
        return self.sight.hits(points, reading)

    def score(self, reading: Hypothesis) -> Score:
        """Return the shares that agree."""
        hits = self.hits(reading)
        on_grid = float("nan")
        if self.seeds is not None:
            lens = self.sight.tick.camera.intrinsics
            rows, columns = seed_pixels(lens.width, lens.height)
            off_u = np.abs(hits.u - columns[self.seeds] - 0.5)
            off_v = np.abs(hits.v - rows[self.seeds] - 0.5)
            on_grid = float(((off_u <= 1.0) & (off_v <= 1.0)).mean())
        return Score(float(hits.agree().mean()), on_grid)


@dataclass(frozen=True, eq=False)
class PairView:
    """What one tick saw, seen from another: what the stream says of itself where it has no points.

    Args:
        source, target: two ticks between which the camera moved.
        still: (k,) numbers of the seeds that are known not to have moved by themselves.
    """

    source: Sight
    target: Sight
    still: NDArray[np.int64]

    def thinned(self, count: int) -> PairView:
        """Return a view of about `count` of the seeds."""
        return replace(self, still=self.still[:: max(1, self.still.size // count)])

    def score(self, reading: Hypothesis) -> Score:
        """Return the share that agrees, of the points that the second tick has in view; 0 where it has hardly any."""
        lens = self.source.tick.camera.intrinsics
        rows, columns = (pixels[self.still] for pixels in seed_pixels(lens.width, lens.height))
        seen = unproject_pixels(self.source.depth(reading), rows, columns, intrinsics=lens)
        rotation, translation = self.source.camera_from_world(reading)
        in_world = seen.copy()
        in_world[:, :3] = (seen[:, :3] - seen[:, 3:] * translation) @ rotation
        hits = self.target.hits(in_world, reading)
        if hits.inside.sum() < max(_FEWEST, 0.3 * hits.inside.size):
            return Score(0.0, float("nan"))
        return Score(float(hits.agree().sum() / hits.inside.sum()), float("nan"))


def score(views: Sequence[PointView | PairView], reading: Hypothesis = AS_SENT) -> Score:
    """Return the mean over all views."""
    scores = [view.score(reading) for view in views]
    grids = [s.on_grid for s in scores if not np.isnan(s.on_grid)]
    return Score(float(np.mean([s.on_depth for s in scores])), float(np.mean(grids)) if grids else float("nan"))
