"""`longvie render`: generate from a recording again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .demo import show_summary
from .progress import session_bars

__all__ = ["render"]


def render(
    recording: Annotated[Path, typer.Argument(help="The session's .mcap file.")],
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

    The ticks stay as they are; prompt, seed, first frame and model may be others.
    """
    from bridge.errors import InvalidValue
    from bridge.geometry.fit import Fit
    from bridge.recording import Recording

    from ..drive.render import RenderRequest, render_recording

    if fit and fit not in {choice.value for choice in Fit}:
        raise InvalidValue("unknown", field="--fit", value=fit, remedy="Use crop, pad or stretch.")
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
