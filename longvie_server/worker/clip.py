"""One clip, from geometry to frames, in this process: control pixels first, then the world model."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TypeAlias

from bridge.errors import WorldModelFailed
from bridge.tick import CLIP_TICKS

from ..world_model.interface import StepEvent, StepFrames, StepProgress, WorldModel
from .events import Painted, Progress
from .job import ClipJob
from .paint import AheadPainter, paint

__all__ = ["ClipEvent", "make_clip"]

ClipEvent: TypeAlias = Painted | Progress | StepFrames


def make_clip(
    model: WorldModel,
    job: ClipJob,
    *,
    ahead: AheadPainter | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[ClipEvent, None, Mapping[str, float]]:
    """Make a clip. Closing the generator cancels it.

    Args:
        model: that makes it.
        job: the clip.
        ahead: may have its control pixels already.
        clock: seconds.

    Yields:
        `Painted` once, `Progress`, and the 81 frames in order.

    Returns:
        seconds of control (of what was not painted ahead), encode, denoise, decode (without the time that the caller
        took over the events) and total.

    Raises:
        BridgeError: the job is not of the model's size; the model gave another number of frames than 81.
    """
    began_s = clock()
    seconds = dict.fromkeys(("control", "encode", "denoise", "decode"), 0.0)
    yield Progress(job.job_id, "control", 0, 1)
    control_began_s = clock()
    painting = None if ahead is None else ahead.take(job.painting)
    painted, controls = painting or paint(job.painting, height=model.spec.height, width=model.spec.width)
    seconds["control"] = clock() - control_began_s
    yield painted
    yield Progress(job.job_id, "control", 1, 1)
    steps = model.step(replace(job.state, depth_range=painted.depth_range), controls)
    stage, frames = "encode", 0
    try:
        while True:
            step_began_s = clock()
            event = next(steps, None)
            took_s = clock() - step_began_s
            # What led to an event belongs to the event's own stage, unless it says that this stage only begins.
            spent_on = stage
            if event is not None:
                stage = _stage(event)
                spent_on = spent_on if isinstance(event, StepProgress) and event.step == 0 else stage
            seconds[spent_on] = seconds.get(spent_on, 0.0) + took_s
            if event is None:
                break
            if isinstance(event, StepFrames):
                frames += len(event.frames)
                _check_count(frames, at_end=False)
                yield event
            else:
                yield Progress(job.job_id, event.stage, event.step, event.steps)
    finally:
        steps.close()
    _check_count(frames, at_end=True)
    return {**seconds, "total": clock() - began_s}


def _stage(event: StepEvent) -> str:
    return event.stage if isinstance(event, StepProgress) else "decode"


def _check_count(frames: int, *, at_end: bool) -> None:
    if frames > CLIP_TICKS or (at_end and frames < CLIP_TICKS):
        raise WorldModelFailed(
            f"the model must give {CLIP_TICKS} frames per clip",
            field="frames",
            value=frames,
            remedy="Correct the model's step.",
        )
