"""What the world model is told, as pictures: the control signals of the ticks that were sent.

Uses the server's own path from ticks to controls, so what is shown is what is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.fit import Fit
from bridge.messages import Plane
from bridge.tick import DepthRange, Tick, TrackMode

from ..control.encode import encode_controls
from ..session.assembler import ClipAssembler, CutFrame, PlannedClip
from ..session.clip_buffer import BufferPool
from ..session.reduce import TickReducer

__all__ = ["ControlPreview", "ControlsAt"]


@dataclass(frozen=True, slots=True, eq=False)
class ControlsAt:
    """The controls of one tick: dense (height, width) uint8, sparse (height, width, 3) uint8."""

    index: int
    dense: NDArray[np.uint8]
    sparse: NDArray[np.uint8]


class ControlPreview:
    """Follows a session's ticks and yields their controls in the order of its frames.

    Args:
        mode: who follows the points.
        height, width: of the model's frames.
        fit: as the session was opened.
        first_tick: index of the session's first tick.
        shares_tick: the session continues another one.
    """

    def __init__(
        self,
        mode: TrackMode,
        *,
        height: int,
        width: int,
        fit: Fit | None = None,
        first_tick: int = 0,
        shares_tick: bool = False,
    ) -> None:
        self._size = (height, width)
        self._pool = BufferPool(height, width)
        reducer = TickReducer(mode, height=height, width=width, fit=fit)
        self._assembler = ClipAssembler(reducer, self._pool, first_tick=first_tick, shares_tick=shares_tick)
        self._clips: deque[PlannedClip] = deque()
        self._ready: Iterator[ControlsAt] = iter(())

    def tick(self, tick: Tick) -> None:
        """Take a tick that is sent."""
        self._keep(self._assembler.tick(tick))

    def cut(self, at_tick: int) -> None:
        """Take a cut that is announced."""
        nothing = Plane("uint8", (0, 0, 3), b"")
        self._assembler.cut(at_tick, CutFrame(nothing, remeasure=False))

    def finish(self) -> None:
        """No tick follows."""
        self._keep(self._assembler.end())

    def take(self, depth_range: DepthRange) -> ControlsAt:
        """Return the controls of the next frame's tick.

        Args:
            depth_range: of its clip.
        """
        controls = next(self._ready, None)
        while controls is None:
            self._ready = self._of_clip(self._clips.popleft(), depth_range)
            controls = next(self._ready, None)
        return controls

    def _keep(self, clip: PlannedClip | None) -> None:
        if clip is not None:
            self._clips.append(clip)

    def _of_clip(self, clip: PlannedClip, depth_range: DepthRange) -> Iterator[ControlsAt]:
        controls = encode_controls(clip.buffer.filled(), depth_range, height=self._size[0], width=self._size[1])
        self._pool.give_back(clip.buffer)
        for number in range(len(clip.times_ns)):
            if number or not clip.shares_tick:
                yield ControlsAt(clip.start + number, controls.dense[number], controls.sparse[number])
