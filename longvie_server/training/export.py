"""From runs to a pipeline: the averaged weights, and what is measured on them.

In: runs. Out: a `LongVie2Pipeline`, and a checkpoint folder that serves.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from bridge.errors import InvalidValue

from ..world_model.longvie2 import LongVie2Pipeline
from ..world_model.longvie2.block_vae import BlockAutoencoder
from ..world_model.longvie2.checkpoint import save_checkpoint
from .run import STATE_FILE, check_weights, read_state

__all__ = ["export", "load_average", "pixel_metric"]


def load_average(module: nn.Module, run: Path) -> int:
    """Load a run's averaged weights into its module; return the step that they were saved at.

    Raises:
        InvalidValue: the folder holds no run, or another module's.
    """
    path = run / STATE_FILE
    if not path.exists():
        raise InvalidValue("holds no training run", field="run", value=run, remedy="Train first: longvie train tiny.")
    state = read_state(path)
    average = {name.removeprefix("ema."): t for name, t in state.items() if name.startswith("ema.")}
    check_weights(module, average, path)
    module.load_state_dict(average)
    return int(state["step"])


@torch.no_grad()
def pixel_metric(vae: BlockAutoencoder, *, floor: float = 0.02) -> Tensor:
    """Return what an error of the latents costs in pixels: (z, z), symmetric, of trace z.

    An error e at one place moves the linear part of the decoded picture by J e; its square is e' J'J e.

    Args:
        vae: with its code.
        floor: share of the trace that all directions have alike.
    """
    columns = vae.decoder.rest.weight * torch.tensor(vae.config.latents_std, device=vae.device)
    metric = columns.T @ columns
    channels = len(metric)
    return floor * torch.eye(channels, device=metric.device) + (1 - floor) * channels * metric / metric.trace()


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
