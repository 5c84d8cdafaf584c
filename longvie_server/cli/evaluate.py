"""`longvie eval`: how close the generated video is to the engine's truth."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from bridge.errors import InvalidValue

__all__ = ["evaluate_command"]

_PACKAGE: Final = Path(__file__).parents[1]
_CODE: Final = ("control", "evaluation", "world_model")
"""What a model's figures depend on besides its weights."""
_WHOLE_BYTES: Final = 256 * 2**20
_PIECE_BYTES: Final = 2**20
_PIECES: Final = 16


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
    # What can be refused is refused before the model is loaded, and long before all is judged.
    for folder, field in ((cache, "cache"), (out, "out")):
        _check_no_file(folder, field)
    if perceptual is not None and not perceptual.is_dir():
        raise InvalidValue(
            "is no folder", field="perceptual", value=perceptual, remedy="Check the path for typing errors."
        )
    if json_file is not None:
        if json_file.is_dir():
            raise InvalidValue("is a folder", field="json", value=json_file, remedy="Name a file in it.")
        _check_no_file(json_file.parent, "json")

    from ..evaluation import EvaluationConfig, evaluate, load_perceptual
    from ..sequences import SequenceSource, find_sources
    from ..sequences.scene import held_out_scenes
    from ..world_model.registry import load_model, model_folder

    sources: list[SequenceSource]
    if sequences is None:
        sources, clips = [*held_out_scenes(scenes or 20)], clips or 3
    else:
        sources = find_sources(sequences)[:scenes]
    chosen = tuple(name.strip() for name in rows.split(",") if name.strip())
    config = EvaluationConfig(cache=cache, label=_digest(model_folder(model)), clips=clips, rows=chosen)
    world = load_model(model, device=device, threads=threads or None)
    networks = load_perceptual(perceptual, device=world.spec.numerics.get("device", "cpu"))
    result = evaluate(world, sources, replace(config, perceptual=networks))
    console = Console()
    console.print(result.table())
    if result.clips > 1:
        console.print(result.drift_table())
    if out is not None:
        result.write(out)
        console.print(f"frames side by side: {out / 'sheet.png'}; curves: clips.png, drift.png", highlight=False)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(result.to_json(), encoding="utf-8")


def _check_no_file(folder: Path | None, field: str) -> None:
    """Refuse a folder that cannot be made, because it, or one above it, is a file."""
    if folder is None:
        return
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise InvalidValue(
                "is a file, where a folder is needed", field=field, value=path, remedy="Choose another place."
            )


def _digest(checkpoint: Path | None) -> str:
    """Return a name for what makes a model's figures: its weights, and the code that runs and judges it.

    Files are hashed whole up to 256 MiB. Of a larger one, its size and 16 MiB spread evenly over it, the first and the
    last among them: a change elsewhere in it is not seen. Times do not count, since they say nothing of what is in a
    file, nor do the pages of text beside weights.

    Args:
        checkpoint: its folder; None for a model without weights.
    """
    digest = hashlib.sha256()
    for folder in (checkpoint, *(_PACKAGE / name for name in _CODE)):
        if folder is None:
            continue
        files = [file for file in folder.rglob("*") if file.is_file()]
        for file in sorted(files):
            if file.suffix == ".md" if folder is checkpoint else file.suffix != ".py":
                continue
            digest.update(f"{file.relative_to(folder).as_posix()} {file.stat().st_size}\n".encode())
            _update(digest, file)
    return digest.hexdigest()[:16]


def _update(digest: hashlib._Hash, path: Path) -> None:
    """Take in a file, or pieces of a large one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
            return
        for number in range(_PIECES):
            file.seek((size - _PIECE_BYTES) * number // (_PIECES - 1))
            digest.update(file.read(_PIECE_BYTES))
