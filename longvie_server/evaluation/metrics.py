"""How close generated frames are to the truth, and what they look like by themselves.

All take uint8 video, (frames, height, width, 3) RGB. The errors of a video are pooled before the logarithm, so that a
few perfect frames (the one that was given, say) cannot lift a whole clip. Frames are worked on a few at a time, so that
a clip at full size costs little more memory than its own bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bridge.errors import ShapeMismatch

__all__ = ["colour_drift", "gradient_energy", "luma_energy", "mean_colour", "psnr", "saturation", "ssim"]

PSNR_CEILING_DB: Final = 99.0
"""What two equal videos get, so that averages stay finite."""
_WINDOW: Final = 11
_SIGMA_PX: Final = 1.5
_C1: Final = 0.01**2
_C2: Final = 0.03**2
_AT_ONCE: Final = 16
_LUMA: Final = (0.299, 0.587, 0.114)


def psnr(video: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio over all pixels of the video, dB.

    Raises:
        ShapeMismatch: the two are not uint8 videos of one shape.
    """
    _check(video, truth)
    pairs = zip(video, truth, strict=True)
    error = _mean(np.square(a.astype(np.float32) - b.astype(np.float32)).mean(dtype=np.float64) for a, b in pairs)
    return PSNR_CEILING_DB if error == 0 else min(PSNR_CEILING_DB, 10.0 * math.log10(255.0**2 / error))


def ssim(video: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return the mean structural similarity of Wang et al. 2004: 11 x 11 Gaussian window, sigma 1.5, per channel.

    Raises:
        ShapeMismatch: the two are not uint8 videos of one shape, or smaller than the window.
    """
    _check(video, truth)
    if min(video.shape[1:3]) < _WINDOW:
        raise ShapeMismatch(
            f"is smaller than the {_WINDOW} x {_WINDOW} window",
            field="video",
            value=video.shape,
            remedy="Compare larger frames.",
        )
    pieces = [slice(at, at + _AT_ONCE) for at in range(0, len(video), _AT_ONCE)]
    return float(torch.cat([_structure(_planes(video[piece]), _planes(truth[piece])) for piece in pieces]).mean())


def gradient_energy(video: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return the video's gradient energy as a fraction of the truth's: 1 is as sharp, towards 0 is blur.

    The energy is the mean square of the luma's differences to the right and lower neighbour.

    Raises:
        ShapeMismatch: the two are not uint8 videos of one shape.
    """
    _check(video, truth)
    return luma_energy(video) / max(luma_energy(truth), 1e-12)


def colour_drift(video: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return how far the mean colour of the frames is from the truth's, in levels of 255: channels and frames, mean.

    Raises:
        ShapeMismatch: the two are not uint8 videos of one shape.
    """
    _check(video, truth)
    means = [clip.mean(axis=(1, 2), dtype=np.float64) for clip in (video, truth)]
    return float(np.abs(means[0] - means[1]).mean())


def luma_energy(video: NDArray[np.uint8]) -> float:
    """Return the gradient energy itself, squared levels of 255."""
    weights = np.asarray(_LUMA, dtype=np.float32)

    def of(frame: NDArray[np.uint8]) -> float:
        luma = frame.astype(np.float32) @ weights
        across, down = np.diff(luma, axis=1), np.diff(luma, axis=0)
        return float(np.square(across).mean(dtype=np.float64) + np.square(down).mean(dtype=np.float64))

    return _mean(of(frame) for frame in video)


def mean_colour(video: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return the mean red, green and blue, levels of 255."""
    red, green, blue = video.mean(axis=(0, 1, 2), dtype=np.float64)
    return float(red), float(green), float(blue)


def saturation(video: NDArray[np.uint8]) -> float:
    """Return the mean distance of a pixel's largest channel from its smallest, levels of 255: 0 is grey."""
    return _mean((frame.max(axis=2) - frame.min(axis=2)).mean(dtype=np.float64) for frame in video)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _structure(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the similarity of each of two sets of planes, (n,)."""
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a * mean_a
    var_b = _blur(b * b) - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    score = ((2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)) / (
        (mean_a * mean_a + mean_b * mean_b + _C1) * (var_a + var_b + _C2)
    )
    return score.mean(dim=(1, 2, 3))


def _planes(video: NDArray[np.uint8]) -> torch.Tensor:
    """Return (frames * 3, 1, height, width) float32 in 0..1."""
    planes = torch.from_numpy(np.ascontiguousarray(video.transpose(0, 3, 1, 2))).to(torch.float32) / 255.0
    return planes.flatten(0, 1)[:, None]


def _blur(planes: torch.Tensor) -> torch.Tensor:
    """Return the Gaussian mean of every whole window: (n, 1, height - 10, width - 10)."""
    offsets = torch.arange(_WINDOW, dtype=torch.float32) - _WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * _SIGMA_PX**2))
    kernel = kernel / kernel.sum()
    return F.conv2d(F.conv2d(planes, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def _check(video: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
    for name, array in (("video", video), ("truth", truth)):
        if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or array.shape != truth.shape:
            raise ShapeMismatch(
                "must be (frames, height, width, 3) uint8, both of one shape",
                field=name,
                value=f"{array.shape} {array.dtype}",
                remedy="Compare the frames of the same ticks at the same size.",
            )
