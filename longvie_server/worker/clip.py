"""One clip, from geometry to frames, in this process: control pixels first, then the world model."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from bridge.errors import WorldModelFailed
from bridge.tick import CLIP_TICKS

from ..control.dense import measure_depth_range, saturated_fraction
from ..control.encode import encode_controls
from ..world_model.interface import ControlClip, StepEvent, StepFrames, StepProgress, WorldModel
from .events import Painted, Progress
from .job import ClipJob

__all__ = ["ClipEvent", "make_clip"]

SATURATION_WARNING: Final = 0.2
"""Where more of the depth than this is plain black or white, the range that would fit is measured as well."""

ClipEvent: TypeAlias = Painted | Progress | StepFrames


def make_clip(
    model: WorldModel, job: ClipJob, *, clock: Callable[[], float] = time.perf_counter
) -> Generator[ClipEvent, None, Mapping[str, float]]:
    """Make a clip. Closing the generator cancels it.

    Yields:
        `Painted` once, `Progress`, and the 81 frames in order.

    Returns:
        seconds of control, encode, denoise, decode (without the time that the caller took over the events) and total.

    Raises:
        BridgeError: the job is not of the model's size; the model gave another number of frames than 81.
    """
    began_s = clock()
    seconds = dict.fromkeys(("control", "encode", "denoise", "decode"), 0.0)
    yield Progress(job.job_id, "control", 0, 1)
    control_began_s = clock()
    painted, controls = _paint(model, job)
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


def _paint(model: WorldModel, job: ClipJob) -> tuple[Painted, ControlClip]:
    real_m = job.geometry.depth_m[: job.measure_ticks]
    depth_range = job.state.depth_range or measure_depth_range(real_m)
    controls = encode_controls(job.geometry, depth_range, height=model.spec.height, width=model.spec.width)
    saturated = saturated_fraction(real_m, depth_range)
    fitting = measure_depth_range(real_m) if saturated > SATURATION_WARNING else None
    return Painted(job.job_id, depth_range, saturated, fitting), controls


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
