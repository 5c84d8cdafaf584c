"""A video is resized on several threads to the very pixels of one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from longvie_server.control.resize import resize_bicubic, resize_video

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (23, 30, 40, 3), np.uint8)


def on_one_canvas() -> Iterator[NDArray[np.uint8]]:
    """The images, each painted over the one before it, in a part of a larger canvas."""
    canvas = np.zeros((32, 44, 3), np.uint8)
    for image in IMAGES:
        canvas[1:-1, 2:-2] = image
        yield canvas[1:-1, 2:-2]
        canvas[...] = 0


@pytest.mark.parametrize("threads", [None, 1, 2, 5, 40])
def test_the_same_pixels_on_any_number_of_threads(threads: int | None) -> None:
    out = resize_video(on_one_canvas(), np.empty((23, 12, 20, 3), np.uint8), threads=threads)
    for frame, image in zip(out, IMAGES, strict=True):
        np.testing.assert_array_equal(frame, resize_bicubic(image, height=12, width=20))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_painter_s_mistake_is_told(threads: int) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield from IMAGES[:3]
        raise RuntimeError("no paint left")

    with pytest.raises(RuntimeError, match="no paint left"):
        resize_video(broken(), np.empty((23, 12, 20, 3), np.uint8), threads=threads)
