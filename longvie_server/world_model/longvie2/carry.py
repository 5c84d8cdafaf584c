"""A clip's first frame, carried along by the points that were followed from it.

In: one frame, and where its points are seen later. Out: a video that shows of the first frame what the points take
with them, colours of the neighbourhood in between, and how much of each place is known. Wan's condition is "the first
frame, then zeros"; this is what a small model sees instead of the zeros: `docs/decisions/0011`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.errors import ShapeMismatch

__all__ = ["CarriedFrame", "carry"]

_GRID_SIDE: Final = 50
_REACHES: Final = (((0.3, 0.45), 1.0), ((0.6, 0.9), 0.1), ((1.2, 1.8), 0.03))
"""Deviations of a point's weight across and down, of the distance between two points on the first frame, and how much
each counts: the wide ones where things are nearer than they were, and points far apart."""
_LEAST_WEIGHT: Final = 0.008
"""Of the weight on the first frame: with less, no point is near enough."""
_NOTHING: Final = 127
"""Where no point is seen in the whole frame."""
_SETTLED: Final = 0.125
"""Share of known pixels from which a coarse one has their colour, and no more that of the coarser ones around it."""


@dataclass(frozen=True, slots=True, eq=False)
class CarriedFrame:
    """What is known of a clip's frames before it is made.

    Args:
        video: (frames, height, width, 3) uint8; its first frame is the clip's.
        known: (frames, height, width) bool, where a point has brought the colour.
    """

    video: NDArray[np.uint8]
    known: NDArray[np.bool_]


def carry(image: NDArray[np.uint8], points: NDArray[np.float32]) -> CarriedFrame:
    """Carry a first frame along.

    Every pixel looks back by the mean displacement of the points around it. Bytes depend on the arguments alone, not on
    threads.

    Args:
        image: (height, width, 3) uint8, the clip's first frame.
        points: (frames, points, 2) float32, normalised image coordinates, NaN where a point is not seen. Their order is
            free: what counts is where each is on the first frame. One that is not seen there says nothing.

    Raises:
        ShapeMismatch: the image or the points have another shape.
    """
    if points.ndim != 3 or points.shape[2] != 2 or image.ndim != 3 or image.shape[2] != 3:
        raise ShapeMismatch(
            "must be (frames, points, 2), and the image (height, width, 3)",
            field="points, image",
            value=f"{points.shape}, {image.shape}",
            remedy="Pass the points of a whole clip and its first frame.",
        )
    height, width = image.shape[:2]
    at = points * np.array([width, height], np.float32)
    video = np.empty((len(points), height, width, 3), np.uint8)
    known = np.zeros((len(points), height, width), np.bool_)
    video[0], known[0] = image, True
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    for frame in range(1, len(points)):
        back, near = _looking_back(at[frame], at[0] - at[frame], height, width)
        seen = cv2.remap(
            image, columns + back[:, :, 0], rows + back[:, :, 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        video[frame], known[frame] = _filled(seen, near), near
    return CarriedFrame(video, known)


def _looking_back(
    at: NDArray[np.float32], back: NDArray[np.float32], height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return how far every pixel looks back, (height, width, 2) pixels, and whether a point is near enough to say so.

    A mean of points that lie to one side is a little off. What it is off by at the points is averaged and added.

    Args:
        at: (points, 2) pixels, where they are.
        back: (points, 2) pixels, from there to where they were; NaN where one is not seen.
        height, width: of the picture, pixels.
    """
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(back).all(axis=1) & (at >= 0).all(axis=1) & (at < [width, height]).all(axis=1)
    # A pixel's value stands at its centre.
    place, moved = at[inside] - np.float32(0.5), back[inside]
    weight, total = _spread(place, moved, height, width)
    mean = total / weight
    if len(place):
        there = cv2.remap(mean, place[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        mean += _spread(place, moved - there, height, width)[1] / weight
    return mean, weight[:, :, 0] > _LEAST_WEIGHT * _GRID_SIDE**2 / (height * width)


def _spread(
    place: NDArray[np.float32], values: NDArray[np.float32], height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the points' weight around every pixel, (height, width, 1), and their values by weight, (..., 2)."""
    corner = np.floor(place)
    share = place - corner
    sums = np.zeros((3, height * width))
    for dy in (0, 1):
        for dx in (0, 1):
            x = np.clip(corner[:, 0] + dx, 0, width - 1).astype(np.int64)
            y = np.clip(corner[:, 1] + dy, 0, height - 1).astype(np.int64)
            part = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
            for sum_, value in zip(sums, (1.0, values[:, 0], values[:, 1]), strict=True):
                sum_ += np.bincount(y * width + x, part * value, minlength=height * width)
    planes = np.ascontiguousarray(sums.reshape(3, height, width).transpose(1, 2, 0), dtype=np.float32)
    total = np.zeros_like(planes)
    for (across, down), counts in _REACHES:
        total += counts * cv2.GaussianBlur(
            planes,
            (0, 0),
            sigmaX=across * width / _GRID_SIDE,
            sigmaY=down * height / _GRID_SIDE,
            borderType=cv2.BORDER_REPLICATE,
        )
    return np.maximum(total[:, :, :1], np.finfo(np.float32).tiny), total[:, :, 1:]


def _filled(image: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return an image, (height, width, 3), whose unknown places have the colours around them, from coarse to fine."""
    share = known.astype(np.float32)
    levels = [(image * share[:, :, None], share)]
    while min(share.shape) > 1:
        size = (-(-share.shape[1] // 2), -(-share.shape[0] // 2))
        colour, share = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in levels[-1])
        levels.append((colour, share))
    fill = np.full((*levels[-1][1].shape, 3), float(_NOTHING), np.float32)
    for colour, share in reversed(levels):
        fill = cv2.resize(fill, share.shape[::-1], interpolation=cv2.INTER_LINEAR)
        own = np.minimum(1, share / _SETTLED)[:, :, None]
        fill = colour / np.maximum(share, np.finfo(np.float32).tiny)[:, :, None] * own + fill * (1 - own)
    return np.clip(np.rint(fill), 0, 255).astype(np.uint8)
