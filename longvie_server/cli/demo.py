"""`longvie demo`: a first video within minutes, on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bridge.tick import CLIP_STRIDE

from .progress import session_bars

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for video, frames, recording and summary.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="tiny, fake, longvie2 or a checkpoint folder.")] = "tiny",
    clips: Annotated[int, typer.Option(min=1, help="Clips of 5 seconds; 3 make 241 frames.")] = 3,
    family: Annotated[str, typer.Option(help="Kind of scene the built-in engine makes.")] = "street",
    scene: Annotated[int, typer.Option(min=0, help="Seed of the scene.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the video.")] = 7,
    prompt: Annotated[str, typer.Option(help="What the video shows; default: the scene's own description.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Make a first video: start a server, drive it with the built-in engine, keep everything in one folder.

    No GPU, no display, no download. Look at side_by_side.mp4 first: the engine's own render, the depth and the tracks
    that the world model was given, and what it made of them.
    """
    from ..drive.demo import run_demo

    with session_bars(clips * CLIP_STRIDE + 1) as on_progress:
        summary = run_demo(
            out=out,
            model=model,
            clips=clips,
            family=family,
            scene_seed=scene,
            seed=seed,
            prompt=prompt,
            force=force,
            on_progress=on_progress,
        )
    show_summary(out, summary)


def show_summary(out: Path, summary: dict[str, object]) -> None:
    """Print what was made and where it is."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name in ("frames", "clips", "start_up_seconds", "seconds", "frames_per_second"):
        table.add_row(name.replace("_", " "), str(summary[name]))
    stages = summary["seconds_per_stage"]
    assert isinstance(stages, dict)
    table.add_row("seconds per clip", ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items()))
    continuity = summary["continuity"]
    assert isinstance(continuity, dict)
    table.add_row("seam / motion", f"{continuity['seam_over_motion']:.2f}")
    console = Console()
    console.print(table)
    for name, what in (
        ("side_by_side.mp4", "engine, depth, tracks, generated"),
        ("video.mp4", "the generated video"),
        ("strip.png", "the same, as a picture"),
        ("session.mcap", "the recording, for Foxglove, Rerun and `longvie render`"),
    ):
        if (out / name).exists():
            console.print(f"  {out / name}  [dim]{what}[/dim]", highlight=False, soft_wrap=True)
