"""Drive one session through a shot and write what comes back: the loop that the demo and `longvie render` share.

Sending and reading interleave, so memory holds a few clips however long the shot is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bridge
from bridge.geometry.fit import Fit
from bridge.recording import CutEvent, Event, Finish, PromptEvent
from bridge.tick import Frame, Tick, TrackMode

from ..output.folder import OutputFolder
from ..output.preview import ControlPreview

__all__ = ["ShotProgress", "drive_shot"]

ShotProgress = Callable[[bridge.Session, int, int], None]
"""Told of (session, ticks sent, frames written) after every change."""


class _Shot:
    def __init__(
        self,
        session: bridge.Session,
        folder: OutputFolder,
        preview: ControlPreview,
        reference: Callable[[int], NDArray[np.uint8] | None],
        on_progress: ShotProgress,
    ) -> None:
        self.session, self.folder, self.preview = session, folder, preview
        self.reference, self.on_progress = reference, on_progress
        self.sent = self.written = 0
        self.timings: dict[int, Mapping[str, float]] = {}

    def send(self, event: Event) -> None:
        match event:
            case Tick():
                self.preview.tick(event)
                self.session.send(event)
                self.sent += 1
            case PromptEvent():
                self.session.prompt(event.text, from_tick=event.from_tick)
            case CutEvent():
                self.preview.cut(event.at_tick)
                self.session.cut(at_tick=event.at_tick, first_frame=event.first_frame, remeasure=event.remeasure)
            case Finish():
                pass
        self.on_progress(self.session, self.sent, self.written)

    def write(self, frames: Iterable[Frame], depth_range: bridge.DepthRange | None) -> None:
        for frame in frames:
            self.keep_timings()
            measured = depth_range
            if measured is None:
                # The first clip measures it, and its frames may be here before its end is.
                self.session.wait_until(lambda s: s.last_clip is not None)
                state = self.session.state
                assert state is not None
                measured = state.depth_range
            assert measured is not None
            self.folder.write(frame, self.preview.take(measured), self.reference(frame.index))
            self.written += 1
            self.on_progress(self.session, self.sent, self.written)

    def keep_timings(self) -> None:
        done = self.session.last_clip
        if done is not None:
            self.timings[done.clip] = done.timings


def drive_shot(
    session: bridge.Session,
    events: Iterable[Event],
    *,
    folder: OutputFolder,
    mode: TrackMode,
    fit: Fit | None,
    depth_range: bridge.DepthRange | None,
    reference: Callable[[int], NDArray[np.uint8] | None],
    on_progress: ShotProgress,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Send a shot's events, write its frames, and return the summary.

    Args:
        session: open, at its first tick.
        events: ticks, prompts and cuts, in order.
        folder: takes the frames.
        mode, fit, depth_range: as the session was opened.
        reference: the engine's own picture of a tick, (height, width, 3) uint8, or None.
        on_progress: is told after every change.
        facts: for the summary.
    """
    preview = ControlPreview(mode, height=session.height, width=session.width, fit=fit, first_tick=session.next_tick)
    folder.begin()
    shot = _Shot(session, folder, preview, reference, on_progress)
    for event in events:
        shot.send(event)
        shot.write(session.arrived(), depth_range)
    preview.finish()
    shot.write(session.frames(), depth_range)
    shot.keep_timings()
    stages = sorted({stage for timings in shot.timings.values() for stage in timings})
    means = {stage: float(np.mean([t[stage] for t in shot.timings.values() if stage in t])) for stage in stages}
    notices = [notice.text for notice in session.notices]
    return folder.finish(timings=means, facts={**facts, "numerics": dict(session.numerics), "notices": notices})
