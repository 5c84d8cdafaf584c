"""Videos as tensors, and how far apart pictures are, band by band."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["band_error", "to_model_range"]

_PYRAMID_LEVELS: Final = 3


def to_model_range(video: NDArray[np.uint8]) -> Tensor:
    """Return (1, 3, frames, height, width) float32 in -1..1 of (frames, height, width[, 3]) uint8."""
    pixels = torch.from_numpy(np.array(video)).to(torch.float32) / 127.5 - 1.0
    if pixels.ndim == 3:
        pixels = pixels[..., None].expand(-1, -1, -1, 3)
    return pixels.permute(3, 0, 1, 2)[None].contiguous()


def band_error(error: Tensor) -> Tensor:
    """The mean absolute value of every band of a Laplacian pyramid of an error, (n, c, h, w)."""
    total = error.new_zeros(())
    for _ in range(_PYRAMID_LEVELS):
        coarse = F.avg_pool2d(error, 2)
        total = total + (error - F.interpolate(coarse, scale_factor=2.0, mode="nearest")).abs().mean()
        error = coarse
    return total + error.abs().mean()
