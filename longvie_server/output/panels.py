"""Pictures side by side, with a word under each: what went in beside what came out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["grid", "labelled", "strip"]

_BAND_PX = 22
_GAP_PX = 4
_PAPER = (17, 18, 20)
_INK = (232, 232, 228)

RGB = NDArray[np.uint8]


def labelled(image: NDArray[np.uint8], text: str, *, width: int) -> RGB:
    """Return an image (height, width[, 3]) uint8 scaled to a width, with its label in a band below."""
    picture = Image.fromarray(image).convert("RGB")
    height = round(picture.height * width / picture.width)
    smooth = Image.Resampling.NEAREST if width >= picture.width else Image.Resampling.LANCZOS
    panel = Image.new("RGB", (width, height + _BAND_PX), _PAPER)
    panel.paste(picture.resize((width, height), smooth), (0, 0))
    font = ImageFont.load_default(size=13)
    ImageDraw.Draw(panel).text((6, height + 3), text, fill=_INK, font=font)
    return np.asarray(panel)


def grid(panels: Sequence[RGB], *, columns: int) -> RGB:
    """Return panels of one size, (height, width, 3) uint8 each, in rows of `columns`."""
    height, width = panels[0].shape[:2]
    rows = -(-len(panels) // columns)
    page = np.empty((rows * (height + _GAP_PX) - _GAP_PX, columns * (width + _GAP_PX) - _GAP_PX, 3), np.uint8)
    page[:] = _PAPER
    for number, panel in enumerate(panels):
        y, x = (number // columns) * (height + _GAP_PX), (number % columns) * (width + _GAP_PX)
        page[y : y + height, x : x + width] = panel
    return page


def strip(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]], *, names: Sequence[str], width: int) -> RGB:
    """Return a contact strip: one row per moment, one column per kind of picture.

    Args:
        rows: (what moment, its pictures).
        names: of the pictures, in order.
        width: of each picture, pixels.
    """
    panels = [
        labelled(image, f"{name}, {moment}", width=width)
        for moment, images in rows
        for name, image in zip(names, images, strict=True)
    ]
    return grid(panels, columns=len(names))
