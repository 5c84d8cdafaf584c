"""`longvie weights`: the real model's files, from the Hub to a folder that serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .doctor import show
from .progress import bars

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Fetch, convert and check the weights of LongVie 2.")

_TYPES = ("bfloat16", "float16", "float32")
Dtype = Annotated[str, typer.Option(help="Of the matrices: bfloat16, float16 or float32.")]


@app.command("fetch")
def fetch_command(
    model: Annotated[str, typer.Argument(help="longvie2.")] = "longvie2",
    to: Annotated[Path | None, typer.Option(help="The model's folder; default: where `serve` looks for it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keep: Annotated[bool, typer.Option("--keep-downloads", help="Keep the published files too.")] = False,
    dtype: Dtype = "bfloat16",
) -> None:
    """Fetch the published files, convert them once, check the result.

    Says size, disk and licences first. Interrupt it whenever you like: the same command goes on where it was.
    """
    import shutil

    from bridge.errors import InvalidValue

    from ..weights import check_model, fetch, plan_fetch
    from ..weights.fetch import BASE, LONGVIE, RemoteFile
    from ..world_model.registry import default_folder

    if model != "longvie2":
        raise InvalidValue("no weights are published for it", field="model", value=model, remedy="Use longvie2.")
    out = default_folder() if to is None else to
    console = Console(stderr=True, highlight=False)
    if (out / "model_index.json").exists():
        console.print(f"{out} is there already:")
        if show(Console(), check_model(out)):
            raise typer.Exit(1)
        return
    downloads = out.with_name(f"{out.name}.downloads")
    plan = plan_fetch(downloads)
    for repository, licence in plan.licences.items():
        console.print(f"[bold]{repository}[/bold]  licence: {licence}")
    console.print(
        f"{len(plan.files)} files, {plan.size / 1e9:.1f} GB, of which {plan.left / 1e9:.1f} GB are still to be fetched;"
        f" with the converted model {plan.needed / 1e9:.1f} GB of disk are needed, {plan.free / 1e9:.1f} GB are free."
    )
    if plan.free < plan.needed:
        raise InvalidValue(
            "the disk is too full", field="--to", value=out, remedy="Make room, or name a folder on another disk."
        )
    if not yes:
        typer.confirm("Fetch them, and accept these licences?", abort=True)

    def announce(file: RemoteFile, number: int, count: int) -> None:
        console.print(f"{number} of {count}: {file.repo_id}/{file.name}, {file.size / 1e9:.2f} GB")

    fetch(plan, on_file=announce)
    _convert_with_bar(downloads / BASE.folder, downloads / LONGVIE.folder, out, None, dtype)
    if show(Console(), check_model(out)):
        raise typer.Exit(1)
    if not keep:
        shutil.rmtree(downloads)
    console.print(f"{out} is ready: longvie serve --model longvie2{'' if to is None else f':{out}'}")


@app.command("convert")
def convert_command(
    base: Annotated[Path, typer.Option(help="Wan 2.1 I2V 14B 480P, in diffusers' or the original layout.")],
    longvie: Annotated[Path, typer.Option(help="The folder of control.safetensors and dit.safetensors.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    encoders: Annotated[
        Path | None, typer.Option(help="Text encoder, image encoder and tokenizer, where the base has none.")
    ] = None,
    dtype: Dtype = "bfloat16",
) -> None:
    """Turn published files that you have into a folder that serves."""
    from ..weights import check_model

    _convert_with_bar(base, longvie, out, encoders, dtype)
    if show(Console(), check_model(out)):
        raise typer.Exit(1)


@app.command("check")
def check_command(folder: Annotated[Path, typer.Argument(help="A model's folder.")]) -> None:
    """Account for every weight of every part: names, shapes, types. Exit code 1 where something is wrong."""
    from ..weights import check_model

    if show(Console(), check_model(folder)):
        raise typer.Exit(1)


def _convert_with_bar(base: Path, longvie: Path, out: Path, encoders: Path | None, dtype: str) -> None:
    import torch

    from bridge.errors import InvalidValue

    from ..weights import convert

    if dtype not in _TYPES:
        raise InvalidValue("unknown", field="--dtype", value=dtype, remedy=f"Use {', '.join(_TYPES)}.")
    with bars() as progress:
        task = progress.add_task("converting", total=None, note="reading headers")

        def on_bytes(done: int, total: int) -> None:
            progress.update(task, completed=round(done / 1e9, 1), total=round(total / 1e9, 1), note="GB")

        convert(base, longvie, out, encoders=encoders, dtype=getattr(torch, dtype), on_bytes=on_bytes)
