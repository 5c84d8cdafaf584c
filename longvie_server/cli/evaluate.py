"""`longvie eval`: how close the generated video is to the engine's truth."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .. import world_model

__all__ = ["evaluate_command"]


def evaluate_command(
    model: Annotated[str, typer.Option(help="tiny, fake, longvie2 or a checkpoint folder.")] = "tiny",
    sequences: Annotated[
        Path | None, typer.Option(help="A folder of recordings or videos; default: our scenes.")
    ] = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="Held-out scenes (default 20), or of the folder's.")] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="Clips of each, 5 seconds each; default 3, or all.")] = None,
    rows: Annotated[str, typer.Option(help="Rows by name, comma separated; default: all that can be had.")] = "",
    cache: Annotated[Path, typer.Option(help="Prepared sequences, and results so far.")] = Path("runs/eval"),
    perceptual: Annotated[Path | None, typer.Option(help="A folder with the weights of LPIPS, DINO and CLIP.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A folder for figures, a sheet of frames, and curves.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table to this file.")] = None,
) -> None:
    """Judge a model on held-out scenes or on your own sequences, beside baselines in the same table.

    Every row continues clip by clip through history, as the server does. Interrupt it whenever you like: results so far
    are kept in the cache folder.
    """
    from ..evaluation import EvaluationConfig, evaluate, load_perceptual
    from ..sequences import SequenceSource, find_sources
    from ..sequences.scene import held_out_scenes
    from ..world_model.registry import TINY_FOLDER, load_model

    sources: list[SequenceSource]
    if sequences is None:
        sources, clips = [*held_out_scenes(scenes or 20)], clips or 3
    else:
        sources = find_sources(sequences)[:scenes]
    world = load_model(model, device=device, threads=threads or None)
    config = EvaluationConfig(
        cache=cache,
        label=_digest(TINY_FOLDER if model == "tiny" else Path(model)),
        clips=clips,
        rows=tuple(name.strip() for name in rows.split(",") if name.strip()),
        perceptual=load_perceptual(perceptual, device=world.spec.numerics.get("device", "cpu")),
    )
    result = evaluate(world, sources, config)
    console = Console()
    console.print(result.table())
    if result.clips > 1:
        console.print(result.drift_table())
    if out is not None:
        result.write(out)
        console.print(f"frames side by side: {out / 'sheet.png'}; curves: clips.png, drift.png", highlight=False)
    if json_file is not None:
        json_file.write_text(result.to_json(), encoding="utf-8")


def _digest(checkpoint: Path) -> str:
    """Return a name for what makes a model's frames: a checkpoint's very bytes, and the code that runs it.

    Models without weights have none to tell apart. The pages of text beside weights do not count.
    """
    code = Path(world_model.__file__).parent
    files = [file for file in sorted(checkpoint.rglob("*")) if file.is_file() and file.suffix != ".md"]
    digest = hashlib.sha256()
    for file in (*files, *sorted(code.rglob("*.py"))):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]
