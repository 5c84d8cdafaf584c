"""`longvie record`: a .blend file's shot as a recording, without a server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .progress import bars

__all__ = ["record"]

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def record(
    blend: Annotated[Path, typer.Option(help="The file whose active scene is recorded.")],
    prompt: Annotated[str, typer.Option(help="What a video of it shows; timeline markers 'prompt: ...' follow it.")],
    out: Annotated[Path, typer.Option(help="The .mcap file to make.")] = Path("shot.mcap"),
    blender: Annotated[str, typer.Option(help="Blender, or a Python that has bpy; default: blender on the PATH.")] = "",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of depth: the model's. Default: LongVie 2's.")] = "640x352",
    first_frame: Annotated[
        Path | None, typer.Option(help="Image that the video starts from; default: a still that Blender renders.")
    ] = None,
    still: Annotated[str, typer.Option(help="Engine of that still: SCENE, CYCLES, EEVEE or WORKBENCH.")] = "SCENE",
    start: Annotated[int | None, typer.Option(help="First scene frame; default: the scene's.")] = None,
    end: Annotated[int | None, typer.Option(help="Last scene frame; default: the scene's.")] = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="One frame of video per scene frame, at any rate.")
    ] = False,
    fit: Annotated[str, typer.Option(help="crop, pad or stretch, where the aspect is not the model's.")] = "crop",
    depth_range: Annotated[
        tuple[float, float] | None, typer.Option(help="NEAR FAR, metres; default: measured when it is rendered.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the video's noise.")] = 0,
    model: Annotated[str, typer.Option(help="That renders it where longvie render is not told another.")] = "longvie2",
    force: Annotated[bool, typer.Option("--force", help="Replace a recording of this name.")] = False,
) -> None:
    """Record a Blender shot: Blender runs in the background, and neither a server nor the add-on is needed.

    Then: longvie render shot.mcap --model tiny. The frames are those of a live session with this shot, prompt and seed.
    """
    from bridge.errors import InvalidValue
    from bridge.geometry.fit import Fit
    from bridge.tick import DepthRange

    from ..drive.record import RecordRequest, record_blend

    if fit not in {choice.value for choice in Fit}:
        raise InvalidValue("unknown", field="--fit", value=fit, remedy="Use crop, pad or stretch.")
    sides = _SIZE.fullmatch(size)
    if sides is None:
        raise InvalidValue("is no size", field="--size", value=size, remedy="Write it like 640x352, width first.")
    shot: list[str] = ["--still", still, *(["--every-frame"] if every_frame else [])]
    for name, value in (("--start", start), ("--end", end), ("--first-frame", first_frame)):
        # One word: a frame may be negative, which would look like a flag.
        shot += [] if value is None else [f"{name}={value}"]
    request = RecordRequest(
        blend=blend,
        prompt=prompt,
        seed=seed,
        model=model,
        width=int(sides[1]),
        height=int(sides[2]),
        fit=Fit(fit),
        depth_range=None if depth_range is None else DepthRange(*depth_range),
        shot_arguments=shot,
    )
    console = Console(stderr=True)

    def say_shot(rate: str, hidden: Sequence[str]) -> None:
        console.print(rate, highlight=False, soft_wrap=True)
        if hidden:
            names = ", ".join(hidden)
            console.print(f"[yellow]note[/yellow] hidden in the viewport, so not recorded: {names}", soft_wrap=True)

    with bars(console) as progress:
        task = progress.add_task("ticks", total=None, note="Blender starts")
        count = record_blend(
            request,
            out,
            blender=blender,
            force=force,
            on_shot=say_shot,
            on_tick=lambda done, total: progress.update(task, completed=done, total=total, note=""),
        )
    Console().print(f"{out}: {count} ticks. Render them: longvie render {out}", highlight=False, soft_wrap=True)
