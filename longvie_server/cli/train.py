"""`longvie train`: procedural scenes become a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Train a small LongVie 2 on scenes that are rendered on the way.")


@app.callback()
def _root() -> None:
    """Keep `tiny` a command of its own."""


@app.command("tiny")
def tiny(
    out: Annotated[Path, typer.Option(help="The checkpoint's folder; `longvie demo --model FOLDER` uses it.")],
    folder: Annotated[Path, typer.Option(help="Scenes, latents and checkpoints on the way.")] = Path("runs/tiny"),
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to train on, two clips each.")] = 300,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    vae_steps: Annotated[int, typer.Option(min=1, help="Steps of the VAE.")] = 2500,
    world_steps: Annotated[int, typer.Option(min=1, help="Steps of the denoiser.")] = 6000,
    decoder_steps: Annotated[int, typer.Option(min=1, help="Last steps of the decoder, on whole clips.")] = 800,
    batch: Annotated[int, typer.Option(min=1, help="Clips per step of the denoiser; a GPU takes 16 and more.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights.")] = 0,
) -> None:
    """Make the small checkpoint from nothing: render, train the VAE, encode, train the denoiser, finish the decoder.

    Stop it whenever you like: the same command goes on where it was.
    """
    from ..training.tiny import TinyConfig, train_tiny

    made = train_tiny(
        TinyConfig(
            folder=folder,
            out=out,
            scenes=scenes,
            workers=workers,
            device=device,
            vae_steps=vae_steps,
            world_steps=world_steps,
            decoder_steps=decoder_steps,
            world_batch=batch,
            seed=seed,
        )
    )
    Console().print(f"{made} is ready: try `longvie demo --model {made}`", highlight=False)
