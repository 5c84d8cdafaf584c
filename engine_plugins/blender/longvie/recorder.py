"""A shot's ticks to files, without an interface and without a server: what `longvie record --blend` has Blender run.

It needs no library but the numpy that every Blender has. What happens is told on standard output, one JSON object a
line, after a prefix that sets it apart from Blender's own lines::

    {"shot": {...}}   the first frame's file, the prompts, the number of ticks
    {"tick": 3}       the file of tick 3 is whole
    {"error": {...}}  why there is nothing more
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from bridge.errors import BridgeError
from bridge.geometry.fit import Fit
from bridge.protocol.clips import ClipStarts

from .capture import ShotCapture
from .capture.surfaces import hidden_in_viewport
from .markers import prompts_of
from .order import ShotOrder
from .scene_guard import SceneGuard
from .shot_arguments import add_shot_arguments, first_frame_of, open_blend, sampling_of
from .tick_files import SAID, write_tick

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Capture a shot and return the exit code: 0 done, 2 asked for the impossible."""
    options = _parser().parse_args(arguments)
    try:
        open_blend(options)
        scene = bpy.context.scene
        with SceneGuard(scene):
            _capture(scene, bpy.context.view_layer, options, folder=Path(options.ticks))
    except BridgeError as error:
        fields = {name: getattr(error, name) for name in ("problem", "field", "value", "remedy")}
        _say(error=fields)
        return 2
    return 0


def _capture(scene: Any, view_layer: Any, options: argparse.Namespace, *, folder: Path) -> None:
    sampling, fit = sampling_of(scene, options), Fit(options.fit)
    capture = ShotCapture(scene, view_layer, sampling=sampling, size=(options.width, options.height), fit=fit)
    order = ShotOrder(
        prompt=options.prompt,
        prompts=prompts_of(scene, sampling),
        first_frame=first_frame_of(scene, view_layer, sampling, options, scratch=folder),
        sampling=sampling,
        out=folder,
    )
    _say(
        shot={
            "prompt": order.prompt_at(0),
            "prompts": order.prompts_after(0),
            "first_frame": str(order.first_frame.resolve()),
            "ticks": sampling.count,
            "rate": sampling.sentence(),
            "hidden": hidden_in_viewport(scene, view_layer),
        }
    )
    starts = ClipStarts(0)
    for index in range(sampling.count):
        write_tick(folder, capture.tick(index, starts_clip=starts.starts_at(index)))
        _say(tick=index)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="longvie record", description="Capture the scene's shot into files.")
    add_shot_arguments(parser)
    parser.add_argument("--ticks", required=True, help="folder of the ticks' files")
    parser.add_argument("--width", type=int, required=True, help="of depth, pixels")
    parser.add_argument("--height", type=int, required=True, help="of depth, pixels")
    return parser


def _say(**what: Any) -> None:
    sys.stdout.write(f"{SAID}{json.dumps(what)}\n")
    sys.stdout.flush()
