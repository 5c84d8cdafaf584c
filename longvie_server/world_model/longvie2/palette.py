"""What one frame says of the colours of others, by depth alone: sky is where nothing is, ground what slopes away.

In: a frame and its depth. Out: a guess at the colours of any other frames of the same world whose depth is known. A
session's first frame is the one that is surely right; clip by clip a model forgets it, and this is what it goes back
to: `docs/decisions/0015`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bridge.errors import ShapeMismatch

__all__ = ["Palette"]

_NODES: Final = (33, 17, 9)
"""Of the table, along depth, height in the picture, and slope."""
_ALIKE: Final = (10.0, 0.074, 1.5)
"""Deviation of a pixel's weight: over greys of depth, over heights of the picture, over greys per row of slope."""
_STEEPEST: Final = 6.0
"""Greys per row: what slopes more counts as this."""
_SKIP: Final = 2
"""Every second row and column of the frame is asked; the others say the same."""
_KEPT: Final = 16
"""Palettes that are kept: a session asks for the same one clip after clip, and several sessions take turns."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours by depth, by height in the picture, and by how depth changes downwards.

    Args:
        table: (1, 3, depth, height, slope) float32, levels 0..255.
    """

    table: Tensor

    @classmethod
    def of(cls, image: NDArray[np.uint8], dense: NDArray[np.uint8]) -> Palette:
        """Return what a frame teaches.

        Each place of the table is the mean of the frame's pixels, weighted by how alike they are to it; one that is
        like none has the colour of those that are least unlike.

        Args:
            image: (height, width, 3) uint8.
            dense: (height, width) uint8, its depth as the dense control has it.

        Raises:
            ShapeMismatch: the two are not of one size.
        """
        if image.shape != (*dense.shape, 3):
            raise ShapeMismatch(
                f"must be {(*dense.shape, 3)}",
                field="image",
                value=image.shape,
                remedy="Pass a frame and its own depth.",
            )
        return _taught(image.tobytes(), dense.tobytes(), dense.shape)

    def paint(self, dense: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the colours of frames, (frames, height, width, 3) levels 0..255, by their depth.

        Args:
            dense: (frames, height, width) uint8.
        """
        depth = torch.from_numpy(dense.astype(np.float32)) * (2 / 255) - 1
        slope = torch.from_numpy(np.stack([_slope(frame) for frame in dense])) / _STEEPEST
        height = torch.from_numpy(_heights(dense.shape[1]))[None, :, None].expand_as(depth) * 2 - 1
        at = torch.stack([slope, height, depth], dim=-1)[None]
        colours = F.grid_sample(self.table, at, mode="bilinear", padding_mode="border", align_corners=True)[0]
        painted: NDArray[np.float32] = colours.permute(1, 2, 3, 0).contiguous().numpy()
        return painted


@lru_cache(maxsize=_KEPT)
def _taught(pixels: bytes, greys: bytes, shape: tuple[int, int]) -> Palette:
    """Return what these pixels, and these greys of depth, of a frame of this shape teach."""
    image = np.frombuffer(pixels, np.uint8).reshape(*shape, 3)
    dense = np.frombuffer(greys, np.uint8).reshape(shape)
    rows = np.broadcast_to(_heights(shape[0])[:, None], shape)
    told = np.stack([dense.astype(np.float32), rows, _slope(dense)], axis=2)[::_SKIP, ::_SKIP].reshape(-1, 3)
    ends = ((0.0, 255.0), (0.0, 1.0), (-_STEEPEST, _STEEPEST))
    axes = [np.linspace(*end, count, dtype=np.float32) for end, count in zip(ends, _NODES, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    unit = np.array(_ALIKE, np.float32)
    # Not by a matrix product, which loses small differences of large numbers.
    apart = torch.cdist(
        torch.from_numpy(nodes / unit), torch.from_numpy(told / unit), compute_mode="donot_use_mm_for_euclid_dist"
    )
    weight = torch.softmax(apart.square_().mul_(-0.5), dim=1)
    colours = torch.from_numpy(image[::_SKIP, ::_SKIP].reshape(-1, 3).astype(np.float32))
    return Palette((weight @ colours).T.reshape(1, 3, *_NODES).contiguous())


def _heights(rows: int) -> NDArray[np.float32]:
    """Return where the rows' centres are in the picture, 0 at its top, 1 at its bottom."""
    return ((np.arange(rows) + 0.5) / rows).astype(np.float32)


def _slope(dense: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return by how many greys per row depth changes downwards, (height, width)."""
    change = cv2.Sobel(dense.astype(np.float32), cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    return np.clip(change, -_STEEPEST, _STEEPEST)
