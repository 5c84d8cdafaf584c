"""Progress bars with an ETA, for a session and for any long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import bridge

from ..drive.shot import ShotProgress

__all__ = ["bars", "session_bars"]


def bars(console: Console | None = None) -> Progress:
    """Return bars in the house's style; they go to standard error, so that standard output can be piped."""
    return Progress(
        TextColumn("[bold]{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )


@contextmanager
def session_bars(total: int) -> Iterator[ShotProgress]:
    """Show ticks sent, the running clip's stage and frames received while a shot is driven.

    Args:
        total: ticks of the shot.
    """
    with bars() as progress:
        ticks = progress.add_task("ticks", total=total, note="")
        frames = progress.add_task("frames", total=total, note="waiting for the server")

        def show(session: bridge.Session, sent: int, written: int) -> None:
            progress.update(ticks, completed=sent)
            progress.update(frames, completed=written, note=_note(session))

        yield show


def _note(session: bridge.Session) -> str:
    now = session.progress
    if now is None:
        return "first clip fills with ticks"
    if now.stage == "queued":
        return f"clip {now.clip}: {now.queue_place} clips go first"
    eta = f", {now.eta_s:.0f} s left" if now.eta_s >= 0 else ""
    step = f" {now.step}/{now.steps}" if now.steps > 1 else ""
    return f"clip {now.clip}: {now.stage}{step}{eta}"
