"""asyncio: one task sends ticks, another shows frames as they come."""

from __future__ import annotations

import asyncio
import sys

import numpy as np

import bridge
import bridge.aio

LENS = bridge.Intrinsics.from_fov(fov_x_rad=1.1, width=320, height=176)


async def main(url: str = "tcp://127.0.0.1:5555") -> int:
    """Send six seconds while frames are read; return how many came."""
    shown = 0
    async with await bridge.aio.connect(url) as server:
        size = server.models[0]
        first_frame = np.full((size.height, size.width, 3), 128, np.uint8)
        async with await server.open(prompt="a wall, slowly nearer", first_frame=first_frame, fit="crop") as session:

            async def send() -> None:
                for index in range(97):
                    depth = np.full((LENS.height, LENS.width), 8.0 - index / 32.0, np.float32)
                    depth[:20] = np.inf
                    pose = np.eye(4)
                    pose[2, 3] = index / 32.0
                    camera = bridge.Camera(LENS, bridge.Pose(pose))
                    await session.send(bridge.Tick(index=index, camera=camera, depth=depth))
                session.finish()

            sending = asyncio.create_task(send())
            async for _frame in session.frames(finish=False):
                shown += 1  # yours: show _frame.image
            await sending
    return shown


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:])), "frames")
