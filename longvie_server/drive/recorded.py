"""A recording's clips, by the server's own path from ticks to controls: what a session would have used.

Comes in: a recording and a depth range. Goes out: clip after clip, one in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.geometry.fit import Fit, FitMap
from bridge.messages import Plane
from bridge.recording import CutEvent, Finish, PromptEvent, Recording
from bridge.tick import DepthRange, Tick

from ..control.clip_geometry import ClipGeometry
from ..control.encode import encode_controls
from ..session.assembler import ClipAssembler, CutFrame, PlannedClip
from ..session.clip_buffer import BufferPool
from ..session.reduce import TickReducer
from ..session.script import Script
from ..world_model.interface import ControlClip
from .render import first_tick

__all__ = ["RecordedClip", "fitted", "recorded_clips"]

_NO_PICTURE: Final = Plane("uint8", (0, 0, 3), b"")


@dataclass(frozen=True, slots=True, eq=False)
class RecordedClip:
    """One clip.

    Args:
        start: index of its first tick.
        ticks: how many were sent, 1 to 81; the last is held to fill the clip.
        prompt: that holds for it.
        controls: its control videos.
        geometry: what they were made from; valid until the next clip is asked for.
        cut_frame: (height, width, 3) uint8, as sent, where the clip begins with a cut; else None.
    """

    start: int
    ticks: int
    prompt: str
    controls: ControlClip
    geometry: ClipGeometry
    cut_frame: NDArray[np.uint8] | None


def recorded_clips(
    recording: Recording,
    depth_range: DepthRange,
    *,
    height: int,
    width: int,
    on_tick: Callable[[int], None] = lambda count: None,
) -> Iterator[RecordedClip]:
    """Yield a recording's clips.

    Args:
        recording: what the engine sent.
        depth_range: of the dense videos.
        height, width: the model's.
        on_tick: told how many ticks were read.

    Raises:
        InvalidValue: the recording is damaged or empty.
    """
    header = recording.header
    script, pool = Script(), BufferPool(height, width)
    reducer = TickReducer(header.track_mode, height=height, width=width, fit=header.fit)
    assembler = ClipAssembler(reducer, pool, first_tick=first_tick(recording), shares_tick=False)
    prompt, count = header.prompt, 0

    def made(planned: PlannedClip) -> RecordedClip:
        nonlocal prompt
        prompt = script.begin(planned.start) or prompt
        geometry = planned.buffer.filled()
        return RecordedClip(
            start=planned.start,
            ticks=len(planned.times_ns),
            prompt=prompt,
            controls=encode_controls(geometry, depth_range, height=height, width=width),
            geometry=geometry,
            cut_frame=None if planned.cut is None else script.first_frame(planned.start),
        )

    for event in recording.events():
        match event:
            case Tick():
                planned = assembler.tick(event)
                count += 1
                on_tick(count)
                if planned is not None:
                    yield made(planned)
                    pool.give_back(planned.buffer)
            case PromptEvent():
                script.prompt(event.text, from_tick=event.from_tick)
            case CutEvent():
                script.cut(event.at_tick, event.first_frame)
                assembler.cut(event.at_tick, CutFrame(_NO_PICTURE, remeasure=False))
            case Finish():
                break
    last = assembler.end()
    if last is not None:
        yield made(last)


def fitted(image: NDArray[np.uint8], *, height: int, width: int, fit: Fit | None) -> NDArray[np.uint8]:
    """Return an image, (h, w, 3) uint8, as a session fits it to the model's size.

    Raises:
        InvalidValue: its aspect is another, and there is no fit.
    """
    chosen = FitMap.between((image.shape[1], image.shape[0]), (width, height), fit=fit)
    return np.asarray(chosen.image(Image.fromarray(image)))
