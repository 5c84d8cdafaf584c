"""The commands, in the order in which people meet them."""

from __future__ import annotations

import typer
from rich.console import Console

from bridge.errors import BridgeError

from . import bench, demo, doctor, evaluate, record, render, serve, train, weights

__all__ = ["app", "report"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Send an engine's ticks, receive generated video.\n\nBegin with [bold]longvie demo[/bold]; then "
    "[bold]longvie serve[/bold] and `bridge.connect(...)` from your engine.",
)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("record")(record.record)
app.command("render")(render.render)
app.command("export")(render.export)
app.command("doctor")(doctor.doctor)
app.command("eval")(evaluate.evaluate_command)
app.add_typer(bench.app, name="bench")
app.add_typer(train.app, name="train")
app.add_typer(weights.app, name="weights")


@app.callback()
def _root() -> None:
    """Keep the app's own help."""


def report(error: BridgeError) -> None:
    """Print an error as its user should read it: what, where, and what to do."""
    console = Console(stderr=True)
    where = f" [bold]{error.field}[/bold]:" if error.field else ""
    got = f" (got {error.value})" if error.value else ""
    console.print(f"[red]error[/red]{where} {error.problem}{got}.", soft_wrap=True, highlight=False)
    if error.remedy:
        console.print(f"[green]  fix[/green] {error.remedy}", soft_wrap=True, highlight=False)
