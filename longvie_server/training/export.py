"""From runs to a pipeline: the averaged weights, and what is measured on them.

In: the VAE's run, then the denoiser's. Out: a `LongVie2Pipeline`, and a checkpoint folder that serves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file
from torch import Tensor, nn

from bridge.errors import InvalidValue

from ..world_model.longvie2 import LongVie2Config, LongVie2Pipeline, build
from ..world_model.longvie2.checkpoint import save_checkpoint
from ..world_model.longvie2.vae import decode_video
from .run import STATE_FILE
from .store import SceneStore
from .vae import latent_statistics

__all__ = ["export", "load_average", "pipeline_with_vae", "pixel_metric"]

_MEASURED_SCENES: Final = 16
_METRIC_STEP: Final = 0.3


def load_average(module: nn.Module, run: Path) -> int:
    """Load a run's averaged weights into its module; return the step that they were saved at.

    Raises:
        InvalidValue: the folder holds no run.
    """
    path = run / STATE_FILE
    if not path.exists():
        raise InvalidValue("holds no training run", field="run", value=run, remedy="Train first: longvie train tiny.")
    state = load_file(path)
    module.load_state_dict({name.removeprefix("ema."): t for name, t in state.items() if name.startswith("ema.")})
    return int(state["step"])


def pipeline_with_vae(config: LongVie2Config, vae_run: Path, store: SceneStore, *, seed: int) -> LongVie2Pipeline:
    """Return a pipeline of fresh weights but for the VAE's, which are a run's, with its latents' mean and deviation."""
    pipeline = build(config, seed=seed)
    load_average(pipeline.vae, vae_run)
    names = store.names()
    picked = names[:: max(1, len(names) // _MEASURED_SCENES)][:_MEASURED_SCENES]
    mean, std = latent_statistics(pipeline.vae, store, picked)
    pipeline.vae.register_to_config(latents_mean=mean, latents_std=std)
    pipeline.vae.requires_grad_(False)
    return pipeline


@torch.no_grad()
def pixel_metric(vae: AutoencoderKLWan, truth: Tensor, *, floor: float = 0.1) -> Tensor:
    """Return what an error of the latents costs in pixels: (z, z), symmetric, of trace z.

    An error e at one place moves the decoded picture by J e; its square is e' J'J e, averaged here over all places.
    Channels lean on each other (a tenth of the directions carry most of the picture), so weights per channel would
    not do.

    Args:
        vae: the trained one.
        truth: (batch, z, frames, h, w), normalised latents of the first frames of true videos.
        floor: share of the trace that all directions have alike.
    """
    channels = truth.shape[1]
    # One noise for all channels: products of two channels' pictures then add up where both moved the same place.
    noise = _METRIC_STEP * torch.randn(truth[:, 0].shape, generator=torch.Generator().manual_seed(0)).to(truth.device)
    metric = torch.zeros(channels, channels)
    for scene, moves in zip(truth, noise, strict=True):
        base = decode_video(vae, scene[None])
        pictures = []
        for channel in range(channels):
            moved = scene.clone()
            moved[channel] += moves
            pictures.append((decode_video(vae, moved[None]) - base).flatten())
        stacked = torch.stack(pictures)
        metric += (stacked @ stacked.T).cpu()
    return floor * torch.eye(channels) + (1 - floor) * channels * metric / metric.trace()


def export(pipeline: LongVie2Pipeline, world_run: Path, folder: Path, *, steps: int | None = None) -> int:
    """Write a checkpoint folder with a run's averaged denoiser; return the run's step.

    Args:
        pipeline: with a trained VAE; its transformer receives the weights.
        world_run: of the denoiser.
        folder: to write to.
        steps: denoising steps that the checkpoint asks for; None keeps the pipeline's.
    """
    step = load_average(pipeline.transformer, world_run)
    if steps is not None:
        pipeline.register_to_config(num_inference_steps=steps)
    save_checkpoint(pipeline, folder)
    return step
