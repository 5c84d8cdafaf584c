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

from .clip_buffer import BufferPool, ClipBuffer
from .reduce import Followed, PointsInImage, TickReducer

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
        start: index of the first tick.
        times_ns: the engine's time of each real tick, 1 to 81 of them; the last tick is held to fill the clip.
        buffer: their geometry.
        shares_tick: the first tick's frame is delivered by the clip before.
        cut: set where the clip begins with a cut.
    """

    start: int
    times_ns: list[int]
    buffer: ClipBuffer
    shares_tick: bool
    cut: CutFrame | None

    @property
    def last(self) -> int:
        """Index of the last real tick."""
        return self.start + len(self.times_ns) - 1


class ClipAssembler:
    """Assembles the clips of one session.

    Args:
        reducer: turns ticks into the geometry of controls.
        pool: gives buffers; whoever is done with a clip gives its buffer back there.
        first_tick: index of the first tick.
        shares_tick: the first clip goes on from another server's, whose last frame was delivered there.
    """

    def __init__(self, reducer: TickReducer, pool: BufferPool, *, first_tick: int, shares_tick: bool) -> None:
        self._reducer, self._pool = reducer, pool
        self._starts = ClipStarts(first_tick)
        self._next = first_tick
        self._running: PlannedClip | None = None
        self._followed: Followed | None = None
        self._shares_first = shares_tick
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
        running = self._running
        if running is None or self._starts.is_cut(tick.index):
            return self._begin(tick, captured_m, depth_m)
        points = self._reducer.follow(tick, self._followed)
        full = len(running.times_ns) + 1 == CLIP_TICKS
        # Where a cut follows at once, the next clip would hold nothing but this tick: its seeds are not asked for.
        shares = full and not self._starts.is_cut(tick.index + 1)
        seeded = self._reducer.seed(tick, captured_m) if shares else None
        self._append(running, tick, depth_m, points)
        if not full:
            return None
        self._running = None
        if seeded is not None:
            self._followed, shared_points = seeded
            self._start_clip(tick, depth_m, shared_points, shares_tick=True, cut=None)
        return running

    def end(self) -> PlannedClip | None:
        """Fill the running clip and return it; None where no undelivered tick waits."""
        clip, self._running = self._running, None
        if clip is not None and len(clip.times_ns) <= int(clip.shares_tick):
            self._pool.give_back(clip.buffer)
            return None
        return clip

    def discard(self) -> None:
        """Forget the running clip."""
        if self._running is not None:
            self._pool.give_back(self._running.buffer)
            self._running = None

    def _begin(self, tick: Tick, captured_m: NDArray[np.float32], depth_m: NDArray[np.float32]) -> PlannedClip | None:
        followed, points = self._reducer.seed(tick, captured_m)
        ended = self.end()
        self._followed = followed
        cut = self._cuts.pop(tick.index, None)
        self._start_clip(tick, depth_m, points, shares_tick=self._shares_first and cut is None, cut=cut)
        self._shares_first = False
        return ended

    def _start_clip(
        self,
        tick: Tick,
        depth_m: NDArray[np.float32],
        points: PointsInImage,
        *,
        shares_tick: bool,
        cut: CutFrame | None,
    ) -> None:
        self._running = PlannedClip(tick.index, [], self._pool.take(), shares_tick, cut)
        self._append(self._running, tick, depth_m, points)

    def _append(self, clip: PlannedClip, tick: Tick, depth_m: NDArray[np.float32], points: PointsInImage) -> None:
        clip.buffer.append(depth_m, points)
        clip.times_ns.append(tick.time_ns)
        self._next = tick.index + 1
        self._starts.advance(tick.index)
