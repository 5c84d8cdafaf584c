"""Measuring the code of a `BlockAutoencoder`: which 96 numbers say most about a block of pixels.

In: rendered scenes. Out: the two matrices of its encoder, and the matrices of its decoder that read them back, both the
best that linear ones can be. What the decoder draws on top of that is trained last (`decoder.py`).
The dense control counts with the pictures: its edges are where things end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from ..world_model.longvie2.block_vae import TIME_FACTOR, BlockAutoencoder, to_blocks
from ..world_model.longvie2.vae import to_video
from .scenes import TrainingScene

__all__ = ["measure_code"]

_DENSE_WEIGHT: Final = 0.25
_FIRST_FRAMES: Final = slice(0, None, 40)
"""Of a clip: any frame may be a first one."""
_STATIC_SHARE: Final = 0.5
"""From here on a direction of four frames counts as one of pictures that stand still."""


@torch.no_grad()
def measure_code(vae: BlockAutoencoder, scenes: Sequence[TrainingScene]) -> None:
    """Set the VAE's linear code to the principal directions of these scenes' blocks.

    A first frame's latent is what four such frames would have, but for the directions that only motion moves: these
    stand for its finest details instead, which four frames share too few numbers for.
    """
    block, z = vae.config.scale_factor_spatial, vae.config.z_dim
    four, one = _Moments(), _Moments()
    for scene in scenes:
        for video, weight in ((scene.clip(0), 1.0), (scene.controls(0).dense, _DENSE_WEIGHT)):
            pixels = to_video(video)
            four.add(to_blocks(pixels[:, :, 1:], block, TIME_FACTOR), weight)
            one.add(to_blocks(pixels[:, :, _FIRST_FRAMES], block, 1), weight)
    variances, directions = _principal(four.covariance(), z)
    _set_code(vae.encoder.rest, vae.decoder.rest, directions.T, four)
    still = directions.T.unflatten(1, (TIME_FACTOR, -1)).sum(1)
    kept = still.square().sum(1) / TIME_FACTOR >= _STATIC_SHARE
    rows = still.clone()
    rows[~kept] = _details(one.covariance(), still[kept], variances[~kept])
    _set_code(vae.encoder.first, vae.decoder.first, rows, one)
    mean, std = _statistics(vae, scenes)
    vae.register_to_config(latents_mean=mean, latents_std=std)


class _Moments:
    """Weighted mean and covariance of vectors, as they come."""

    def __init__(self) -> None:
        self.count = 0.0
        self.total: Tensor | float = 0.0
        self.products: Tensor | float = 0.0

    def add(self, vectors: Tensor, weight: float) -> None:
        flat = vectors.flatten(0, -2)
        self.count += weight * len(flat)
        self.total = self.total + weight * flat.sum(0)
        self.products = self.products + weight * (flat.T @ flat)

    def mean(self) -> Tensor:
        return torch.as_tensor(self.total / self.count)

    def covariance(self) -> Tensor:
        mean = self.mean()
        return torch.as_tensor(self.products / self.count) - torch.outer(mean, mean)


def _principal(covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest variances, (count,), and their directions, (n, count), largest first."""
    variances, directions = torch.linalg.eigh(covariance)
    return variances.flip(0)[:count], directions.flip(1)[:, :count]


def _details(covariance: Tensor, kept: Tensor, variances: Tensor) -> Tensor:
    """What says most beside the `kept` rows, (k, n): one row per variance, scaled to have it."""
    span = torch.linalg.qr(kept.T).Q
    beside = torch.eye(len(covariance)) - span @ span.T
    own, directions = _principal(beside @ covariance @ beside, len(variances))
    return (directions * (variances / own.clamp(min=1e-9)).sqrt()).T


def _set_code(encoder: torch.nn.Linear, decoder: torch.nn.Linear, rows: Tensor, moments: _Moments) -> None:
    """Code x as rows (x - mean); read it back as linearly as can be, in the mean square."""
    mean, covariance = moments.mean(), moments.covariance()
    encoder.weight.copy_(rows)
    encoder.bias.copy_(-rows @ mean)
    back = torch.linalg.solve(rows @ covariance @ rows.T, rows @ covariance).T
    decoder.weight.copy_(back)
    decoder.bias.copy_(mean)


def _statistics(vae: BlockAutoencoder, scenes: Sequence[TrainingScene]) -> tuple[list[float], list[float]]:
    """The mean and the standard deviation of each latent channel over the pictures of these scenes."""
    parts = [vae.encode_mean(to_video(scene.clip(0))) for scene in scenes]
    values = torch.cat([p.transpose(0, 1).flatten(1) for p in parts], dim=1)
    return values.mean(1).tolist(), values.std(1).tolist()
