"""What a stage's loss asks for: the flow, and in a clip that begins with a spoilt frame a way out of it.

Source: LongVie 2, section 3.3. A spoilt first frame is what a session looks like after minutes. The clip's first latent
frame should begin where that frame is (its colours, its low frequencies) and sharpen towards the truth, which later
latent frames are asked for in full. All terms compare flows, start minus latents, of the first latent frame.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from ..flow import NoisyClip

__all__ = ["flow_error", "low_pass", "timestep_weight"]

FIRST_WEIGHTS: Final = (0.05, 0.325, 0.757)
"""Of the first latent frames of a clip whose first frame is spoilt; 1 from there on."""
LOW_WEIGHT: Final = 0.2
HIGH_WEIGHT: Final = 0.15
LAST_WEIGHT: Final = 0.5
_GRID: Final = 1000


def flow_error(predicted: Tensor, noisy: NoisyClip, weight: Tensor, *, image: Tensor | None, history: bool) -> Tensor:
    """Return the loss of a batch.

    Args:
        predicted: (batch, z, frames, h, w), the flow.
        noisy: the point that it was predicted at.
        weight: (batch,), of each clip.
        image: (batch, z, 1, h, w), latents of the spoilt first frame as the model was given it; None where it is true.
        history: there is one; its last frame is the first frame.
    """
    per_frame = (predicted.float() - noisy.flow).square().mean(dim=(1, 3, 4))
    if image is not None:
        frames = per_frame.shape[1]
        weights = per_frame.new_tensor([*FIRST_WEIGHTS, *[1.0] * frames][:frames])
        per_frame = per_frame * weights
    error = per_frame.mean(dim=1)
    if image is not None:
        error = error + _way_out(predicted[:, :, :1].float(), noisy, image, history=history)
    return (weight * error).mean()


def _way_out(first: Tensor, noisy: NoisyClip, image: Tensor, *, history: bool) -> Tensor:
    """The further terms of a spoilt first frame, (batch,)."""
    true_flow = noisy.flow[:, :, :1]
    # The start is what flow and truth were made of: flow = start - truth.
    start = noisy.start[:, :, :1]
    given_flow = start - image

    def apart(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean(dim=(1, 2, 3, 4))

    low, high = low_pass(first), first - low_pass(first)
    terms = LOW_WEIGHT * apart(low, low_pass(given_flow))
    terms = terms + HIGH_WEIGHT * apart(high, true_flow - low_pass(true_flow))
    return terms + LAST_WEIGHT * apart(first, given_flow) if history else terms


def low_pass(latents: Tensor) -> Tensor:
    """Return latents, (batch, z, frames, h, w), halved in space and doubled again, trilinearly."""
    frames, h, w = latents.shape[2:]
    small = F.interpolate(latents, size=(frames, max(1, h // 2), max(1, w // 2)), mode="trilinear")
    return F.interpolate(small, size=(frames, h, w), mode="trilinear")


def timestep_weight(sigma: Tensor, *, shift: float) -> Tensor:
    """Return how much a noise level counts, (batch,): a bell around one half, nothing at the ends, 1 on the average.

    Args:
        sigma: (batch,).
        shift: of the levels that are drawn, which the average is over.
    """
    uniform = torch.linspace(0, 1, _GRID + 1)[1:]
    grid = shift * uniform / (1 + (shift - 1) * uniform)
    return _bell(sigma) / _bell(grid).mean().to(sigma)


def _bell(sigma: Tensor) -> Tensor:
    ends = torch.exp(torch.tensor(-0.5))
    return torch.exp(-2 * (sigma - 0.5).square()) - ends.to(sigma)
