"""From the panel's settings to an order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from bridge.errors import InvalidValue
from bridge.geometry.fit import Fit

from ..markers import prompts_of
from ..order import ShotOrder
from ..sampling import Sampling, SamplingMode
from ..still import render_still, save_render_result

__all__ = ["order_of", "out_of", "sampling_of"]


def sampling_of(scene: Any) -> Sampling:
    """Return which moments the scene's shot is sampled at; raises InvalidValue for an empty range."""
    shot = scene.longvie
    start, end = (shot.frame_start, shot.frame_end) if shot.use_range else (scene.frame_start, scene.frame_end)
    return Sampling(start, end, scene.render.fps / scene.render.fps_base, SamplingMode(shot.sampling))


def out_of(scene: Any) -> Path:
    """Return the folder of the frames.

    Raises:
        InvalidValue: it is relative to a file that was never saved.
    """
    out = scene.longvie.out
    if not out.strip() or (out.startswith("//") and not bpy.data.filepath):
        raise InvalidValue(
            "lies beside a file that was never saved",
            field="output folder",
            value=repr(out),
            remedy="Save the file first, or choose a whole path.",
        )
    return Path(bpy.path.abspath(out))


def order_of(context: Any, *, resume: bool) -> ShotOrder:
    """Return what the panel asks for. Renders the still where that is the first frame, and then blocks for it.

    Raises:
        InvalidValue: something is missing; the message names it.
    """
    scene = context.scene
    shot, sampling, out = scene.longvie, sampling_of(scene), out_of(scene)
    if not shot.prompt.strip():
        raise InvalidValue("must not be empty", field="prompt", remedy="Describe what the video shows.")
    return ShotOrder(
        prompt=shot.prompt,
        prompts=prompts_of(scene, sampling),
        first_frame=Path() if resume else _first_frame(context, sampling),
        sampling=sampling,
        out=out,
        seed=shot.seed,
        model=shot.model.strip(),
        quality="" if shot.quality == "SERVER" else shot.quality.lower(),
        fit=Fit(shot.fit),
    )


def _first_frame(context: Any, sampling: Sampling) -> Path:
    scene = context.scene
    shot = scene.longvie
    if shot.first_frame == "IMAGE":
        path = Path(bpy.path.abspath(shot.first_frame_path))
        if not path.is_file():
            raise InvalidValue(
                "is not there", field="first frame", value=path, remedy="Choose an image, or render a still."
            )
        return path
    path = Path(bpy.app.tempdir) / "longvie_first_frame.png"
    if shot.first_frame == "RENDER":
        return save_render_result(scene, path)
    frame, subframe = sampling.frame(0)
    return render_still(scene, context.view_layer, frame=frame, subframe=subframe, engine=shot.still_engine, path=path)
