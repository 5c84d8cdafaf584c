"""From the canvas to the model's size: bicubic with antialiasing, as PIL does it, channel values rounded by PIL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["resize_bicubic"]


def resize_bicubic(image: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
    """Return an image, (h, w, 3) uint8, at another size, (height, width, 3) uint8."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
