"""The part of a command line that says which shot: shared by generating and recording without an interface."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import bpy

from bridge.errors import InvalidValue
from bridge.geometry.fit import Fit

from .sampling import Sampling, SamplingMode
from .still import ENGINES, render_still

__all__ = ["add_shot_arguments", "first_frame_of", "open_blend", "sampling_of"]


def add_shot_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that the functions below read."""
    parser.add_argument(
        "--prompt", required=True, help="what the video shows; timeline markers 'prompt: ...' follow it"
    )
    parser.add_argument("--blend", default="", help="open this file first; with `blender -b FILE` it is open already")
    parser.add_argument("--first-frame", default="", help="image that the video starts from; default: a rendered still")
    parser.add_argument("--still", default="SCENE", choices=ENGINES, help="engine of the still")
    parser.add_argument("--start", type=int, help="first scene frame; default: the scene's")
    parser.add_argument("--end", type=int, help="last scene frame; default: the scene's")
    parser.add_argument("--every-frame", action="store_true", help="one generated frame per scene frame, at any rate")
    parser.add_argument("--fit", default="crop", choices=[fit.value for fit in Fit], help="another aspect")


def open_blend(options: argparse.Namespace) -> None:
    """Open the file that was asked for, if any.

    Raises:
        InvalidValue: Blender cannot open it.
    """
    if not options.blend:
        return
    try:
        bpy.ops.wm.open_mainfile(filepath=options.blend)
    except RuntimeError as error:
        raise InvalidValue(
            "cannot be opened",
            field="--blend",
            value=options.blend,
            remedy="Give a .blend file of this Blender's version.",
        ) from error


def sampling_of(scene: Any, options: argparse.Namespace) -> Sampling:
    """Return which moments are captured; raises InvalidValue for an empty range."""
    return Sampling(
        frame_start=scene.frame_start if options.start is None else options.start,
        frame_end=scene.frame_end if options.end is None else options.end,
        frames_per_second=scene.render.fps / scene.render.fps_base,
        mode=SamplingMode.EVERY_FRAME if options.every_frame else SamplingMode.REAL_TIME,
    )


def first_frame_of(
    scene: Any, view_layer: Any, sampling: Sampling, options: argparse.Namespace, *, scratch: Path
) -> Path:
    """Return the file of the first frame, rendered into `scratch` where none was given.

    Raises:
        InvalidValue: the still cannot be rendered.
    """
    if options.first_frame:
        return Path(options.first_frame)
    frame, subframe = sampling.frame(0)
    return render_still(
        scene, view_layer, frame=frame, subframe=subframe, engine=options.still, path=scratch / "first_frame.png"
    )
