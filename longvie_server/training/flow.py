"""Flow matching as the sampler runs it: what a noisy clip is, and how wrong a predicted flow is.

x(sigma) = (1 - sigma) * truth + sigma * start, flow = start - truth. `start` is the unified noise, its first latent
frame mixed with the history's last one where there is history: the very tensor from which the sampler sets out, so
that every point trained on lies on a path that it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ..world_model.longvie2.sampler import mix_first_latent

__all__ = ["NoisyClip", "draw_sigma", "flow_loss", "make_noisy"]

_LEAST_SQUARE: Final = 1e-2
"""What no clip is better than; a flow's mean square is about 2."""


@dataclass(frozen=True, slots=True, eq=False)
class NoisyClip:
    """A point on the path.

    Args:
        latents: (batch, z, frames, h, w) at `sigma`.
        flow: the same shape, what is to be predicted.
        sigma: (batch,).
    """

    latents: Tensor
    flow: Tensor
    sigma: Tensor

    @property
    def start(self) -> Tensor:
        """The pure noise that the path begins at, of the same shape."""
        return self.latents + (1 - self.sigma[:, None, None, None, None]) * self.flow


def draw_sigma(count: int, *, shift: float, pure_share: float, generator: torch.Generator) -> Tensor:
    """Return noise levels, (count,): shifted as the sampler's are, and pure noise more often than chance has it.

    With few steps, most of a picture is decided at the first one, which starts from pure noise.
    """
    uniform = torch.rand(count, generator=generator)
    sigma = shift * uniform / (1 + (shift - 1) * uniform)
    pure = torch.rand(count, generator=generator) < pure_share
    return torch.where(pure, torch.ones_like(sigma), sigma.clamp(min=0.02))


def make_noisy(truth: Tensor, history: Tensor | None, sigma: Tensor, generator: torch.Generator) -> NoisyClip:
    """Return a point on the path of a clip, (batch, z, frames, h, w), with its history, (batch, z, n, h, w)."""
    start = mix_first_latent(torch.randn(truth.shape, generator=generator).to(truth.device), history)
    level = sigma[:, None, None, None, None]
    return NoisyClip((1 - level) * truth + level * start, start - truth, sigma)


def flow_loss(predicted: Tensor, noisy: NoisyClip, metric: Tensor) -> Tensor:
    """Return the mean logarithm of each clip's square error, in the (z, z) metric of what latents move in the picture.

    The logarithm lets a clip count by its decibels; without it the few hopeless ones are most of every step.
    """
    error = (predicted - noisy.flow).transpose(1, -1)
    square = ((error @ metric) * error).flatten(1).mean(dim=1)
    return (square + _LEAST_SQUARE).log().mean()
