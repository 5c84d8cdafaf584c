"""Training the small VAE: it carries the truth, and the dense and the sparse control video as well.

In: a scene store. Out: a run folder whose averaged weights are an `AutoencoderKLWan`, and, when it is exported, the
mean and deviation of its latents per channel, so that the denoiser sees unit variance.
Loss: the squared error (colours come first with it), the error in a Laplacian pyramid (sharpness counts apart from
level), and a weak prior. Many small pieces of many scenes per step come first: what is one step's gets learned fastest.
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
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanCausalConv3d,
    WanResample,
    WanResidualBlock,
)
from numpy.typing import NDArray
from torch import Tensor, nn

from bridge.tick import CLIP_TICKS

from ..world_model.longvie2.framewise_vae import decode_chunks, encode_moments
from .muon import Muon
from .run import STATE_FILE, Run, Schedule, step_generator
from .store import SceneStore, StoredScene

__all__ = [
    "Crops",
    "VaeConfig",
    "band_error",
    "latent_statistics",
    "prepare",
    "reconstruct",
    "to_model_range",
    "train_vae",
]

_PYRAMID_LEVELS: Final = 3
_CHECKED: Final = slice(0, 33)


@dataclass(frozen=True, slots=True)
class Crops:
    """How large a piece of video a step sees.

    Args:
        frames: 1 + 4k.
        height, width: pixels, multiples of 16; no more than a picture has is taken.
        batch: pieces per step.
    """

    frames: int
    height: int
    width: int
    batch: int = 1


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """One training of the VAE.

    Args:
        scenes: the scene store's folder; scenes that are added while it trains are taken in at the next check.
        held_out: a store whose scenes are only measured on.
        folder: of the run.
        steps: of the whole run; a resumed run goes on to this number.
        crops: what a step sees, each from a share of the steps on: many small pieces first, long and large ones last.
        rgb_share: of the crops that show the truth; the others are halved between dense and sparse.
        noise: deviation of the posterior; the latents' own is about 1, so the decoder learns to bear errors.
        prior: weight of the latents' mean square.
    """

    scenes: Path
    held_out: Path
    folder: Path
    steps: int = 2500
    crops: tuple[tuple[float, Crops], ...] = (
        (0.0, Crops(5, 48, 48, batch=12)),
        (0.4, Crops(13, 64, 64, batch=4)),
        (0.75, Crops(33, 80, 80, batch=2)),
    )
    learning_rate: float = 1e-2
    rgb_share: float = 0.6
    sharpness: float = 0.3
    noise: float = 0.05
    prior: float = 1e-3
    seed: int = 1
    check_every: int = 200


def train_vae(config: VaeConfig, vae: AutoencoderKLWan) -> Run:
    """Train the VAE in place, resuming the folder's run; return the run, whose `ema` holds the weights to keep."""
    store, held_out = SceneStore(config.scenes), SceneStore(config.held_out)
    vae.requires_grad_(True)
    if not (config.folder / STATE_FILE).exists():
        prepare(vae)
    optimizer = Muon(vae.parameters(), lr=config.learning_rate)
    run = Run(config.folder, vae, optimizer, Schedule(config.learning_rate, config.steps, warmup=20), ema_decay=0.99)
    scenes = [store.load(name) for name in store.names()]
    squares: list[float] = []
    for step in run.steps("training the VAE"):
        generator = step_generator(config.seed, step, run.rank)
        crops = [crops for share, crops in config.crops if step >= share * config.steps][-1]
        pieces = [_crop(scenes[_draw(generator, len(scenes))], crops, config, generator) for _ in range(crops.batch)]
        video = torch.cat([to_model_range(piece) for piece in pieces]).to(vae.device)
        loss, square_error = _loss(vae, video, config, generator)
        run.backward(loss)
        squares.append(square_error.item())
        if run.step % config.check_every == 0 or run.step == config.steps:
            run.save()
            if run.rank == 0:
                psnr = float(10 * np.log10(4.0 / np.mean(squares)))
                run.log(psnr=psnr, scenes=len(scenes), **_held_out_psnr(vae, held_out))
            squares.clear()
            scenes = [store.load(name) for name in store.names()]
    return run


@torch.no_grad()
def prepare(vae: AutoencoderKLWan) -> None:
    """Begin as a nearly linear network: residual branches say nothing, the plain path keeps its scale."""
    for module in vae.modules():
        if isinstance(module, WanResidualBlock):
            nn.init.zeros_(module.conv2.weight)
        elif isinstance(module, WanAttentionBlock):
            nn.init.zeros_(module.proj.weight)
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, WanResidualBlock) and isinstance(module.conv_shortcut, WanCausalConv3d):
            nn.init.orthogonal_(module.conv_shortcut.weight)
        elif isinstance(module, WanResample):
            for conv in module.modules():
                if isinstance(conv, (nn.Conv2d, nn.Conv3d)):
                    # PyTorch's default shrinks the variance to a third.
                    conv.weight.mul_(3**0.5)
    for conv in (vae.quant_conv, vae.post_quant_conv, vae.encoder.conv_in, vae.decoder.conv_in):
        conv.weight.mul_(3**0.5)


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
        parts = [
            encode_moments(vae, to_model_range(store.load(n).clip(0)).to(vae.device)).chunk(2, dim=1)[0] for n in names
        ]
    values = torch.cat([p.transpose(0, 1).flatten(1) for p in parts], dim=1)
    return values.mean(1).tolist(), values.std(1).tolist()


def _crop(scene: StoredScene, crops: Crops, config: VaeConfig, generator: torch.Generator) -> NDArray[np.uint8]:
    """A piece of one of the scene's videos: half of them from a clip's first frame on, which is coded apart."""
    kind = float(torch.rand((), generator=generator))
    clip = _draw(generator, scene.record.clips)
    room = CLIP_TICKS + 1 - crops.frames
    first = max(0, _draw(generator, 2 * room) - room)
    height, width = min(crops.height, scene.rgb.shape[1]), min(crops.width, scene.rgb.shape[2])
    row = _draw(generator, scene.rgb.shape[1] - height + 1)
    column = _draw(generator, scene.rgb.shape[2] - width + 1)
    if kind < config.rgb_share:
        video = scene.clip(clip)
    else:
        video = (scene.dense if kind < config.rgb_share + (1 - config.rgb_share) / 2 else scene.sparse)[clip]
    piece = video[first : first + crops.frames, row : row + height, column : column + width]
    if float(torch.rand((), generator=generator)) < 0.5:
        piece = piece[:, :, ::-1]
    # Other colours than the families have.
    return piece[..., torch.randperm(3, generator=generator).tolist()] if piece.ndim == 4 else piece


def _draw(generator: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=generator))


def _loss(vae: AutoencoderKLWan, video: Tensor, config: VaeConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the whole loss, and the squared error within it."""
    mean, log_variance = encode_moments(vae, video).chunk(2, dim=1)
    latents = mean + config.noise * torch.randn(mean.shape, generator=generator).to(mean.device)
    out = torch.cat(list(decode_chunks(vae, latents, chunk=latents.shape[2])), dim=2)
    square_error = F.mse_loss(out, video)
    # The posterior is told its own width, which is fixed, and kept from drifting away from the origin.
    width_error = (log_variance - 2.0 * math.log(config.noise)).square().mean()
    prior = config.prior * (mean.square().mean() + 0.01 * width_error)
    error = (out - video).transpose(1, 2).flatten(0, 1)
    return 4 * square_error + config.sharpness * band_error(error) + prior, square_error


def band_error(error: Tensor) -> Tensor:
    """The mean absolute value of every band of a Laplacian pyramid of an error, (n, c, h, w)."""
    total = error.new_zeros(())
    for _ in range(_PYRAMID_LEVELS):
        coarse = F.avg_pool2d(error, 2)
        total = total + (error - F.interpolate(coarse, scale_factor=2.0, mode="nearest")).abs().mean()
        error = coarse
    return total + error.abs().mean()


def _held_out_psnr(vae: AutoencoderKLWan, store: SceneStore) -> dict[str, float]:
    """PSNR of reconstruction, dB, over 33 frames of each held-out scene, by kind of video."""
    errors: dict[str, list[float]] = {"psnr_rgb": [], "psnr_dense": [], "psnr_sparse": []}
    for name in store.names():
        scene = store.load(name)
        for kind, video in zip(errors, (scene.clip(0), scene.dense[0], scene.sparse[0]), strict=True):
            pixels = to_model_range(video[_CHECKED]).to(vae.device)
            errors[kind].append(float(F.mse_loss(reconstruct(vae, pixels), pixels)))
    return {kind: float(10 * np.log10(4.0 / np.mean(values))) for kind, values in errors.items() if values}
