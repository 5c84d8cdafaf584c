"""Whether a video moves as the engine says: points followed in it by a classical tracker, edges, and seams.

All take uint8 video, (frames, height, width, 3) RGB.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["edge_agreement", "seam_jump", "track_error_px"]

Video = NDArray[np.uint8]

WINDOW: Final = 16
"""Frames that points are followed for: a second."""
_FOLLOWED_PX: Final = 1.0
"""A point counts if the tracker, on the truth, ends nearer than this to where it is."""
_LUCAS_KANADE: Final[dict[str, Any]] = {
    "winSize": (11, 11),
    "maxLevel": 2,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.03),
}


def track_error_px(video: Video, truth: Video, tracks: NDArray[np.float32]) -> float:
    """Return how far off points are after a second, mean, pixels, if Lucas and Kanade's tracker follows them.

    Counted are those that are seen all the while and that it can follow in the truth; NaN where there is none.

    Args:
        video, truth: of one clip.
        tracks: (frames, points, 2), pixels, NaN where a point is not seen.
    """
    errors = []
    for first in range(0, len(video) - WINDOW, WINDOW):
        there = np.asarray(tracks[first : first + WINDOW + 1])
        there = there[:, np.isfinite(there).all(axis=(0, 2))]
        if there.shape[1] == 0:
            continue
        of_truth, of_video = (_followed(clip[first : first + WINDOW + 1], there[0]) for clip in (truth, video))
        followable = np.linalg.norm(of_truth - there[-1], axis=1) < _FOLLOWED_PX
        errors.append(np.linalg.norm(of_video - there[-1], axis=1)[followable])
    pooled = np.concatenate(errors) if errors else np.zeros(0)
    return float(pooled.mean()) if pooled.size else float("nan")


def edge_agreement(video: Video, edges: NDArray[np.bool_]) -> float:
    """Return the share of the video's strongest luma edges that lie within a pixel of a jump in depth.

    In every frame as many of the strongest are taken as there are pixels at jumps; NaN where no frame has one.

    Args:
        video: the frames.
        edges: (frames, height, width), the depth's.
    """
    shares = []
    for frame, at in zip(video, edges, strict=True):
        count = int(at.sum())
        if count == 0:
            continue
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        strength = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
        strongest = np.argpartition(strength.ravel(), -count)[-count:]
        near = cv2.dilate(np.ascontiguousarray(at, dtype=np.uint8), np.ones((3, 3), np.uint8))
        shares.append(near.ravel()[strongest].mean())
    return float(np.mean(shares)) if shares else float("nan")


def seam_jump(video: Video) -> float:
    """Return how much changes from the first frame to the second, beside the later changes.

    1 is a seam that nobody can tell from the rest; NaN where nothing moves.

    Args:
        video: a clip as it is seen: its first frame is the last of the clip before.
    """
    changes = np.abs(np.diff(video.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    inside = float(changes[1:].mean())
    return float(changes[0]) / inside if inside else float("nan")


def _followed(video: Video, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the tracker has the points, (n, 2) pixels, on the last frame; one that it loses stays where it was."""
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in video]
    # OpenCV's pixel 0 has its centre at 0.
    at = np.ascontiguousarray(points - 0.5, dtype=np.float32)
    for before, after in pairwise(grey):
        moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, at[:, None], None, **_LUCAS_KANADE)
        at = np.where(found.ravel()[:, None] == 1, moved[:, 0], at)
    return at + 0.5
