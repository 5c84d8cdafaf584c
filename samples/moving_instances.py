"""A simulator that knows its bodies: it sends every body's transform, and the server follows points on them."""

from __future__ import annotations

import sys

import numpy as np

import bridge

LENS = bridge.Intrinsics.from_fov(fov_x_rad=1.1, width=320, height=176)
WALL_M, CARD_M, CARD = 8.0, 4.0, 1  # a wall, and in front of it a card (instance 1) that slides to the right


def main(url: str = "tcp://127.0.0.1:5555") -> int:
    """Send two seconds; return the number of frames that came back."""
    count = 0
    camera = bridge.Camera(LENS)  # at the world's origin, looking along +z
    rows, columns = bridge.geometry.seed_pixels(LENS.width, LENS.height)
    with bridge.connect(url) as server:
        size = server.models[0]
        first_frame = np.full((size.height, size.width, 3), 128, np.uint8)
        with server.open(
            prompt="a card slides along a wall", first_frame=first_frame, tracks="instances", fit="crop"
        ) as session:
            for index in range(33):
                slide_m = index / 16.0
                x_m = (np.arange(LENS.width) + 0.5 - LENS.cx_px) / LENS.fx_px * CARD_M
                on_card = np.broadcast_to(np.abs(x_m - slide_m) < 0.5, (LENS.height, LENS.width))
                world_from_card = np.eye(4)
                world_from_card[0, 3] = slide_m
                session.send(
                    bridge.Tick(
                        index=index,
                        camera=camera,
                        depth=np.where(on_card, CARD_M, WALL_M).astype(np.float32),
                        instances=bridge.Instances(np.array([CARD], np.uint32), world_from_card[None]),
                        seed_instances=np.where(on_card[rows, columns], CARD, 0).astype(np.uint32)
                        if session.starts_clip(index)
                        else None,
                    )
                )
            count = sum(1 for _ in session.frames())
    return count


if __name__ == "__main__":
    print(main(*sys.argv[1:]), "frames")
