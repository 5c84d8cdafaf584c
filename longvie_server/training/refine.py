"""Training the denoiser on by what its latents decode to, once both it and the decoder are nearly good.

In: encoded scenes, their pictures, a trained denoiser and VAE. Out: a run folder whose average is the transformer.
A metric of latents (`pixel_metric`) knows what one wrong latent costs, not what neighbours that are wrong alike cost
together: a whole sky in the wrong blue. Pictures do. Every clip is made in one step from pure noise, so this is for
checkpoints that sample with one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..world_model.longvie2 import LongVie2Pipeline
from .pictures import Pictures, Window, decode_pictures, measure, picture_loss
from .run import Run, Schedule, parameter_groups, step_generator
from .speed import FrameSelection, install
from .world import HISTORY_LATENTS, WorldConfig, WorldData, predict

__all__ = ["RefineConfig", "train_refine"]


@dataclass(frozen=True, slots=True)
class RefineConfig:
    """One training of the denoiser by its pictures.

    Args:
        scenes: the store.
        world: of the training that it goes on from: its latents, rollouts, shares of spoilt and dropped conditions.
        folder: of the run.
        long_crop: latent rows and columns of pieces that last the whole clip.
        short_frames: latent frames of pieces that show the whole picture, from a clip's first on.
        sharpness, contrast: weights of the loss's second and third part, see `picture_loss`.
    """

    scenes: Path
    world: WorldConfig
    folder: Path
    steps: int = 1500
    learning_rate: float = 2e-4
    long_crop: tuple[int, int] = (5, 5)
    short_frames: int = 5
    sharpness: float = 0.05
    contrast: float = 0.0
    ema_decay: float = 0.995
    seed: int = 4
    check_every: int = 50


def train_refine(config: RefineConfig, pipeline: LongVie2Pipeline) -> Run:
    """Train the pipeline's transformer in place, resuming the folder's run; the run's `ema` holds what to keep."""
    transformer, vae = pipeline.transformer, pipeline.vae
    transformer.requires_grad_(True)
    vae.requires_grad_(False)
    install(transformer)
    selection = FrameSelection(transformer)
    world = replace(config.world, pure_share=1.0)
    data = WorldData(pipeline, world.latents, world.rollouts)
    pictures = Pictures(config.scenes, vae.config.scale_factor_spatial)
    shape = data.scenes[0].clips[0].truth.shape[1:]
    groups = parameter_groups(transformer, weight_decay=0.01)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), foreach=True)
    run = Run(
        config.folder,
        transformer,
        optimizer,
        Schedule(config.learning_rate, config.steps, warmup=50),
        ema_decay=config.ema_decay,
    )
    figures: list[tuple[float, float]] = []
    for step in run.steps("training by pictures"):
        generator = step_generator(config.seed, step, run.rank)
        scene = data.scenes[int(torch.randint(len(data.scenes), (), generator=generator))]
        number = int(torch.randint(len(scene.clips), (), generator=generator))
        window = Window.draw(shape, config.long_crop, config.short_frames, generator)
        frames = list(range(window.frames))
        batch = data.batch([scene], number, world, frames, generator).to(transformer.device)
        selection.choose(frames, total=shape[0], history=0 if batch.history is None else HISTORY_LATENTS)
        flow, noisy = predict(world, transformer, batch, generator)
        out = decode_pictures(vae, window.of_latents(noisy.latents - flow))
        truth = pictures.seen(scene.name, number, window).to(out.device).transpose(1, 2).flatten(0, 1)
        run.backward(picture_loss(out, truth, sharpness=config.sharpness, contrast=config.contrast))
        figures.append(measure(out, truth))
        if run.step % config.check_every == 0 or run.step == config.steps:
            run.save()
            decibels = [10 * np.log10(4 / max(square, 1e-6)) for square, _ in figures]
            energy = np.mean([share for _, share in figures])
            run.log(psnr=float(np.mean(decibels)), gradient_energy=float(energy), rate=run.schedule.at(step))
            figures.clear()
    return run
