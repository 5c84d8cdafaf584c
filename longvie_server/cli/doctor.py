"""`longvie doctor`: what is wrong, in plain words, with the fix."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..doctor import Check, check_machine, check_recording, check_server, check_tiny

__all__ = ["doctor", "show"]

_MARKS = {"ok": "[green]ok[/green]     ", "warning": "[yellow]warning[/yellow]", "error": "[red]error[/red]  "}


def doctor(
    server: Annotated[str, typer.Option(help="Look whether this server can be reached: tcp:// or grpc://.")] = "",
    token: Annotated[str, typer.Option(envvar="LONGVIE_TOKEN", help="Of that server.")] = "",
    server_key: Annotated[str, typer.Option(help="Of that server, where ZeroMQ is encrypted.")] = "",
    recording: Annotated[Path | None, typer.Option(help="Look whether this recording's ticks are sound.")] = None,
) -> None:
    """Look over this machine, a server and a tick stream.

    The stream: wrong handedness, depth in centimetres, mirrored rows, points that do not lie on the depth, and more.
    Record a few seconds of your engine (SessionOptions(record_to="shot.mcap")) and pass the file.
    Exit code 1 where something is wrong.
    """
    console = Console()
    failed = show(console, check_machine())
    failed |= show(console, [check_tiny()])
    if server:
        failed |= show(console, check_server(server, token=token, server_key=server_key, clock=time.perf_counter))
    if recording is not None:
        failed |= show(console, check_recording(recording))
    if failed:
        raise typer.Exit(1)


def show(console: Console, checks: Iterable[Check]) -> bool:
    """Print checks as they come; return whether one of them is an error."""
    failed = False
    for check in checks:
        line = f"{_MARKS[check.status]} [bold]{check.name:12}[/bold] {check.text}"
        console.print(line, highlight=False, soft_wrap=True)
        if check.remedy:
            console.print(f"         [green]fix[/green] {check.remedy}", highlight=False, soft_wrap=True)
        failed |= check.status == "error"
    return failed
