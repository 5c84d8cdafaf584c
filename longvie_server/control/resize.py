"""From the canvas to the model's size: bicubic with antialiasing, as PIL does it, channel values rounded by PIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["resize_bicubic", "resize_video"]


def resize_bicubic(image: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
    """Return an image, (h, w, 3) uint8, at another size, (height, width, 3) uint8."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def resize_video(
    images: Iterable[NDArray[np.uint8]], out: NDArray[np.uint8], *, threads: int | None = None
) -> NDArray[np.uint8]:
    """Return images at another size: the same pixels on any number of threads.

    Args:
        images: (h, w, 3) uint8 each, as many as frames; one may be painted over when the next is asked for.
        out: (frames, height, width, 3) uint8, where they go.
        threads: that resize while the next image is painted; None for as many as OpenCV would take.
    """
    height, width = out.shape[1:3]

    def resize(frame: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
        frame[...] = resize_bicubic(image, height=height, width=width)

    count = cv2.getNumThreads() if threads is None else threads
    if count <= 1:
        for frame, image in zip(out, images, strict=True):
            resize(frame, image)
        return out
    with ThreadPoolExecutor(count, thread_name_prefix="resize") as pool:
        waiting: deque[Future[None]] = deque()
        for frame, image in zip(out, images, strict=True):
            waiting.append(pool.submit(resize, frame, image.copy()))
            if len(waiting) > 2 * count:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    return out
