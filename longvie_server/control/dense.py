"""The dense control video: depth as 8-bit grey, near is black and far is white.

Grey is linear in disparity (1 / z) between the two ends of one `DepthRange`, which holds for the whole video, never
for one clip. Beyond the ends grey saturates. Frames are worked on one by one, so that they stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bridge.tick import CLIP_STRIDE, CLIP_TICKS, DepthRange

from .percentiles import percentiles

__all__ = [
    "DisparityScale",
    "disparity_from_depth",
    "encode_dense",
    "encode_disparity",
    "measure_depth_range",
    "measured_frames",
    "saturated_fraction",
]

_MID_GREY: Final = 127
_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class DisparityScale:
    """A depth range as the encoder uses it: `far` becomes white and `near` black, both in 1 / m, rounded to float32."""

    far: np.float32
    near: np.float32

    @classmethod
    def from_depth_range(cls, depth_range: DepthRange) -> DisparityScale:
        """Return the scale of a range in metres; an infinite end is disparity 0."""
        far, near = (np.float32(min(1.0 / end_m, _LARGEST)) for end_m in (depth_range.far_m, depth_range.near_m))
        return cls(far=far, near=near)


def measured_frames(count: int) -> int:
    """Return how many frames of a video of `count` frames enter its depth range: those of its whole clips.

    That is what the training data was normalised by. A video shorter than one clip is measured in full.
    """
    return count if count < CLIP_TICKS else 1 + CLIP_STRIDE * ((count - 1) // CLIP_STRIDE)


def disparity_from_depth(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / z, float32, 1 / m, of the same shape: 0 where depth is inf, inf where it is 0."""
    with np.errstate(divide="ignore", over="ignore"):
        # The absolute value turns -0.0, which is no other depth than 0.0, away from minus infinity.
        return np.reciprocal(np.abs(depth_m, dtype=np.float32))


def measure_depth_range(depth_m: Iterable[NDArray[np.float32]]) -> DepthRange:
    """Return the range from the 95th to the 5th percentile of disparity over all pixels of all frames.

    Args:
        depth_m: (frames, height, width) float32, planar metres, inf where nothing was hit; or anything else that gives
            its frames each time it is iterated over (twice), so that a recording need not fit in memory.

    Returns:
        near_m is 1 / p95 and far_m is 1 / p5: inf where p5 is 0. Both are inf where nearly nothing was hit.
    """
    p5, p95 = percentiles(_Disparities(depth_m), (5.0, 95.0))
    return DepthRange(near_m=1.0 / p95 if p95 > 0 else np.inf, far_m=1.0 / p5 if p5 > 0 else np.inf)


@dataclass(frozen=True, slots=True)
class _Disparities:
    """Frames of depth, seen as disparity each time they are gone through."""

    depth_m: Iterable[NDArray[np.float32]]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (disparity_from_depth(frame) for frame in self.depth_m)


def encode_dense(depth_m: NDArray[np.float32], depth_range: DepthRange) -> NDArray[np.uint8]:
    """Return grey, uint8, of the same shape as depth.

    Args:
        depth_m: (frames, ...) float32, planar metres, inf where nothing was hit; no NaN.
        depth_range: its ends become black and white. A range of zero gives mid-grey (127) everywhere.
    """
    scale = DisparityScale.from_depth_range(depth_range)
    grey = np.empty(depth_m.shape, dtype=np.uint8)
    for frame_grey, frame_m in zip(grey, depth_m, strict=True):
        frame_grey[...] = encode_disparity(disparity_from_depth(frame_m), scale)
    return grey


def encode_disparity(disparity: NDArray[np.float32], scale: DisparityScale) -> NDArray[np.uint8]:
    """Return grey, uint8, of disparity, float32 of any shape: (near - d) / (near - far) x 255, truncated."""
    span = scale.near - scale.far
    if span <= 0:
        return np.full(disparity.shape, _MID_GREY, dtype=np.uint8)
    grey = np.clip(disparity, scale.far, scale.near)
    np.subtract(scale.near, grey, out=grey)
    # Division first, then times 255, in float32: another order would truncate some pixels to a neighbouring grey.
    np.divide(grey, span, out=grey)
    np.multiply(grey, np.float32(255.0), out=grey)
    return grey.astype(np.uint8)


def saturated_fraction(depth_m: NDArray[np.float32], depth_range: DepthRange) -> float:
    """Return the share, 0..1, of pixels nearer or farther than the range. A range as measured leaves up to 0.1."""
    scale = DisparityScale.from_depth_range(depth_range)
    outside = 0
    for frame_m in depth_m:
        disparity = disparity_from_depth(frame_m)
        outside += int(np.count_nonzero(disparity < scale.far)) + int(np.count_nonzero(disparity > scale.near))
    return outside / depth_m.size
