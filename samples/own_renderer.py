"""A renderer of your own: a ray-cast floor and a sphere. The server follows the points from depth alone."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

import bridge

SECONDS = 1
LENS = bridge.Intrinsics.from_fov(fov_x_rad=1.1, width=320, height=176)


def render_depth(camera: bridge.Camera) -> NDArray[np.float32]:
    """Return planar metres: a floor at z = 0 and a ball of radius 1 at (0, 6, 1); inf is the sky."""
    lens, pose = camera.intrinsics, camera.world_from_camera.matrix
    x = (np.arange(lens.width) + 0.5 - lens.cx_px) / lens.fx_px
    y = (np.arange(lens.height) + 0.5 - lens.cy_px) / lens.fy_px
    rays = np.stack([*np.meshgrid(x, y), np.ones((lens.height, lens.width))], axis=-1) @ pose[:3, :3].T
    eye = pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(rays[..., 2] < 0, -eye[2] / rays[..., 2], np.inf)
        to_ball = eye - (0.0, 6.0, 1.0)
        a, b, c = (rays**2).sum(-1), (rays * to_ball).sum(-1), to_ball @ to_ball - 1.0
        ball = (-b - np.sqrt(b * b - a * c)) / a  # NaN where the ray misses
    return np.fmin(floor, ball).astype(np.float32)


def main(url: str = "tcp://127.0.0.1:5555") -> int:
    """Send a dolly past the ball; return the number of frames that came back."""
    count = 0
    with bridge.connect(url) as server:
        size = server.models[0]
        first_frame = np.full((size.height, size.width, 3), (120, 140, 160), np.uint8)  # yours: a styled still
        with server.open(
            prompt="a chrome ball on a wet studio floor", first_frame=first_frame, seed=7, fit="crop"
        ) as session:
            for index in range(16 * SECONDS + 1):
                eye = (-1.0 + index / 16.0, 0.0, 1.5)
                camera = bridge.Camera(LENS, bridge.Pose.look_at(eye, (0.0, 6.0, 1.0)))
                session.send(bridge.Tick(index=index, camera=camera, depth=render_depth(camera)))
            for _frame in session.frames():
                count += 1  # yours: show _frame.image, or save it under _frame.index
    return count


if __name__ == "__main__":
    print(main(*sys.argv[1:]), "frames")
