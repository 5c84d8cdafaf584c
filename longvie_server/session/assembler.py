"""Ticks to clips: rules 1 and 2 of the protocol, and nothing else.

A clip is full with 81 ticks and shares its last one with the next. A stream that ends, or a cut, fills the running clip
by holding its last tick. A clip that would hold nothing but its shared tick is no clip: that frame was delivered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.errors import OutOfOrder
from bridge.messages import Plane
from bridge.protocol.clips import ClipStarts
from bridge.tick import CLIP_TICKS, Tick

from .reduce import Followed, ReducedTick, TickReducer

__all__ = ["ClipAssembler", "CutFrame", "PlannedClip"]


@dataclass(frozen=True, slots=True, eq=False)
class CutFrame:
    """What a cut brings: its first frame as sent, and whether the depth range is measured again."""

    first_frame: Plane
    remeasure: bool


@dataclass(frozen=True, slots=True, eq=False)
class PlannedClip:
    """A clip whose ticks are all here.

    Args:
        ticks: the real ones, 1 to 81; the last is held to fill the clip.
        shares_tick: the first tick's frame is delivered by the clip before.
        cut: set where the clip begins with a cut.
    """

    ticks: list[ReducedTick]
    shares_tick: bool
    cut: CutFrame | None

    @property
    def start(self) -> int:
        """Index of the first tick."""
        return self.ticks[0].index

    @property
    def filled(self) -> list[ReducedTick]:
        """81 ticks, the last one held."""
        return self.ticks + [self.ticks[-1]] * (CLIP_TICKS - len(self.ticks))


class ClipAssembler:
    """Assembles the clips of one session.

    Args:
        reducer: makes `ReducedTick`s.
        first_tick: index of the first tick.
        shares_tick: the first clip goes on from another server's, whose last frame was delivered there.
    """

    def __init__(self, reducer: TickReducer, *, first_tick: int, shares_tick: bool) -> None:
        self._reducer = reducer
        self._starts = ClipStarts(first_tick)
        self._next = first_tick
        self._ticks: list[ReducedTick] = []
        self._followed: Followed | None = None
        self._shares = False
        self._shares_first = shares_tick
        self._cut: CutFrame | None = None
        self._cuts: dict[int, CutFrame] = {}

    @property
    def next_tick(self) -> int:
        """Index of the tick that comes next."""
        return self._next

    def cut(self, at_tick: int, frame: CutFrame) -> None:
        """Announce a cut.

        Raises:
            OutOfOrder: the tick has already come.
        """
        if at_tick < self._next:
            raise OutOfOrder(
                f"has already come; tick {self._next} comes next",
                field="cut.at_tick",
                value=at_tick,
                remedy="Announce a cut before you send its tick.",
            )
        self._starts.cut(at_tick)
        self._cuts[at_tick] = frame

    def tick(self, tick: Tick) -> PlannedClip | None:
        """Take the next tick; return the clip that it completes, if any.

        Raises:
            OutOfOrder: it is not the next one.
            InvalidValue: it lacks what the session's track mode asks for. Nothing has changed then.
        """
        if tick.index != self._next:
            raise OutOfOrder(
                f"expected tick {self._next}",
                field="tick.index",
                value=tick.index,
                remedy="Send every tick once, in order; announce jumps with a cut.",
            )
        captured_m, depth_m = self._reducer.depth(tick)
        if self._starts.is_cut(tick.index) or not self._ticks:
            return self._begin(tick, captured_m, depth_m)
        points = self._reducer.follow(tick, self._followed)
        full = len(self._ticks) + 1 == CLIP_TICKS
        # Where a cut follows at once, the next clip would hold nothing but this tick: its seeds are not asked for.
        shares = full and not self._starts.is_cut(tick.index + 1)
        seeded = self._reducer.seed(tick, captured_m) if shares else None
        self._ticks.append(ReducedTick(tick.index, tick.time_ns, depth_m, points))
        self._advance(tick.index)
        if not full:
            return None
        clip = self._close()
        if seeded is not None:
            self._followed, shared_points = seeded
            self._ticks, self._shares = [ReducedTick(tick.index, tick.time_ns, depth_m, shared_points)], True
        return clip

    def end(self) -> PlannedClip | None:
        """Fill the running clip and return it; None where no undelivered tick waits."""
        if len(self._ticks) > int(self._shares):
            return self._close()
        self._ticks = []
        return None

    def _begin(self, tick: Tick, captured_m: NDArray[np.float32], depth_m: NDArray[np.float32]) -> PlannedClip | None:
        followed, points = self._reducer.seed(tick, captured_m)
        ended = self.end()
        self._followed = followed
        self._cut = self._cuts.pop(tick.index, None)
        self._shares = self._shares_first and self._cut is None
        self._shares_first = False
        self._ticks = [ReducedTick(tick.index, tick.time_ns, depth_m, points)]
        self._advance(tick.index)
        return ended

    def _advance(self, index: int) -> None:
        self._next = index + 1
        self._starts.advance(index)

    def _close(self) -> PlannedClip:
        clip = PlannedClip(self._ticks, self._shares, self._cut)
        self._ticks, self._cut = [], None
        return clip
