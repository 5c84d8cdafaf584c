"""A clip's first frame, carried along by the points that were followed from it.

In: one frame, where its points are seen later, and a guess at all else. Out: a video that shows of the first frame what
the points take with them, the guess in between, and how much of each place is known. Wan's condition is "the first
frame, then zeros"; this is what a small model sees instead of the zeros: `docs/decisions/0011`, `0015`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bridge.errors import ShapeMismatch

__all__ = ["CarriedFrame", "LookBack", "look_back"]

_GRID_SIDE: Final = 50
_REACH: Final = (0.4, 0.6)
"""Deviation of a point's weight across and down, of the distance between two points on the first frame."""
_FARTHEST: Final = (1.3, 1.8)
"""How far across and down a point is asked: far enough where things come nearer, and points lie apart."""
_LEAST_WEIGHT: Final = 0.01
"""What the weights of the points around have to add up to: with less, none is near enough."""
_SAME_SURFACE: Final = 6.0
"""Deviation of a point's weight over greys of depth: nearer and farther things moved otherwise."""
_HIDDEN: Final = 10.0
"""Greys between the surface that moved here and the one that was seen there: from here on, another one hid it."""
_SETTLED: Final = 0.125
"""Share of known pixels from which a coarse one is as far off the guess as they are, and no more as those around it."""
_FADING: Final = 0.7
"""What is left at half the distance of how far the known pixels are off the guess."""
_RETURN: Final = 0.5
"""Share of what a drawn frame's colours are off the guess that is gone at the clip's end."""
_RETURN_REACH: Final = 1 / 16
"""Deviation, in heights of the picture, of the place over which it is averaged: detail stays."""
_ALIKE: Final = np.exp(-0.5 * np.square(np.arange(256) / _SAME_SURFACE)).astype(np.float32)
"""A point's weight, by how many greys it is nearer or farther than a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class CarriedFrame:
    """What is known of a clip's frames before it is made.

    Args:
        video: (frames, height, width, 3) uint8; its first frame is the clip's.
        known: (frames, height, width) bool, where a point has brought the colour.
    """

    video: NDArray[np.uint8]
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LookBack:
    """Where on a clip's first frame every pixel's surface was seen.

    Args:
        places: (frames, height, width, 2) float32, columns and rows of the first frame, pixel centres whole.
        known: (frames, height, width) bool, whether it was; elsewhere places mean nothing.
    """

    places: NDArray[np.float32]
    known: NDArray[np.bool_]

    def carry(self, image: NDArray[np.uint8], guess: NDArray[np.float32], *, drawn: bool) -> CarriedFrame:
        """Return a first frame as it is carried along.

        Args:
            image: (height, width, 3) uint8.
            guess: (frames, height, width, 3) float32, levels 0..255: what is likely seen where nothing is known. Near
                known places it is shifted by what it was wrong there.
            drawn: whether a model made the first frame. Its colours are no surer than the guess was when they were
                drawn, from farther away mostly; so they go back to the guess, little by little.

        Raises:
            ShapeMismatch: one of them is not of the clip's size.
        """
        if guess.shape != (*self.known.shape, 3):
            raise ShapeMismatch(
                f"must be {(*self.known.shape, 3)}",
                field="guess",
                value=guess.shape,
                remedy="Paint it by the clip's depth.",
            )
        if image.shape != (*self.known.shape[1:], 3):
            raise ShapeMismatch(
                f"must be {(*self.known.shape[1:], 3)}",
                field="image",
                value=image.shape,
                remedy="Pass the clip's first frame.",
            )
        video = np.empty((*self.known.shape, 3), np.uint8)
        video[0] = image
        for frame in range(1, len(video)):
            seen = cv2.remap(image, self.places[frame], None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            if drawn:
                gone = _RETURN * frame / (len(video) - 1)
                seen = _returned(seen, self.known[frame], guess[frame], gone)
            video[frame] = _filled(seen, self.known[frame], guess[frame])
        return CarriedFrame(video, self.known)


def look_back(points: NDArray[np.float32], dense: NDArray[np.uint8]) -> LookBack:
    """Tell where every pixel of a clip was seen at its beginning.

    It looks back by the mean displacement of those points around it that are as far away as it is. What was seen there
    has to be as far away as these points were then: else something stood before them, and nothing is known. Bytes
    depend on the arguments alone, not on threads.

    Args:
        points: (frames, points, 2) float32, normalised image coordinates, NaN where a point is not seen. Their order is
            free: what counts is where each is on the first frame. One that is not seen there says nothing.
        dense: (frames, height, width) uint8, the clip's depth. Of one grey all over, everything is as far away.

    Raises:
        ShapeMismatch: the points or the depth have another shape.
    """
    if dense.ndim != 3 or points.ndim != 3 or points.shape[::2] != (len(dense), 2):
        raise ShapeMismatch(
            "must be (frames, points, 2) and (frames, height, width)",
            field="points, dense",
            value=f"{points.shape}, {dense.shape}",
            remedy="Pass the points and the depth of one clip.",
        )
    height, width = dense.shape[1:]
    at = points * np.array([width, height], np.float32)
    own = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2).astype(np.float32)
    places = np.repeat(own[None], len(dense), axis=0)
    known = np.ones(dense.shape, np.bool_)
    for frame in range(1, len(dense)):
        with np.errstate(invalid="ignore"):
            seen = ((at[[0, frame]] >= 0) & (at[[0, frame]] < [width, height])).all(axis=(0, 2))
        then, now = at[0, seen], at[frame, seen]
        said, near = _mean_around(now, np.column_stack([then - now, _grey_at(dense[0], then)]), dense[frame])
        place = places[frame]
        place += said[:, :, :2]
        there = cv2.remap(dense[0], place, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        inside = ((place > -0.5) & (place < np.array([width, height]) - 0.5)).all(axis=2)
        known[frame] = near & inside & (np.abs(there - said[:, :, 2]) < _HIDDEN)
    return LookBack(places, known)


def _mean_around(
    now: NDArray[np.float32], said: NDArray[np.float32], dense: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return for every pixel the mean of what points around it say, and whether one is near enough to say anything.

    Args:
        now: (points, 2) pixels, where the points are.
        said: (points, values).
        dense: (height, width) uint8: only points of a pixel's own depth count.

    Returns:
        (height, width, values) float32, and (height, width).
    """
    height, width = dense.shape
    columns, beside = _pixels_around(now[:, 0], width, reach=_REACH[0], farthest=_FARTHEST[0])
    rows, above = _pixels_around(now[:, 1], height, reach=_REACH[1], farthest=_FARTHEST[1])
    pixel = rows[:, :, None] * width + columns[:, None, :]
    nearer = np.abs(dense.ravel()[pixel].astype(np.int16) - _grey_at(dense, now)[:, None, None])
    weight = above[:, :, None] * beside[:, None, :] * _ALIKE[nearer]

    def total(values: NDArray[np.float32]) -> NDArray[np.float64]:
        sums = np.bincount(pixel.ravel(), values.ravel(), minlength=height * width)
        return np.asarray(sums, np.float64).reshape(height, width)

    weights = total(weight)
    sums = np.stack([total(weight * value[:, None, None]) for value in said.T], axis=2)
    mean = sums / np.maximum(weights, np.finfo(np.float32).tiny)[:, :, None]
    return mean.astype(np.float32), weights > _LEAST_WEIGHT


def _pixels_around(
    at: NDArray[np.float32], size: int, *, reach: float, farthest: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pixels around points along one side of the picture, and how near they are.

    Args:
        at: (points,) pixels.
        size: of the picture.
        reach, farthest: of the distance between two points on the first frame.

    Returns:
        (points, around) pixels within the picture, and their weights, 0..1: 0 for those that are none.
    """
    apart = size / _GRID_SIDE
    around = int(np.ceil(farthest * apart))
    # A pixel's value stands at its centre.
    at = at - np.float32(0.5)
    pixels = np.rint(at).astype(np.int64)[:, None] + np.arange(-around, around + 1)
    weight = np.exp(-0.5 * np.square((pixels - at[:, None]) / (reach * apart)))
    weight *= (pixels >= 0) & (pixels < size)
    return np.clip(pixels, 0, size - 1), weight.astype(np.float32)


def _grey_at(dense: NDArray[np.uint8], at: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return the grey of the pixels that points, (points, 2), are in."""
    columns, rows = at.astype(np.int64).T
    return dense[rows, columns].astype(np.int16)


def _returned(
    image: NDArray[np.uint8], known: NDArray[np.bool_], guess: NDArray[np.float32], gone: float
) -> NDArray[np.float32]:
    """Return an image, (height, width, 3), whose known places are off the guess by so much less, on the whole."""
    share = known.astype(np.float32)
    deviation = _RETURN_REACH * len(image)

    def around(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), deviation), np.float32)

    off = around((image - guess) * share[:, :, None]) / np.maximum(around(share), _LEAST_WEIGHT)[:, :, None]
    return np.asarray(image - gone * off, np.float32)


def _filled(
    image: NDArray[np.uint8] | NDArray[np.float32], known: NDArray[np.bool_], guess: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return an image, (height, width, 3), its unknown places as guessed, shifted by what the known around are off."""
    share = known.astype(np.float32)
    levels = [((image - guess) * share[:, :, None], share)]
    while min(share.shape) > 1:
        size = (-(-share.shape[1] // 2), -(-share.shape[0] // 2))
        off, share = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in levels[-1])
        levels.append((off, share))
    shift = np.zeros((*levels[-1][1].shape, 3), np.float32)
    for off, share in reversed(levels):
        shift = cv2.resize(shift, share.shape[::-1], interpolation=cv2.INTER_LINEAR) * np.float32(_FADING)
        own = np.minimum(1, share / _SETTLED)[:, :, None]
        shift = off / np.maximum(share, np.finfo(np.float32).tiny)[:, :, None] * own + shift * (1 - own)
    filled = np.where(known[:, :, None], image, guess + shift)
    return np.clip(np.rint(filled), 0, 255).astype(np.uint8)
