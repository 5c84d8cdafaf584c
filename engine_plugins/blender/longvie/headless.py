"""A shot without an interface, for farms: what `generate.py` runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from bridge.errors import BridgeError, InvalidValue
from bridge.geometry.fit import Fit
from bridge.tick import DepthRange

from .job import Job, JobState
from .markers import prompts_of
from .order import QUALITIES, ServerAddress, ShotOrder
from .sampling import Sampling, SamplingMode
from .still import ENGINES, render_still

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Generate a shot and return the exit code: 0 done, 1 failed, 2 asked for the impossible.

    Args:
        arguments: what follows `--` on the command line.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.blend:
            _open(options.blend)
        with tempfile.TemporaryDirectory(prefix="longvie-") as scratch:
            return _generate(options, Path(scratch))
    except BridgeError as error:
        _say(f"error: {error}")
        return 2


def _generate(options: argparse.Namespace, scratch: Path) -> int:
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    sampling = _sampling(scene, options)
    order = ShotOrder(
        prompt=options.prompt,
        prompts=prompts_of(scene, sampling),
        first_frame=_first_frame(scene, view_layer, sampling, options, scratch),
        sampling=sampling,
        out=Path(options.out),
        seed=options.seed,
        model=options.model,
        quality=options.quality,
        fit=Fit(options.fit),
        depth_range=DepthRange(*options.depth_range) if options.depth_range else None,
    )
    address = ServerAddress(
        options.server, options.token, options.server_key, options.timeout, options.reconnect_timeout
    )
    _say(sampling.sentence())
    job = Job(scene, view_layer, address=address, order=order, resume=options.resume)
    for warning in job.warnings:
        _say(f"warning: {warning}")
    return _turn(job)


def _turn(job: Job) -> int:
    shown = ""
    try:
        while not job.over:
            job.tick()
            job.wait(5.0)
            sentence = job.progress.sentence()
            if sentence != shown and not job.over:
                shown = sentence
                _say(sentence)
    finally:
        job.cancel()
    job.join(10.0)
    if job.state is JobState.DONE:
        _say(f"done: {job.last_frame + 1} frames in {job.folder.path}")
        return 0
    _say(f"error: {job.error}" if job.error else job.state.value)
    if job.can_resume:
        _say(f"{job.last_frame + 1} frames are kept: run again with --resume to go on from there.")
    return 1


def _sampling(scene: Any, options: argparse.Namespace) -> Sampling:
    return Sampling(
        frame_start=scene.frame_start if options.start is None else options.start,
        frame_end=scene.frame_end if options.end is None else options.end,
        frames_per_second=scene.render.fps / scene.render.fps_base,
        mode=SamplingMode.EVERY_FRAME if options.every_frame else SamplingMode.REAL_TIME,
    )


def _first_frame(scene: Any, view_layer: Any, sampling: Sampling, options: argparse.Namespace, scratch: Path) -> Path:
    if options.first_frame:
        return Path(options.first_frame)
    if options.resume:
        return Path()  # the resume point holds the last frames: no first one is needed
    frame, subframe = sampling.frame(0)
    return render_still(
        scene, view_layer, frame=frame, subframe=subframe, engine=options.still, path=scratch / "first_frame.png"
    )


def _open(path: str) -> None:
    try:
        bpy.ops.wm.open_mainfile(filepath=path)
    except RuntimeError as error:
        raise InvalidValue(
            "cannot be opened", field="--blend", value=path, remedy="Give a .blend file of this Blender's version."
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="generate.py", description="Generate the scene's shot on a LongVie server.")
    parser.add_argument("--server", required=True, help="tcp://host:port, as `longvie serve` prints it")
    parser.add_argument(
        "--prompt", required=True, help="what the video shows; timeline markers 'prompt: ...' follow it"
    )
    parser.add_argument("--out", required=True, help="folder of the frames")
    parser.add_argument("--blend", default="", help="open this file first; with `blender -b FILE` it is open already")
    parser.add_argument("--first-frame", default="", help="image that the video starts from; default: a rendered still")
    parser.add_argument("--still", default="SCENE", choices=ENGINES, help="engine of the still")
    parser.add_argument("--start", type=int, help="first scene frame; default: the scene's")
    parser.add_argument("--end", type=int, help="last scene frame; default: the scene's")
    parser.add_argument("--every-frame", action="store_true", help="one generated frame per scene frame, at any rate")
    parser.add_argument("--fit", default="crop", choices=[fit.value for fit in Fit], help="another aspect")
    parser.add_argument(
        "--depth-range",
        type=float,
        nargs=2,
        metavar=("NEAR", "FAR"),
        help="metres; default: measured on the first clip",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="", help="by name; default: the server's first")
    parser.add_argument("--quality", default="", choices=QUALITIES, help="insist on it; default: the server's")
    parser.add_argument("--token", default="")
    parser.add_argument("--server-key", default="", help="the server's CURVE key, where it encrypts")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds to wait for the server")
    parser.add_argument("--reconnect-timeout", type=float, default=60.0, help="seconds to wait for one that vanished")
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished shot in the folder")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"longvie: {line}\n")
    sys.stdout.flush()
