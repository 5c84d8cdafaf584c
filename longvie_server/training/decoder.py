"""Training the VAE's decoder on, once its latents are settled: whole clips, and what a denoiser really makes.

In: encoded scenes, the pictures that they were made from, and rollouts. Out: a run folder whose averaged weights are
the whole VAE, its encoder unchanged. Latents stay what they are, so a denoiser may be trained on them meanwhile.
Loss: the logarithm of the squared error, so that a piece counts by its decibels and a hopeless one does not drown the
others; its bands; and the contrast of every place in every band: where a denoiser is unsure, its latents are an average
and decode to blur, which the error alone likes best and the eye does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from torch import Tensor

from bridge.tick import CLIP_STRIDE, CLIP_TICKS

from ..world_model.longvie2.framewise_vae import decode_chunks
from ..world_model.longvie2.vae import denormalise
from .latents import SceneLatents, recolour
from .muon import Muon
from .rollout import Rollout
from .run import Run, Schedule, step_generator
from .store import SceneStore
from .vae import band_error, to_model_range

__all__ = ["DecoderConfig", "contrast_error", "train_decoder"]

_PSNR_WEIGHT: Final = 0.2
_LEAST_SQUARE: Final = 1e-3
"""What no piece is better than, of a square of 2: 36 dB."""
_CONTRAST_LEVELS: Final = 1
_LEAST_CONTRAST: Final = 0.03
"""Of what may be called detail, in -1..1: a bare sky has none that could be lacking."""
_CONTRAST_WINDOW: Final = 8


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """One training of the decoder.

    Args:
        scenes, latents: the store, and its scenes encoded.
        rollouts: the folder of rollouts of these scenes, or None.
        folder: of the run.
        rollout_share: of the pieces whose latents a denoiser made, where there are rollouts.
        long_crop: latent rows and columns of pieces that last the whole clip.
        short_frames: latent frames of pieces that show the whole picture, from a clip's first on.
        noise: deviation of what is added to the (normalised) true latents: a denoiser's are never quite right.
        sharpness, contrast: weights of the loss's second and third part.
    """

    scenes: Path
    latents: Path
    folder: Path
    rollouts: Path | None = None
    steps: int = 4000
    rollout_share: float = 0.75
    long_crop: tuple[int, int] = (3, 4)
    short_frames: int = 5
    learning_rate: float = 6e-3
    sharpness: float = 0.1
    contrast: float = 1.2
    noise: float = 0.1
    seed: int = 3
    check_every: int = 50


def train_decoder(config: DecoderConfig, vae: AutoencoderKLWan) -> Run:
    """Train the decoder in place, resuming the folder's run; the run's `ema` holds the VAE to keep.

    Args:
        config: see there.
        vae: trained, with its latents' mean and deviation in its config.
    """
    pieces = _Pieces(config, vae.config.scale_factor_spatial)
    vae.requires_grad_(False)
    for part in (vae.decoder, vae.post_quant_conv):
        part.requires_grad_(True)
    optimizer = Muon((p for p in vae.parameters() if p.requires_grad), lr=config.learning_rate)
    run = Run(config.folder, vae, optimizer, Schedule(config.learning_rate, config.steps, warmup=20), ema_decay=0.98)
    figures: list[tuple[float, float]] = []
    for step in run.steps("training the decoder"):
        generator = step_generator(config.seed, step, run.rank)
        latents, video = (tensor.to(vae.device) for tensor in pieces.draw(generator))
        raw = denormalise(vae, latents)
        out = torch.cat(list(decode_chunks(vae, raw, chunk=raw.shape[2])), dim=2).transpose(1, 2).flatten(0, 1)
        truth = video.transpose(1, 2).flatten(0, 1)
        error = out - truth
        square = error.square().mean()
        loss = (
            _PSNR_WEIGHT * (square + _LEAST_SQUARE).log()
            + config.sharpness * band_error(error)
            + config.contrast * contrast_error(out, truth)
        )
        run.backward(loss)
        figures.append((square.item(), _energy(out) / _energy(truth)))
        if run.step % config.check_every == 0 or run.step == config.steps:
            run.save()
            mean, energy = np.mean(figures, axis=0)
            run.log(psnr=float(10 * np.log10(4 / mean)), gradient_energy=float(energy), rate=run.schedule.at(step))
            figures.clear()
    return run


def contrast_error(out: Tensor, truth: Tensor) -> Tensor:
    """Return how far local contrasts are apart, band by band, as a share of the truth's: 0 where only phases differ.

    Args:
        out, truth: (n, c, h, w).
    """
    total = out.new_zeros(())
    for _ in range(_CONTRAST_LEVELS):
        contrasts = []
        coarse = [F.avg_pool2d(picture, 2) for picture in (out, truth)]
        for picture, low in zip((out, truth), coarse, strict=True):
            band = picture - F.interpolate(low, scale_factor=2.0, mode="nearest")
            power = F.avg_pool2d(band.square(), _CONTRAST_WINDOW, stride=_CONTRAST_WINDOW // 2)
            contrasts.append((power + 1e-4).sqrt())
        total = total + (contrasts[0] - contrasts[1]).abs().mean() / (contrasts[1].mean() + _LEAST_CONTRAST)
        out, truth = coarse
    return total


class _Pieces:
    """Latents and the video that they should show."""

    def __init__(self, config: DecoderConfig, scale: int) -> None:
        self.config = config
        self.scale = scale
        self.store = SceneStore(config.scenes)
        self.scenes = [SceneLatents.load(path) for path in sorted(config.latents.glob("*.safetensors"))]
        made = [] if config.rollouts is None else sorted(config.rollouts.glob("*.safetensors"))
        self.rollouts = [Rollout.load(path) for path in made]
        self._pictures: dict[str, NDArray[np.uint8]] = {}

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return latents, (1, z, t, h, w), and video, (1, 3, 4t - 3, height, width): long and narrow, or whole."""
        config = self.config
        if self.rollouts and float(torch.rand((), generator=generator)) < config.rollout_share:
            rollout = self.rollouts[_draw(generator, len(self.rollouts))]
            number = _draw(generator, len(rollout.latents))
            name, latents = rollout.name, rollout.latents[number].float()
        else:
            scene = self.scenes[_draw(generator, len(self.scenes))]
            number = _draw(generator, len(scene.clips))
            name, latents = scene.name, scene.clips[number].truth.float()
            latents = latents + config.noise * torch.randn(latents.shape, generator=generator)
        _, frames, rows, columns = latents.shape
        row = column = 0
        if float(torch.rand((), generator=generator)) < 0.6:
            height, width = min(config.long_crop[0], rows), min(config.long_crop[1], columns)
            row, column = _draw(generator, rows - height + 1), _draw(generator, columns - width + 1)
            rows, columns = height, width
        else:
            frames = config.short_frames
        scale = self.scale
        video = self._clip(name, number)[
            : 4 * frames - 3, scale * row : scale * (row + rows), scale * column : scale * (column + columns)
        ]
        return latents[None, :, :frames, row : row + rows, column : column + columns], to_model_range(video)

    def _clip(self, name: str, number: int) -> NDArray[np.uint8]:
        if name not in self._pictures:
            self._pictures[name] = recolour(self.store.load(name))
        return self._pictures[name][number * CLIP_STRIDE : number * CLIP_STRIDE + CLIP_TICKS]


def _energy(pictures: Tensor) -> float:
    across, down = pictures.detach().diff(dim=3), pictures.detach().diff(dim=2)
    return float(across.square().mean() + down.square().mean())


def _draw(generator: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=generator))
