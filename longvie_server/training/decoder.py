"""Training the VAE's decoder on, once its latents are settled: whole clips, so that colours hold to the last frame.

In: encoded scenes and the pictures that they were made from. Out: a run folder whose averaged weights are the whole
VAE, its encoder unchanged. Latents stay what they are, so a denoiser may be trained on them at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from torch import Tensor

from ..world_model.longvie2.framewise_vae import decode_chunks
from ..world_model.longvie2.vae import denormalise
from .latents import SceneLatents
from .muon import Muon
from .run import Run, Schedule, step_generator
from .store import SceneStore
from .vae import band_error, to_model_range

__all__ = ["DecoderConfig", "train_decoder"]

_SCALE = 8


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """One training of the decoder.

    Args:
        scenes, latents: the store, and its scenes encoded.
        folder: of the run.
        long_crop: latent rows and columns of pieces that last the whole clip.
        short_frames: latent frames of pieces that show the whole picture, from a clip's first on.
        noise: deviation of what is added to the (normalised) latents: a denoiser's are never quite right.
    """

    scenes: Path
    latents: Path
    folder: Path
    steps: int = 400
    long_crop: tuple[int, int] = (4, 5)
    short_frames: int = 3
    learning_rate: float = 1e-2
    sharpness: float = 1.5
    noise: float = 0.1
    seed: int = 3
    check_every: int = 50


def train_decoder(config: DecoderConfig, vae: AutoencoderKLWan) -> Run:
    """Train the decoder in place, resuming the folder's run; the run's `ema` holds the VAE to keep.

    Args:
        config: see there.
        vae: trained, with its latents' mean and deviation in its config.
    """
    store = SceneStore(config.scenes)
    scenes = [SceneLatents.load(path) for path in sorted(config.latents.glob("*.safetensors"))]
    vae.requires_grad_(False)
    for part in (vae.decoder, vae.post_quant_conv):
        part.requires_grad_(True)
    optimizer = Muon((p for p in vae.parameters() if p.requires_grad), lr=config.learning_rate)
    run = Run(config.folder, vae, optimizer, Schedule(config.learning_rate, config.steps, warmup=20), ema_decay=0.98)
    losses: list[float] = []
    for step in run.steps("training the decoder"):
        generator = step_generator(config.seed, step, run.rank)
        scene = scenes[_draw(generator, len(scenes))]
        clip = _draw(generator, len(scene.clips))
        latents, video = _piece(scene, clip, store, config, generator)
        latents = latents + config.noise * torch.randn(latents.shape, generator=generator)
        latents, video = latents.to(vae.device), video.to(vae.device)
        raw = denormalise(vae, latents)
        error = torch.cat(list(decode_chunks(vae, raw, chunk=raw.shape[2])), dim=2) - video
        loss = error.abs().mean() + config.sharpness * band_error(error.transpose(1, 2).flatten(0, 1))
        run.backward(loss)
        losses.append(F.mse_loss(error.detach(), torch.zeros_like(error)).item())
        if run.step % config.check_every == 0 or run.step == config.steps:
            run.save()
            run.log(psnr=float(10 * np.log10(4 / np.mean(losses))), rate=run.schedule.at(step))
            losses.clear()
    return run


def _piece(
    scene: SceneLatents, clip: int, store: SceneStore, config: DecoderConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Latents, (1, z, t, h, w), and the video that they show: long and narrow, or short and whole."""
    truth = scene.clips[clip].truth
    _, frames, rows, columns = truth.shape
    row = column = 0
    if float(torch.rand((), generator=generator)) < 0.6:
        height, width = config.long_crop
        row, column = _draw(generator, rows - height + 1), _draw(generator, columns - width + 1)
        rows, columns = height, width
    else:
        frames = config.short_frames
    latents = truth[:, :frames, row : row + rows, column : column + columns].float()[None]
    video = store.load(scene.name).clip(clip)[
        : 4 * frames - 3,
        _SCALE * row : _SCALE * (row + rows),
        _SCALE * column : _SCALE * (column + columns),
    ]
    return latents, to_model_range(video)


def _draw(generator: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=generator))
