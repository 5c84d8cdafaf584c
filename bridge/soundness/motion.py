"""Do things move that should, and stand still that should?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..geometry.projection import project
from ..geometry.seeds import seed_uv
from ..tick import Tick, TrackSet
from .evidence import PointView, Score, Sight
from .finding import Figure, Finding, Severity
from .hypothesis import AS_SENT
from .verdict import percent

__all__ = ["camera_moves", "examine_camera", "examine_tracks_move", "held_still"]

_MOVED_PX: Final = 3.0


def camera_moves(before: Tick, after: Tick) -> bool:
    """Return whether the camera went somewhere, or turned by more than half a degree."""
    one, two = before.camera.world_from_camera.matrix, after.camera.world_from_camera.matrix
    turned = float(np.abs(one[:3, :3] - two[:3, :3]).max())
    reach = float(np.median(before.depth[np.isfinite(before.depth)])) if np.isfinite(before.depth).any() else 1.0
    return turned > 0.01 or float(np.linalg.norm(one[:3, 3] - two[:3, 3])) > 0.01 * reach


def examine_tracks_move(ticks: Sequence[Tick]) -> list[Finding]:
    """Return a finding where followed points stay on their grid in the image although the camera moves.

    That happens where an engine seeds anew at every tick: such points lie on the depth, but follow nothing.
    """
    stayed: list[float] = []
    moved: list[float] = []
    seeds: tuple[Tick, TrackSet] | None = None
    for tick in ticks:
        if tick.tracks is not None and seeds is not None:
            lens = tick.camera.intrinsics
            size = np.array([lens.width, lens.height])
            grid = seed_uv(lens.width, lens.height)
            uv, _, _ = project(tick.tracks.points, tick.camera)
            expected, _, in_front = project(seeds[1].points, tick.camera)
            stayed.append(float(np.mean((np.abs(uv - grid) * size).max(axis=1) <= 1.0)))
            travel = (np.abs(expected - grid) * size).max(axis=1)[in_front]
            moved.append(float(np.median(travel)) if travel.size else 0.0)
        if tick.seeds is not None:
            seeds = (tick, tick.seeds)
    away = np.array(moved) > _MOVED_PX
    if away.sum() < 2 or float(np.mean(np.array(stayed)[away])) < 0.9:
        return []
    return [
        Finding(
            "tracks_static",
            Severity.ERROR,
            "The followed points stand still in the image while the camera moves",
            "Seed on a clip's first tick only; at every later tick send where those same surface points are now.",
            (
                percent("points on their seed pixel", float(np.mean(np.array(stayed)[away]))),
                Figure("they should have moved by", float(np.max(moved)), "px"),
            ),
        )
    ]


def examine_camera(sights: Sequence[Sight]) -> list[Finding]:
    """Return a finding where the camera's pose never changes but nearly all depth does."""
    first, last = sights[0], sights[-1]
    poses = {sight.tick.camera.world_from_camera for sight in sights}
    one, two = first.depth(AS_SENT), last.depth(AS_SENT)
    if len(poses) > 1 or one.shape != two.shape:
        return []
    both = np.isfinite(one) & np.isfinite(two)
    if not both.any():
        return []
    changed = float((np.abs(one[both] - two[both]) > 0.02 * one[both]).mean())
    if changed < 0.6:
        return []
    return [
        Finding(
            "camera_frozen",
            Severity.WARNING,
            "The camera's pose is the same at every tick, but nearly all depth changes",
            "Read the pose when the depth is rendered, at every tick.",
            (percent("pixels that change", changed),),
        )
    ]


def held_still(views: Sequence[PointView], baseline: Score) -> Finding | None:
    """Return a finding where points of one clip never move in the world, and that is why they leave the depth."""
    followed = [view for view in views if view.seeds is None]
    seeds = [view for view in views if view.seeds is not None]
    if not followed or not seeds:
        return None
    still = all(
        view.points.shape == followed[0].points.shape and np.array_equal(view.points, followed[0].points)
        for view in followed
    )
    at_seeds = float(np.mean([view.score(AS_SENT).on_depth for view in seeds]))
    if not still or len(followed) < 2 or at_seeds < 0.95:
        return None
    return Finding(
        "tracks_still",
        Severity.WARNING,
        "The followed points never move in the world, though surfaces under them do",
        "Send each point's own position at every tick (mesh and barycentric coordinates, bone, or rigid body).",
        (percent("points on the depth at their seed tick", at_seeds), percent("and on all ticks", baseline.on_depth)),
    )
