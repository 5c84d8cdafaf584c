"""What a timestep is to the network: waves that it can read, and a flow at that moment where it says clean latents.

In: timesteps, 1000 * sigma. Out: the time embedding's input; flows. Law: nothing here has weights.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["SinusoidalTimesteps", "flow_of_clean"]

_LEAST_SIGMA: Final = 0.05
"""What a flow is divided by at least."""


class SinusoidalTimesteps(nn.Module):
    """Cosines, then sines, of a timestep.

    The angles are float64, as the weights were trained; float32 angles are off by 3e-5 at timestep 1000.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, timestep: Tensor) -> Tensor:
        """Return (batch, channels) float32 of (batch,)."""
        wide = torch.float32 if timestep.device.type == "mps" else torch.float64
        half = self.channels // 2
        powers = torch.arange(half, dtype=wide, device=timestep.device) / half
        angles = timestep.to(wide)[:, None] * torch.pow(10000.0, -powers)[None]
        return torch.cat([angles.cos(), angles.sin()], dim=1).float()


def flow_of_clean(clean: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
    """Return the flow from clean latents, (batch, z, frames, h, w), through noisy ones at sigma = timestep / 1000.

    Args:
        clean: as predicted.
        noisy: the same places, `z` or more channels, latents first.
        timestep: (batch,).
    """
    sigma = (timestep / 1000).clamp(min=_LEAST_SIGMA).view(-1, 1, 1, 1, 1).to(clean.dtype)
    return (noisy[:, : clean.shape[1]] - clean) / sigma
