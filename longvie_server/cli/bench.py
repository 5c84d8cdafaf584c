"""`longvie bench`: figures beside something known, measured in the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.table import Table

from bridge.errors import InvalidValue

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Measure the parts of the road, each beside something known.")

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


class _Result(Protocol):
    def table_rows(self) -> list[tuple[str, str, str]]: ...

    def as_json(self) -> dict[str, Any]: ...


@app.command("wire")
def wire(
    transport: Annotated[str, typer.Option(help="zeromq, grpc or both.")] = "both",
    ticks: Annotated[int, typer.Option(min=100, help="Ticks per side.")] = 600,
    repeats: Annotated[int, typer.Option(min=1, help="Sides are measured in turn; the best counts.")] = 3,
    json_file: JsonFile = None,
) -> None:
    """Ticks into a session, beside a bare one-way stream of the same parts with the same credit."""
    from ..bench.wire import bench_wire

    if transport not in ("zeromq", "grpc", "both"):
        raise InvalidValue("unknown", field="--transport", value=transport, remedy="Use zeromq, grpc or both.")
    transports = ("zeromq", "grpc") if transport == "both" else (transport,)
    results = {name: bench_wire(name, ticks=ticks, repeats=repeats) for name in transports}
    _show({f"wire, {name}": result for name, result in results.items()}, json_file)


@app.command("control")
def control(
    repeats: Annotated[int, typer.Option(min=1, help="Sides are measured in turn; the best counts.")] = 3,
    json_file: JsonFile = None,
) -> None:
    """Control signals of a clip, beside a plain loop of OpenCV rectangles."""
    from ..bench.control import bench_control

    _show({"control": bench_control(repeats=repeats)}, json_file)


@app.command("session")
def session(
    clips: Annotated[int, typer.Option(min=4, help="Clips to run.")] = 60,
    json_file: JsonFile = None,
) -> None:
    """Memory over a long session with the fake model, of client and server."""
    from ..bench.session import bench_session

    _show({"session": bench_session(clips=clips)}, json_file)


@app.command("model")
def model(
    model: Annotated[
        str, typer.Option(help="tiny, longvie2, a checkpoint folder; random-14b or random-small for random weights.")
    ] = "tiny",
    clips: Annotated[int, typer.Option(min=1, help="Clips to count, after one that warms up.")] = 2,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; default: the checkpoint's own.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    quality: Annotated[
        str, typer.Option(help="final, or balanced or preview, which are measured beside it.")
    ] = "final",
    memory: Annotated[str, typer.Option(help="What lies on the GPU, as in longvie serve.")] = "auto",
    attention: Annotated[str, typer.Option(help="Attention kernel, as in longvie serve.")] = "auto",
    compile_blocks: Annotated[str, typer.Option("--compile", help="auto, on or off.")] = "auto",
    products: Annotated[str, typer.Option(help="full, or float8, which is measured beside it.")] = "full",
    decoder: Annotated[str, typer.Option(help="full, or tiny, which is measured beside it.")] = "full",
    json_file: JsonFile = None,
) -> None:
    """A model's clips, stage by stage, beside the floor of its operations at the rates of this machine."""
    from ..bench.model import bench_model
    from ..bench.quality import bench_quality
    from ..world_model.options import RunOptions

    options = RunOptions(
        memory=memory,
        quality=quality,
        attention=attention,
        compile=compile_blocks,
        products=products,
        decoder=decoder,
    )
    result: _Result
    if (quality, products, decoder) == ("final", "full", "full") or steps is not None:
        result = bench_model(model, clips=clips, steps=steps, device=device, options=options)
    else:
        result = bench_quality(model, options=options, clips=clips, device=device)
    _show({"model": result}, json_file)


def _show(results: dict[str, _Result], json_file: Path | None) -> None:
    console = Console()
    for title, result in results.items():
        table = Table("figure", "measured", "wanted", title=title)
        for row in result.table_rows():
            table.add_row(*row)
        console.print(table)
    if json_file is not None:
        figures: dict[str, Any] = {title.partition(", ")[2] or title: r.as_json() for title, r in results.items()}
        json_file.write_text(json.dumps(figures if len(figures) > 1 else next(iter(figures.values())), indent=2) + "\n")
