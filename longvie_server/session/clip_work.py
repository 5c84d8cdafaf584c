"""What a session gives to the world model: a clip, or what is known of the next one while this one is made."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.tick import DepthRange, WorldState

from ..control.clip_geometry import ClipGeometry
from .assembler import PlannedClip

__all__ = ["ClipAhead", "ClipWork"]


@dataclass(frozen=True, slots=True, eq=False)
class ClipWork:
    """A clip that the world model can make: everything it depends on."""

    state: WorldState
    geometry: ClipGeometry
    real_ticks: int


@dataclass(frozen=True, slots=True, eq=False)
class ClipAhead:
    """What the next clip's control videos depend on; the same objects will be in its `ClipWork`.

    Args:
        geometry, real_ticks: of the clip.
        depth_range: None where the clip itself is measured.
    """

    geometry: ClipGeometry
    real_ticks: int
    depth_range: DepthRange | None

    @classmethod
    def of(cls, clip: PlannedClip, state: WorldState, *, running: bool) -> ClipAhead | None:
        """Return what is known of a clip that waits; None while the clip before it is still to be measured.

        Args:
            clip: that waits.
            state: its session's; with the running clip's depth range, once that is known.
            running: whether a clip of the session is being made.
        """
        measured = clip.cut is not None and clip.cut.remeasure
        if running and state.depth_range is None and not measured:
            return None
        return cls(clip.buffer.filled(), len(clip.times_ns), None if measured else state.depth_range)
