"""Pieces of pictures that a training looks at, and how wrong they are.

In: rendered scenes; latents. Out: the piece of video that latents should decode to, what they do decode to, and a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bridge.tick import CLIP_STRIDE, CLIP_TICKS

from ..world_model.longvie2.vae import VideoVae, decode_chunks, denormalise, to_video
from .scenes import TrainingScene

__all__ = ["Pictures", "Window", "band_error", "contrast_error", "decode_pictures", "measure", "picture_loss"]

_Pixel = TypeVar("_Pixel", bound=np.generic)
_LONG_SHARE: Final = 0.6
_PYRAMID_LEVELS: Final = 3
_PSNR_WEIGHT: Final = 0.2
_LEAST_SQUARE: Final = 1e-3
"""What no piece is better than, of a square of 2: 36 dB."""
_LEAST_ENERGY: Final = 1e-3
"""Of what may be called detail, in -1..1: a bare sky has none that could be lacking."""
_CONTRAST_WINDOW: Final = 8


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a clip, from its first frame on, in latent frames, rows and columns."""

    frames: int
    row: int
    rows: int
    column: int
    columns: int

    @classmethod
    def draw(
        cls, shape: Sequence[int], long_crop: tuple[int, int], short_frames: int, generator: torch.Generator
    ) -> Window:
        """Return a window of latents of `shape`, (frames, rows, columns): all frames of a crop, or the first of all."""
        frames, rows, columns = shape
        if float(torch.rand((), generator=generator)) >= _LONG_SHARE:
            return cls(min(short_frames, frames), 0, rows, 0, columns)
        height, width = min(long_crop[0], rows), min(long_crop[1], columns)
        row = int(torch.randint(rows - height + 1, (), generator=generator))
        column = int(torch.randint(columns - width + 1, (), generator=generator))
        return cls(frames, row, height, column, width)

    def of_latents(self, latents: Tensor) -> Tensor:
        """Return the piece of (batch, z, frames, h, w)."""
        return latents[:, :, : self.frames, self.row : self.row + self.rows, self.column : self.column + self.columns]

    def of_video(self, video: NDArray[_Pixel], scale: int) -> NDArray[_Pixel]:
        """Return the piece of (time, height, width, ...), `scale` pixels per latent."""
        rows = slice(scale * self.row, scale * (self.row + self.rows))
        columns = slice(scale * self.column, scale * (self.column + self.columns))
        return video[: 4 * self.frames - 3, rows, columns]


class Pictures:
    """The pictures that scenes were encoded from, kept in memory once seen."""

    def __init__(self, scenes: Path, scale: int) -> None:
        self.scenes = scenes
        self.scale = scale
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def seen(self, name: str, number: int, window: Window) -> Tensor:
        """Return a piece of a scene's clip, (1, 3, time, height, width) in -1..1."""
        clip = self.frames(name)[number * CLIP_STRIDE : number * CLIP_STRIDE + CLIP_TICKS]
        return to_video(window.of_video(clip, self.scale))

    def frames(self, name: str) -> NDArray[np.uint8]:
        """Return a scene's frames as the denoiser sees them, (time, height, width, 3)."""
        if name not in self._kept:
            self._kept[name] = TrainingScene(self.scenes, name).frames()
        return self._kept[name]


def decode_pictures(vae: VideoVae, latents: Tensor, *, hint: Tensor | None = None) -> Tensor:
    """Return the pictures of normalised latents, (1, z, frames, h, w), as (time, 3, height, width), unclipped."""
    raw = denormalise(vae, latents)
    return torch.cat(list(decode_chunks(vae, raw, raw.shape[2], hint=hint)), dim=2).transpose(1, 2).flatten(0, 1)


def picture_loss(out: Tensor, truth: Tensor, *, sharpness: float, contrast: float) -> Tensor:
    """Return how wrong pictures are: their error, its bands, and the contrast that they lack.

    The logarithm of the squared error lets a piece count by its decibels, so that a hopeless one does not drown the
    others. Contrast is asked for because where a denoiser is unsure, its latents are an average and decode to blur,
    which the error alone likes best and the eye does not.

    Args:
        out, truth: (n, 3, height, width) in -1..1.
        sharpness: weight of the bands' error.
        contrast: weight of `contrast_error`.
    """
    error = out - truth
    return (
        _PSNR_WEIGHT * (error.square().mean() + _LEAST_SQUARE).log()
        + sharpness * band_error(error)
        + contrast * contrast_error(out, truth)
    )


def band_error(error: Tensor) -> Tensor:
    """The mean absolute value of every band of a Laplacian pyramid of an error, (n, c, h, w)."""
    total = error.new_zeros(())
    for _ in range(_PYRAMID_LEVELS):
        coarse = F.avg_pool2d(error, 2)
        total = total + (error - F.interpolate(coarse, scale_factor=2.0, mode="nearest")).abs().mean()
        error = coarse
    return total + error.abs().mean()


def contrast_error(out: Tensor, truth: Tensor) -> Tensor:
    """Return how far the energies of the finest band are apart, place by place, as a share of the truth's.

    Energies and not their roots: what lacks contrast is then sharpened where the truth has most of it, at edges. Roots
    ask for as much of it everywhere, and what a network invents for smooth places is a weave that stands still.

    Args:
        out, truth: (n, c, h, w).
    """
    energies = []
    for picture in (out, truth):
        band = picture - F.interpolate(F.avg_pool2d(picture, 2), scale_factor=2.0, mode="nearest")
        energies.append(F.avg_pool2d(band.square(), _CONTRAST_WINDOW, stride=_CONTRAST_WINDOW // 2))
    return (energies[0] - energies[1]).abs().mean() / (energies[1].mean() + _LEAST_ENERGY)


def measure(out: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return the mean square error, and the gradient energy as a share of the truth's."""
    with torch.no_grad():
        return float((out - truth).square().mean()), _energy(out) / _energy(truth)


def _energy(pictures: Tensor) -> float:
    across, down = pictures.diff(dim=3), pictures.diff(dim=2)
    return float(across.square().mean() + down.square().mean())
