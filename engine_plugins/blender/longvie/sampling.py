"""Which moment of the shot a tick shows.

A model runs at 16 frames a second, a scene at any rate. `REAL_TIME` samples the shot at i / 16 s, between two frames
where that is the moment; `EVERY_FRAME` takes the scene's frames one by one, and motion then looks slower or faster.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

from bridge.errors import InvalidValue
from bridge.tick import FPS

__all__ = ["Sampling", "SamplingMode"]

_SNAP: Final = 1e-6  # of a frame: 24 / 1.001 frames a second do not divide exactly


class SamplingMode(str, enum.Enum):
    """What one tick is."""

    REAL_TIME = "REAL_TIME"
    """A moment of the shot, 1/16 s after the one before."""
    EVERY_FRAME = "EVERY_FRAME"
    """A frame of the scene."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """A frame range, seen as ticks.

    Args:
        frame_start, frame_end: the scene's, both included.
        frames_per_second: the scene's: `render.fps / render.fps_base`.
        mode: what one tick is.

    Raises:
        InvalidValue: the range is empty, or the rate is not positive.
    """

    frame_start: int
    frame_end: int
    frames_per_second: float
    mode: SamplingMode = SamplingMode.REAL_TIME

    def __post_init__(self) -> None:
        if self.frame_end < self.frame_start:
            raise InvalidValue(
                "ends before it starts",
                field="frame range",
                value=f"{self.frame_start} to {self.frame_end}",
                remedy="Set Start and End in the Output properties, or in LongVie's panel.",
            )
        if not 0 < self.frames_per_second < math.inf:
            raise InvalidValue(
                "must be positive",
                field="frame rate",
                value=self.frames_per_second,
                remedy="Choose a frame rate in the Output properties.",
            )

    @property
    def count(self) -> int:
        """Ticks of the shot: as many as fit before the end of its last frame's moment."""
        frames = self.frame_end - self.frame_start
        return math.floor(frames / self._step + _SNAP) + 1

    @property
    def _step(self) -> float:
        return 1.0 if self.mode is SamplingMode.EVERY_FRAME else self.frames_per_second / FPS

    def frame(self, index: int) -> tuple[int, float]:
        """Return the scene's frame and subframe, in [0, 1), that tick `index` shows."""
        position = index * self._step
        whole = math.floor(position + _SNAP)
        return self.frame_start + whole, max(0.0, position - whole)

    def time_ns(self, index: int) -> int:
        """Return the tick's time since the start of the shot, nanoseconds."""
        if self.mode is SamplingMode.REAL_TIME:
            return index * 1_000_000_000 // FPS
        return round(index * 1e9 / self.frames_per_second)

    def first_tick_at(self, frame: float) -> int:
        """Return the first tick at or after a frame of the scene; 0 where the frame lies before the shot."""
        return max(0, math.ceil((frame - self.frame_start) / self._step - _SNAP))

    def sentence(self) -> str:
        """Say what the rate means, for the panel."""
        rate = f"{self.frames_per_second:g}"
        if self.mode is SamplingMode.REAL_TIME:
            return f"{self.count} frames at {FPS} fps, sampled from the scene's {rate} fps: motion keeps its speed"
        if abs(self.frames_per_second - FPS) < 1e-6:
            return f"{self.count} frames, one per scene frame at {FPS} fps"
        slower = self.frames_per_second > FPS
        factor = self.frames_per_second / FPS if slower else FPS / self.frames_per_second
        word = "slower" if slower else "faster"
        return f"{self.count} frames, one per scene frame: played at {FPS} fps, motion is {factor:.2f} x {word}"
