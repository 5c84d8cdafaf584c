"""A tick, reduced to what its clip's control videos need: depth at the model's size, points in the image.

In: `Tick`, as the engine sent it. Out: depth and `PointsInImage`, small enough to keep a clip of. Who follows the
points is decided here, by the session's `TrackMode`; from here on all three modes look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.geometry.camera import Camera
from bridge.geometry.depth import to_planar_metres
from bridge.geometry.fit import Fit, FitMap
from bridge.geometry.projection import project, seed_points
from bridge.tick import TRACK_COUNT, Instances, Tick, TrackMode, TrackSet, Visibility

__all__ = ["Followed", "PointsInImage", "TickReducer"]


@dataclass(frozen=True, slots=True, eq=False)
class PointsInImage:
    """The 2,500 points of one set at one tick, as `ClipGeometry` holds them (without its leading axis)."""

    uv: NDArray[np.float32]
    depth_m: NDArray[np.float32]
    drawn: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """What a clip follows: its seeds, and for instances where each seed's instance stood at the seed tick.

    Args:
        points: (2500, 4) float64, homogeneous. In the world, or for seeds on an instance in that instance's own frame.
        instances: (2500,) uint32, 0 for the static world; None where nothing moves or the engine follows.
    """

    points: NDArray[np.float64]
    instances: NDArray[np.uint32] | None


class TickReducer:
    """Reduces the ticks of one session.

    Args:
        mode: who follows the points.
        height, width: of the model's frames.
        fit: what to do with another aspect; None refuses it.
    """

    def __init__(self, mode: TrackMode, *, height: int, width: int, fit: Fit | None) -> None:
        self.mode = mode
        self._size = (width, height)
        self._fit = fit
        self._map: FitMap | None = None

    def depth(self, tick: Tick) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return planar metres as captured, and at the model's size.

        Raises:
            InvalidValue: the aspect is not the model's and the session has no fit.
        """
        lens = tick.camera.intrinsics
        if self._map is None or self._map.source != (lens.width, lens.height):
            self._map = FitMap.between((lens.width, lens.height), self._size, fit=self._fit)
        metres = to_planar_metres(tick.depth, declaration=tick.depth_declaration, intrinsics=lens)
        return metres, self._map.depth(metres)

    def seed(self, tick: Tick, depth_m: NDArray[np.float32]) -> tuple[Followed | None, PointsInImage]:
        """Return what the clip that begins at this tick follows, and where it is now.

        Raises:
            InvalidValue: the tick lacks the seeds that the session's mode asks for; the message names the tick.
        """
        if self.mode is TrackMode.ENGINE:
            if tick.seeds is None:
                raise _missing(tick, "seeds", "a clip begins here: send the new set (session.starts_clip tells when)")
            return None, self._project_set(tick.seeds, tick.camera)
        points = seed_points(depth_m, tick.camera).astype(np.float64)
        under = None
        if self.mode is TrackMode.INSTANCES:
            if tick.seed_instances is None:
                raise _missing(tick, "seed_instances", "a clip begins here: send the instance under each seed")
            under = tick.seed_instances
            points = _into_instances(points, under, _required_instances(tick))
        followed = Followed(points, under)
        return followed, self.follow(tick, followed)

    def follow(self, tick: Tick, followed: Followed | None) -> PointsInImage:
        """Return where a running clip's points are at a later tick.

        Raises:
            InvalidValue: the tick lacks its tracks or instances; the message names the tick.
        """
        if followed is None:
            if tick.tracks is None:
                raise _missing(tick, "tracks", "with tracks='engine' every tick carries the running clip's set")
            return self._project_set(tick.tracks, tick.camera)
        lost = None
        points = followed.points
        if followed.instances is not None:
            points, lost = _out_of_instances(points, followed.instances, _required_instances(tick))
        return self._project(points, tick.camera, lost)

    def _project_set(self, tracks: TrackSet, camera: Camera) -> PointsInImage:
        return self._project(tracks.points, camera, tracks.visibility == Visibility.LOST)

    def _project(self, points: NDArray[np.floating], camera: Camera, lost: NDArray[np.bool_] | None) -> PointsInImage:
        assert self._map is not None, "depth() comes first"
        uv, depth_m, drawn = project(points, camera)
        if lost is not None and lost.any():
            drawn = drawn & ~lost
            uv[~drawn] = np.nan
        return PointsInImage(self._map.uv(uv).astype(np.float32), depth_m.astype(np.float32), drawn)


def _missing(tick: Tick, name: str, remedy: str) -> InvalidValue:
    return InvalidValue(f"tick {tick.index} lacks it", field=f"tick.{name}", remedy=f"{remedy[0].upper()}{remedy[1:]}.")


def _required_instances(tick: Tick) -> Instances:
    if tick.instances is None:
        raise _missing(tick, "instances", "with tracks='instances' every tick carries every instance's transform")
    return tick.instances


def _rows(under: NDArray[np.uint32], instances: Instances) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return, per seed, the row of its instance in `instances`, and whether it is there."""
    if not instances.ids.size:
        return np.zeros(TRACK_COUNT, np.intp), np.zeros(TRACK_COUNT, np.bool_)
    order = np.argsort(instances.ids)
    place = np.searchsorted(instances.ids, under, sorter=order).clip(max=len(order) - 1)
    rows = order[place]
    return rows, instances.ids[rows] == under


def _into_instances(
    points: NDArray[np.float64], under: NDArray[np.uint32], instances: Instances
) -> NDArray[np.float64]:
    rows, known = _rows(under, instances)
    moving = under != 0
    if (moving & ~known).any():
        raise InvalidValue(
            "names an instance that the tick's instances lack",
            field="tick.seed_instances",
            value=int(under[moving & ~known][0]),
            remedy="Send every instance's transform, and 0 for what never moves.",
        )
    if not moving.any():
        return points
    instance_from_world = np.linalg.inv(instances.world_from_instance)
    result = points.copy()
    result[moving] = np.einsum("nij,nj->ni", instance_from_world[rows[moving]], points[moving])
    return result


def _out_of_instances(
    points: NDArray[np.float64], under: NDArray[np.uint32], instances: Instances
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    moving = under != 0
    if not moving.any():
        return points, None
    rows, known = _rows(under, instances)
    result = points.copy()
    here = moving & known
    result[here] = np.einsum("nij,nj->ni", instances.world_from_instance[rows[here]], points[here])
    return result, moving & ~known
