"""`longvie train tiny`: procedural scenes become a checkpoint. The real model's stages: `train_stages`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .train_stages import add_stages

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Train a small LongVie 2 from nothing, or LongVie 2's stages over a base.")


@app.command("tiny")
def tiny(
    out: Annotated[Path, typer.Option(help="The checkpoint's folder; `longvie demo --model FOLDER` uses it.")],
    folder: Annotated[Path, typer.Option(help="Scenes, latents and checkpoints on the way.")] = Path("runs/tiny"),
    start: Annotated[Path | None, typer.Option(help="Go on from this checkpoint instead of from nothing.")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to train on, two clips each.")] = 640,
    first_seed: Annotated[int, typer.Option(min=0, help="Of the scenes; other seeds are other scenes.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "cpu",
    world_steps: Annotated[int, typer.Option(min=1, help="Steps of the denoiser.")] = 6000,
    decoder_steps: Annotated[int, typer.Option(min=1, help="Last steps of the decoder, on whole clips.")] = 700,
    batch: Annotated[int, typer.Option(min=1, help="Clips per step of the denoiser; a GPU takes 16 and more.")] = 3,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="Highest of the denoiser's.")] = 1e-3,
    spoilt_share: Annotated[float, typer.Option(min=0, max=1, help="Samples with a spoilt first frame.")] = 0.5,
    rollouts: Annotated[int, typer.Option(min=1, help="Scenes that the denoiser is rolled out on, each time.")] = 150,
    without_stage_2: Annotated[bool, typer.Option(help="Ablation: no first frame is spoilt.")] = False,
    without_stage_3: Annotated[bool, typer.Option(help="Ablation: no clip sees the frames before it.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights.")] = 0,
) -> None:
    """Make a small checkpoint: render, measure the VAE, encode, train the denoiser, finish the decoder.

    Stop it whenever you like: the same command goes on where it was. Other settings need another folder.
    """
    from ..training.tiny import TinyConfig, train_tiny

    made = train_tiny(
        TinyConfig(
            folder=folder,
            out=out,
            start=start,
            scenes=scenes,
            first_seed=first_seed,
            workers=workers,
            device=device,
            world_steps=world_steps,
            decoder_steps=decoder_steps,
            world_batch=batch,
            learning_rate=learning_rate,
            spoilt_share=spoilt_share,
            rollouts=rollouts,
            # What there is learns in a few steps what it is shown now, and may then be rolled out.
            rollouts_at=(0.55,) if start is None else (0.25,),
            without_stage_2=without_stage_2,
            without_stage_3=without_stage_3,
            seed=seed,
        )
    )
    Console().print(f"{made} is ready: try `longvie demo --model {made}`", highlight=False)


add_stages(app)
