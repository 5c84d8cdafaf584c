"""Is a stream of ticks sound? What is told, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..tick import TRACK_COUNT, TRACK_GRID, Tick
from .depth_values import examine_values, looks_like_device_depth
from .evidence import PairView, PointView, Score, Sight, score
from .finding import Figure, Finding, Severity
from .hypothesis import AS_SENT
from .measure import pixel_offset
from .motion import camera_moves, examine_camera, examine_tracks_move, held_still
from .order import examine_order, examine_time
from .verdict import best_explanation, percent

__all__ = ["examine"]

# Exact points agree nearly all. Between two views, what moves or comes into sight does not: below the first share a
# mistake is looked for, below the second it is said that none was found.
_SOUND_POINTS: Final = 0.95
_SOUND_PAIRS: Final = 0.95
_TROUBLED_PAIRS: Final = 0.6
_MOST_SEEDS: Final = 3
_MOST_TRACKS: Final = 5
# Between the two ticks of a pair, of the stream's length and at most: near ones see the same, far ones tell more.
_GAPS: Final = ((0.15, 8), (0.4, 30), (0.8, 60))


def examine(ticks: Sequence[Tick]) -> list[Finding]:
    """Return what is wrong with a stream of ticks, the gravest first; nothing where it is sound.

    Geometry is judged by evidence: of all mistakes that could be made, the one is named that explains the data best.
    A stream whose camera and surfaces never move, or that shows one even wall, gives little evidence, hence few
    findings. Ticks are sampled: a sound stream takes a fraction of a second, an unsound one a few seconds, whatever
    their length.

    Args:
        ticks: as the engine sent them, in the order of sending. One clip (81 ticks) is plenty.
    """
    if not ticks:
        return []
    findings = examine_order(ticks)
    ordered = list({tick.index: tick for tick in sorted(ticks, key=lambda tick: tick.index)}.values())
    findings += examine_time(ordered)
    findings += _examine_scene(ordered)
    return sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)


def _examine_scene(ticks: list[Tick]) -> list[Finding]:
    sampled = [Sight(tick) for tick in _evenly(ticks, _MOST_TRACKS)]
    findings = examine_values(sampled)
    if findings:
        return findings
    points = _point_views(ticks)
    if points:
        return examine_tracks_move(ticks) or _examine_points(points, sampled)
    pairs = _pair_views(ticks)
    baseline = score(pairs) if pairs else None
    if baseline is None or baseline.total < _SOUND_PAIRS:
        findings = looks_like_device_depth(sampled)
    if findings or baseline is None:
        return findings or examine_camera(sampled)
    if baseline.total >= _SOUND_PAIRS:
        return []
    explanation = best_explanation(pairs, baseline)
    if explanation or baseline.total >= _TROUBLED_PAIRS:
        return explanation
    return [
        Finding(
            "views_disagree",
            Severity.WARNING,
            "What one tick sees is not what the next ones see from elsewhere",
            "Check that pose and depth belong to the same moment. Where most of the view moves by itself, this is "
            "no fault, but then let the engine follow the points.",
            (percent("points that agree", baseline.total),),
        )
    ]


def _examine_points(views: list[PointView], sampled: list[Sight]) -> list[Finding]:
    baseline = score(views)
    offset = pixel_offset(views, AS_SENT) if baseline.on_depth > 0.5 else None
    if offset is not None and _is_half_a_pixel(*offset):
        du, dv, removed = offset
        figures = (Figure("right", du, "px"), Figure("down", dv, "px"), percent("disagreement removed", removed))
        return [
            Finding(
                "pixel_centre",
                Severity.ERROR,
                "Points lie half a pixel beside the depth: the principal point counts from a pixel's centre",
                "Count from the image's corner: add 0.5 to cx and cy (bridge.geometry.ros_intrinsics does).",
                figures,
            )
        ]
    if baseline.on_depth >= _SOUND_POINTS:
        return _examine_seeds(views, baseline)
    # A frozen camera first: the search is long, and could only fit it by chance.
    explanation = examine_camera(sampled) or best_explanation(views, baseline)
    if explanation:
        return explanation
    still = held_still(views, baseline)
    if still is not None:
        return [still]
    return [
        Finding(
            "points_off_depth",
            Severity.ERROR,
            "Followed points do not lie on the depth, and no single mistake explains it",
            "Check that points, pose and depth belong to the same moment, and that hidden points are marked occluded.",
            (percent("visible points on the depth", baseline.on_depth),),
        )
    ]


def _is_half_a_pixel(du: float, dv: float, removed: float) -> bool:
    return 0.35 <= max(abs(du), abs(dv)) <= 0.65 and removed >= 0.7


def _examine_seeds(views: list[PointView], baseline: Score) -> list[Finding]:
    if np.isnan(baseline.on_grid) or baseline.on_grid >= 0.9:
        return []
    seeded = [(view, view.seeds) for view in views if view.seeds is not None]
    number = np.arange(TRACK_COUNT).reshape(TRACK_GRID, TRACK_GRID)
    orders = {
        "column by column": number.T,
        "from the bottom row up": number[::-1],
        "from right to left": number[:, ::-1],
        "from the last to the first": number[::-1, ::-1],
    }
    for words, order in orders.items():
        reordered = [replace(view, seeds=order.ravel()[seeds]) for view, seeds in seeded]
        if score(reordered).on_grid >= 0.9:
            return [
                Finding(
                    "seeds_order",
                    Severity.ERROR,
                    f"Seeds run {words}",
                    "Order them row by row from the top left, as bridge.geometry.seed_pixels gives them.",
                    (percent("seeds in place", baseline.on_grid),),
                )
            ]
    return [
        Finding(
            "seeds_off_grid",
            Severity.WARNING,
            "Seeds lie on the depth, but not on the grid that the model was trained with",
            "Seed at the pixels of bridge.geometry.seed_pixels(width, height).",
            (percent("seeds in place", baseline.on_grid),),
        )
    ]


def _point_views(ticks: list[Tick]) -> list[PointView]:
    seeded = [tick for tick in ticks if tick.seeds is not None][:_MOST_SEEDS]
    views = [PointView.of(Sight(tick), tick.seeds, seeds=True) for tick in seeded if tick.seeds is not None]
    tracked = _evenly([tick for tick in ticks if tick.tracks is not None], _MOST_TRACKS)
    views += [PointView.of(Sight(tick), tick.tracks, seeds=False) for tick in tracked if tick.tracks is not None]
    return [view for view in views if view is not None]


def _pair_views(ticks: list[Tick]) -> list[PairView]:
    sights = [Sight(tick) for tick in ticks]
    pairs: list[PairView] = []
    for share, most in _GAPS:
        gap = min(most, int(share * len(ticks)))
        for start in (0, len(ticks) - 1 - gap):
            if gap == 0 or not camera_moves(ticks[start], ticks[start + gap]):
                continue
            still = _still_seeds(ticks[start], ticks[start + gap])
            if still.size:
                pairs.append(PairView(sights[start], sights[start + gap], still))
    return pairs


def _still_seeds(before: Tick, after: Tick) -> NDArray[np.int64]:
    # Without instances every seed is taken to stand still; with them, those whose instance did not move.
    if before.seed_instances is None or before.instances is None or after.instances is None:
        return np.arange(TRACK_COUNT)
    then = dict(zip(before.instances.ids.tolist(), before.instances.world_from_instance, strict=True))
    now = dict(zip(after.instances.ids.tolist(), after.instances.world_from_instance, strict=True))
    moved = [i for i, transform in then.items() if i not in now or not np.allclose(transform, now[i], atol=1e-6)]
    return np.flatnonzero(~np.isin(before.seed_instances, moved))


def _evenly(ticks: list[Tick], count: int) -> list[Tick]:
    if len(ticks) <= count:
        return ticks
    return [ticks[i] for i in np.linspace(0, len(ticks) - 1, count).astype(int)]
