"""Generate from the reference's own inputs, in this process: the controls are there, so no server is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from bridge.tick import CLIP_STRIDE, FPS, Frame, WorldState

from ..conditions import read_conditions, read_controls, read_first_frame
from ..output.folder import OutputFolder
from ..output.preview import ControlsAt
from ..world_model.interface import ControlClip, StepFrames, StepProgress, WorldModel, new_state
from ..world_model.registry import load_model

__all__ = ["OnClip", "render_conditions"]

OnClip: TypeAlias = Callable[[int, int, str], None]
"""Told of frames written, frames in all, and what is being done."""


def render_conditions(
    conditions: Path,
    first_frame: Path,
    *,
    out: Path,
    model: str,
    seed: int,
    prompt: str | None = None,
    force: bool = False,
    device: str = "auto",
    on_clip: OnClip = lambda written, total, doing: None,
) -> dict[str, Any]:
    """Generate every clip of a conditions file and leave a folder behind; return its summary.

    Args:
        conditions: the JSON file.
        first_frame: an image.
        out: the folder.
        model: a world model's name.
        seed: of the unified noise.
        prompt: in place of every clip's own.
        force: replace an earlier run in the folder.
        device: where the weights go.
        on_clip: progress.

    Raises:
        InvalidValue: an input cannot be read.
    """
    clips = read_conditions(conditions)
    total = 1 + CLIP_STRIDE * len(clips)
    on_clip(0, total, f"loading {model}")
    world = load_model(model, device=device)
    spec = world.spec
    size = {"height": spec.height, "width": spec.width}
    state = new_state(
        spec, first_frame=read_first_frame(first_frame, **size), prompt=prompt or clips[0].text, seed=seed
    )
    timings: dict[str, float] = {}
    with OutputFolder(out, force=force) as folder:
        written = 0
        for number, clip in enumerate(clips):
            began_s = perf_counter()
            controls = read_controls(clip, **size)
            timings["read"] = timings.get("read", 0.0) + perf_counter() - began_s
            state = replace(state, prompt=prompt or clip.text)
            told = _Told(on_clip, f"clip {number + 1}/{len(clips)}", total)
            began_s = perf_counter()
            state, written = _run_clip(world, state, controls, folder, written, told)
            timings["model"] = timings.get("model", 0.0) + perf_counter() - began_s
        return folder.finish(
            timings={stage: seconds / len(clips) for stage, seconds in timings.items()},
            facts={
                "model": spec.name,
                "conditions": str(conditions),
                "seed": seed,
                "prompts": [prompt or clip.text for clip in clips],
                "numerics": dict(spec.numerics),
            },
        )


class _Told:
    """Passes progress on in words."""

    def __init__(self, on_clip: OnClip, clip: str, total: int) -> None:
        self._on_clip, self._clip, self._total = on_clip, clip, total

    def __call__(self, written: int, event: StepProgress | None = None) -> None:
        doing = "decode" if event is None else f"{event.stage} {event.step}/{event.steps}"
        self._on_clip(written, self._total, f"{self._clip}: {doing}")


def _run_clip(
    world: WorldModel, state: WorldState, controls: ControlClip, folder: OutputFolder, written: int, told: _Told
) -> tuple[WorldState, int]:
    """Generate one clip and write its frames, the shared one excepted; return the next state and all frames written."""
    events = world.step(state, controls)
    place = 0
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            after: WorldState = stop.value
            return after, written
        if isinstance(event, StepProgress):
            told(written, event)
            continue
        assert isinstance(event, StepFrames)
        for image in event.frames:
            index = CLIP_STRIDE * state.clip + place
            if place or not state.shares_tick:
                shown = ControlsAt(index, controls.dense[place], controls.sparse[place])
                frame = Frame(index, image, time_ns=index * 1_000_000_000 // FPS, clip=state.clip)
                folder.write(frame, shown, None)
                written += 1
            place += 1
        told(written)
