"""`longvie render`: generate from a recording, or from the reference's own inputs; `longvie export`: the way there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .demo import show_summary
from .progress import bars, session_bars

__all__ = ["export", "render"]


def render(
    recording: Annotated[Path | None, typer.Argument(help="The session's .mcap file.")] = None,
    conditions: Annotated[
        Path | None, typer.Option(help="In its place: LongVie's own JSON of clips, each with text, depth and track.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for video, frames, recording and summary.")] = Path("render"),
    prompt: Annotated[str | None, typer.Option(help="Another prompt for the whole video.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    first_frame: Annotated[Path | None, typer.Option(help="Another first frame: an image file.")] = None,
    model: Annotated[str, typer.Option(help="Another model; default: the recording's.")] = "",
    server: Annotated[str, typer.Option(help="Use this server, tcp:// or grpc://; default: start one.")] = "",
    token: Annotated[str, typer.Option(envvar="LONGVIE_TOKEN", help="Of that server.")] = "",
    fit: Annotated[str, typer.Option(help="crop, pad or stretch, where the aspect is not the model's.")] = "",
    depth_range: Annotated[
        str,
        typer.Option(help="whole: measured over the recording, as the paper does; recorded: as the session had it."),
    ] = "whole",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Generate a recording's video again: record once at previs speed, render the final later.

    The ticks stay as they are; prompt, seed, first frame and model may be others. With --conditions the control videos
    are given: longvie render --conditions cond.json --first-frame first.png --model longvie2.
    """
    from bridge.errors import InvalidValue
    from bridge.geometry.fit import Fit
    from bridge.recording import Recording

    from ..drive.render import RenderRequest, render_recording

    if fit and fit not in {choice.value for choice in Fit}:
        raise InvalidValue("unknown", field="--fit", value=fit, remedy="Use crop, pad or stretch.")
    if (recording is None) == (conditions is None):
        raise InvalidValue(
            "give one of them",
            field="RECORDING, --conditions",
            value="none" if recording is None else "both",
            remedy="Name a recording (.mcap), or a conditions file (.json).",
        )
    if conditions is not None:
        if server:
            raise InvalidValue(
                "is not used with --conditions: a server takes ticks, not control videos",
                field="--server",
                value=server,
                remedy="Leave it out; the model runs in this process.",
            )
        _render_conditions(conditions, first_frame, out=out, prompt=prompt, seed=seed, model=model, force=force)
        return
    assert recording is not None
    source = Recording.open(recording)
    if source.notice:
        Console(stderr=True).print(f"[yellow]note[/yellow] {source.notice}", soft_wrap=True)
    request = RenderRequest(
        prompt=prompt, seed=seed, first_frame=first_frame, fit=Fit(fit) if fit else None, depth_range=depth_range
    )
    with session_bars(source.tick_count) as on_progress:
        summary = render_recording(
            source,
            request,
            out=out,
            force=force,
            model=model,
            server_url=server,
            token=token,
            on_progress=on_progress,
        )
    show_summary(out, summary)


def _render_conditions(
    conditions: Path,
    first_frame: Path | None,
    *,
    out: Path,
    prompt: str | None,
    seed: int | None,
    model: str,
    force: bool,
) -> None:
    from bridge.errors import InvalidValue

    from ..drive.conditions import render_conditions

    if first_frame is None:
        raise InvalidValue(
            "is missing", field="--first-frame", remedy="Give the image that the first clip starts from."
        )
    with bars() as progress:
        task = progress.add_task("frames", total=None, note="")

        def on_clip(written: int, total: int, doing: str) -> None:
            progress.update(task, completed=written, total=total, note=doing)

        summary = render_conditions(
            conditions,
            first_frame,
            out=out,
            model=model or "longvie2",
            seed=0 if seed is None else seed,
            prompt=prompt,
            force=force,
            on_clip=on_clip,
        )
    show_summary(out, summary)


def export(
    recording: Annotated[Path, typer.Argument(help="The session's .mcap file.")],
    out: Annotated[Path, typer.Option(help="Folder for cond.json, first.png and the videos.")] = Path("conditions"),
    height: Annotated[int, typer.Option(min=16, help="Of the videos: the model's.")] = 352,
    width: Annotated[int, typer.Option(min=16, help="Of the videos: the model's.")] = 640,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in the folder.")] = False,
) -> None:
    """Write a recording's control signals as LongVie's own inputs, for the reference, for ComfyUI, or for later.

    One folder with cond.json per uncut sequence; longvie render --conditions reads it.
    """
    from bridge.recording import Recording

    from ..drive.export import export_recording

    source = Recording.open(recording)
    if source.notice:
        Console(stderr=True).print(f"[yellow]note[/yellow] {source.notice}", soft_wrap=True)
    with bars() as progress:
        task = progress.add_task("ticks", total=source.tick_count, note="")
        folders = export_recording(
            source,
            out,
            height=height,
            width=width,
            force=force,
            on_tick=lambda count: progress.update(task, completed=count),
        )
    for folder in folders:
        Console().print(
            f"longvie render --conditions {folder / 'cond.json'} --first-frame {folder / 'first.png'}",
            soft_wrap=True,
            highlight=False,
        )
