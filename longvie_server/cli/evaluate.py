"""`longvie eval`: how close the generated video is to the engine's truth."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["evaluate_command"]


def evaluate_command(
    model: Annotated[str, typer.Option(help="tiny, fake, longvie2 or a checkpoint folder.")] = "tiny",
    scenes: Annotated[int, typer.Option(min=2, help="Held-out scenes, of a family that training never saw.")] = 20,
    clips: Annotated[int, typer.Option(min=1, help="Clips per scene, 5 seconds each, one after another.")] = 3,
    rows: Annotated[str, typer.Option(help="Rows by name, comma separated; default: all.")] = "",
    cache: Annotated[Path, typer.Option(help="Rendered scenes, and results so far.")] = Path("runs/eval"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A folder for figures, a sheet of frames, and curves.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table to this file.")] = None,
) -> None:
    """Judge a model on held-out scenes, beside baselines in the same table.

    Every row continues clip by clip through history, as the server does. Interrupt it whenever you like: results so far
    are kept in the cache folder.
    """
    from ..evaluation.evaluate import EvaluationConfig, evaluate
    from ..evaluation.rows import ROWS
    from ..world_model.registry import TINY_FOLDER, load_model

    chosen = tuple(name.strip() for name in rows.split(",") if name.strip()) or ROWS
    folder = TINY_FOLDER if model == "tiny" else Path(model)
    config = EvaluationConfig(scenes=scenes, clips=clips, cache=cache, label=_digest(folder), rows=chosen)
    result = evaluate(load_model(model, device=device, threads=threads or None), config)
    Console().print(result.table())
    if out is not None:
        result.write(out)
        Console().print(
            f"frames side by side: {out / 'sheet.png'}; from clip to clip: {out / 'clips.png'}", highlight=False
        )
    if json_file is not None:
        json_file.write_text(result.to_json(), encoding="utf-8")


def _digest(folder: Path) -> str:
    """Return a name for a checkpoint's very bytes; models without weights have none to tell apart."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix != ".md":
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]
