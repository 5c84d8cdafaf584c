"""From runs to a pipeline: the averaged weights, and what is measured on them.

In: the VAE's run, then the denoiser's. Out: a `LongVie2Pipeline`, and a checkpoint folder that serves.
"""

from __future__ import annotations

from pathlib import Path

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

__all__ = ["channel_weights", "export", "load_average", "pipeline_with_vae"]

_MEASURED_SCENES = 16


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
def channel_weights(vae: AutoencoderKLWan, truth: Tensor, *, floor: float = 0.3) -> Tensor:
    """Return how much of the picture each latent channel carries, (z,) of mean 1.

    Args:
        vae: the trained one.
        truth: (batch, z, frames, h, w), normalised latents of true videos.
        floor: share of the weight that all channels have alike.
    """
    base = decode_video(vae, truth)
    noise = 0.5 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)).to(truth.device)
    errors = []
    for channel in range(truth.shape[1]):
        moved = truth.clone()
        moved[:, channel] += noise[:, channel]
        errors.append((decode_video(vae, moved) - base).square().mean())
    error = torch.stack(errors)
    return floor + (1 - floor) * error / error.mean()


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
