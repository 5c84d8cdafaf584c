"""A shot without an interface, for farms: what `generate.py` runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy

from bridge.errors import BridgeError
from bridge.geometry.fit import Fit
from bridge.tick import DepthRange

from .job import Job, JobState
from .markers import prompts_of
from .order import QUALITIES, ServerAddress, ShotOrder
from .shot_arguments import add_shot_arguments, first_frame_of, open_blend, sampling_of

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Generate a shot and return the exit code: 0 done, 1 failed, 2 asked for the impossible.

    Args:
        arguments: what follows `--` on the command line.
    """
    options = _parser().parse_args(arguments)
    try:
        open_blend(options)
        with tempfile.TemporaryDirectory(prefix="longvie-") as scratch:
            return _generate(options, Path(scratch))
    except BridgeError as error:
        _say(f"error: {error}")
        return 2


def _generate(options: argparse.Namespace, scratch: Path) -> int:
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    sampling = sampling_of(scene, options)
    # Where it resumes, the resume point holds the last frames: no first one is needed.
    resumes = options.resume and not options.first_frame
    first_frame = Path() if resumes else first_frame_of(scene, view_layer, sampling, options, scratch=scratch)
    order = ShotOrder(
        prompt=options.prompt,
        prompts=prompts_of(scene, sampling),
        first_frame=first_frame,
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="generate.py", description="Generate the scene's shot on a LongVie server.")
    add_shot_arguments(parser)
    parser.add_argument("--server", required=True, help="tcp://host:port, as `longvie serve` prints it")
    parser.add_argument("--out", required=True, help="folder of the frames")
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
