"""Little shots for tests: ticks whose depth is unique, and what the fake model must paint for them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import bridge
from longvie_server.control.dense import encode_dense

HEIGHT, WIDTH = 48, 80
RANGE = bridge.DepthRange(near_m=1.0, far_m=float("inf"))
PROMPT = "a street in the rain"
FIRST_FRAME = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def depth_of(index: int, *, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float32]:
    """Return depth that no other tick has: its disparity is noise, seeded with the index."""
    disparity = np.random.default_rng(index).uniform(0.01, 1.0, (height, width))
    depth = (1.0 / disparity).astype(np.float32)
    depth.flags.writeable = False
    return depth


def tick_of(index: int, *, height: int = HEIGHT, width: int = WIDTH) -> bridge.Tick:
    lens = bridge.Intrinsics.from_fov(fov_x_rad=1.2, width=width, height=height)
    return bridge.Tick(
        index=index,
        camera=bridge.Camera(lens),
        depth=depth_of(index, height=height, width=width),
        time_ns=index * 62_500_000,
    )


def ticks(count: int, *, start: int = 0) -> Iterator[bridge.Tick]:
    return (tick_of(index) for index in range(start, start + count))


def check_frame(frame: bridge.Frame, *, prompt: str = PROMPT) -> None:
    """Assert that a fake frame shows its own tick's depth, every pixel of it, and its clip's prompt."""
    expected = encode_dense(depth_of(frame.index)[None], RANGE)[0]
    np.testing.assert_array_equal(frame.image[..., 0], expected, err_msg=f"frame {frame.index} shows another tick")
    assert (frame.image[..., 2] == zlib.crc32(prompt.encode()) & 0xFF).all(), f"frame {frame.index}: another prompt"
    assert frame.time_ns == frame.index * 62_500_000
