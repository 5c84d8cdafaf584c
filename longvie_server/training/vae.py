"""Training the small VAE: it carries the truth, and the dense and the sparse control video as well.

In: a scene store. Out: a run folder whose averaged weights are an `AutoencoderKLWan`, and, when it is exported, the
mean and deviation of its latents per channel, so that the denoiser sees unit variance.
Loss: L1, its error again in a Laplacian pyramid (sharpness counts apart from level), and a weak prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from torch import Tensor

from ..world_model.longvie2.framewise_vae import decode_chunks, encode_moments
from .run import Run, Schedule, step_generator
from .store import SceneStore, StoredScene

__all__ = ["VaeConfig", "latent_statistics", "reconstruct", "to_model_range", "train_vae"]

_PYRAMID_LEVELS: Final = 3
_LATENT_STRIDE: Final = 4


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """One training of the VAE.

    Args:
        scenes: the scene store's folder.
        folder: of the run.
        steps: of the whole run; a resumed run goes on to this number.
        frames: per crop in time, 1 + 4k.
        rgb_share: of the crops that show the truth; the others are halved between dense and sparse.
        noise: deviation of the posterior; the latents' own is about 1, so the decoder learns to bear errors.
        prior: weight of the latents' mean square.
        held_out: scenes at the end of the list that are never trained on.
    """

    scenes: Path
    folder: Path
    steps: int = 2400
    frames: int = 9
    batch: int = 1
    learning_rate: float = 1.5e-3
    rgb_share: float = 0.6
    sharpness: float = 1.0
    noise: float = 0.1
    prior: float = 1e-3
    held_out: int = 8
    seed: int = 1
    check_every: int = 100


def train_vae(config: VaeConfig, vae: AutoencoderKLWan) -> Run:
    """Train the VAE in place, resuming the folder's run; return the run, whose `ema` holds the weights to keep."""
    store = SceneStore(config.scenes)
    names = store.names()
    train, held_out = names[: -config.held_out], names[-config.held_out :]
    scenes = [store.load(name) for name in train]
    vae.requires_grad_(True)
    # Stays in eval mode: dropout is zero anyway, and drawing its masks would take most of a step on a CPU.
    run = Run(config.folder, vae, Schedule(config.learning_rate, config.steps), ema_decay=0.995)
    for step in run.steps("training the VAE"):
        generator = step_generator(config.seed, step)
        crops = [
            _crop(scenes[_draw(generator, len(scenes))], config.frames, config.rgb_share, generator)
            for _ in range(config.batch)
        ]
        video = torch.cat([to_model_range(crop) for crop in crops])
        loss, pixel_error = _loss(vae, video, config, generator)
        run.backward(loss)
        if run.step % config.check_every == 0 or run.step == config.steps:
            run.save()
            figures = {f"psnr_{k}": v for k, v in _held_out_psnr(vae, store, held_out).items()}
            run.log(loss=loss.item(), l1=pixel_error.item(), **figures)
    return run


def to_model_range(video: NDArray[np.uint8]) -> Tensor:
    """Return (1, 3, frames, height, width) float32 in -1..1 of (frames, height, width[, 3]) uint8."""
    pixels = torch.from_numpy(np.array(video)).to(torch.float32) / 127.5 - 1.0
    if pixels.ndim == 3:
        pixels = pixels[..., None].expand(-1, -1, -1, 3)
    return pixels.permute(3, 0, 1, 2)[None].contiguous()


def reconstruct(vae: AutoencoderKLWan, video: Tensor) -> Tensor:
    """Return what is left of (batch, 3, 1 + 4k, height, width) after encoding and decoding, clamped to -1..1."""
    with torch.no_grad():
        mean = encode_moments(vae, video).chunk(2, dim=1)[0]
        return torch.cat(list(decode_chunks(vae, mean, chunk=mean.shape[2])), dim=2).clamp(-1, 1)


def latent_statistics(vae: AutoencoderKLWan, store: SceneStore, names: list[str]) -> tuple[list[float], list[float]]:
    """Return the mean and the standard deviation of each latent channel over the truth of these scenes."""
    with torch.no_grad():
        parts = [encode_moments(vae, to_model_range(store.load(n).clip(0))).chunk(2, dim=1)[0] for n in names]
    values = torch.cat([p.transpose(0, 1).flatten(1) for p in parts], dim=1)
    return values.mean(1).tolist(), values.std(1).tolist()


def _crop(scene: StoredScene, frames: int, rgb_share: float, generator: torch.Generator) -> NDArray[np.uint8]:
    """A piece of one of the scene's videos: half of them from a clip's first frame on, which is coded apart."""
    kind = float(torch.rand((), generator=generator))
    clip = _draw(generator, scene.record.clips)
    first = max(0, _draw(generator, 2 * (82 - frames)) - (82 - frames))
    if kind < rgb_share:
        return scene.clip(clip)[first : first + frames]
    plane = scene.dense if kind < rgb_share + (1 - rgb_share) / 2 else scene.sparse
    return plane[clip, first : first + frames]


def _draw(generator: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=generator))


def _loss(vae: AutoencoderKLWan, video: Tensor, config: VaeConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the whole loss, and the L1 error within it."""
    mean, log_variance = encode_moments(vae, video).chunk(2, dim=1)
    latents = mean + config.noise * torch.randn(mean.shape, generator=generator)
    out = torch.cat(list(decode_chunks(vae, latents, chunk=latents.shape[2])), dim=2)
    pixel_error = F.l1_loss(out, video)
    # The posterior is told its own width, which is fixed, and kept from drifting away from the origin.
    width_error = (log_variance - 2.0 * math.log(config.noise)).square().mean()
    prior = config.prior * (mean.square().mean() + 0.01 * width_error)
    error = (out - video).transpose(1, 2).flatten(0, 1)
    return pixel_error + config.sharpness * _band_error(error) + prior, pixel_error


def _band_error(error: Tensor) -> Tensor:
    """The mean absolute value of every band of a Laplacian pyramid of an error, (n, c, h, w)."""
    total = error.new_zeros(())
    for _ in range(_PYRAMID_LEVELS):
        coarse = F.avg_pool2d(error, 2)
        total = total + (error - F.interpolate(coarse, scale_factor=2.0, mode="nearest")).abs().mean()
        error = coarse
    return total + error.abs().mean()


def _held_out_psnr(vae: AutoencoderKLWan, store: SceneStore, names: list[str]) -> dict[str, float]:
    """PSNR of reconstruction, dB, over 17 frames of each held-out scene, by kind of video."""
    errors: dict[str, list[float]] = {"rgb": [], "dense": [], "sparse": []}
    for name in names:
        scene = store.load(name)
        for kind, video in (("rgb", scene.clip(0)), ("dense", scene.dense[0]), ("sparse", scene.sparse[0])):
            pixels = to_model_range(video[40 : 40 + 4 * _LATENT_STRIDE + 1])
            errors[kind].append(float(F.mse_loss(reconstruct(vae, pixels), pixels)))
    return {kind: float(10 * np.log10(4.0 / np.mean(values))) for kind, values in errors.items()}
