"""One clip of a scene as arrays, for training and evaluation: pictures, depth, the followed grid in the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.geometry.projection import project
from bridge.tick import CLIP_TICKS, TRACK_COUNT

from .rendering import RenderedFrame, Renderer
from .scene import Scene
from .tracking import FollowedGrid

__all__ = ["CapturedClip", "capture_clip"]


@dataclass(frozen=True, slots=True, eq=False)
class CapturedClip:
    """A clip, seeded on its first tick.

    Args:
        rgb: (ticks, height, width, 3) uint8 sRGB.
        depth_m: (ticks, height, width) float32, planar metres, inf for the sky.
        track_uv: (ticks, 2500, 2) float32, normalised image coordinates; NaN where `track_drawn` is false.
        track_depth_m: (ticks, 2500) float32, planar metres, inf for the sky.
        track_drawn: (ticks, 2500) bool, in front of the camera.
        caption: what the video shows.
    """

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    track_uv: NDArray[np.float32]
    track_depth_m: NDArray[np.float32]
    track_drawn: NDArray[np.bool_]
    caption: str


def capture_clip(
    scene: Scene | Renderer,
    start_tick: int = 0,
    *,
    ticks: int = CLIP_TICKS,
    width: int = 144,
    height: int = 80,
    look_on: Callable[[RenderedFrame, NDArray[np.float64]], None] | None = None,
) -> CapturedClip:
    """Render a clip of a scene.

    Args:
        scene: what to render; a `Renderer` is used as it is (its size counts), which saves the set-up for each of
            several clips of one scene.
        start_tick: the clip's first tick; its view seeds the followed grid.
        ticks: how many.
        width, height: pixels, where a scene is given.
        look_on: called with every view and the bodies' (instances, 4, 4) transforms, in order.

    Raises:
        InvalidValue: the start is negative or a size not positive.
    """
    renderer = scene if isinstance(scene, Renderer) else Renderer(scene, width=width, height=height)
    width, height = renderer.intrinsics.width, renderer.intrinsics.height
    clip = CapturedClip(
        rgb=np.empty((ticks, height, width, 3), np.uint8),
        depth_m=np.empty((ticks, height, width), np.float32),
        track_uv=np.empty((ticks, TRACK_COUNT, 2), np.float32),
        track_depth_m=np.empty((ticks, TRACK_COUNT), np.float32),
        track_drawn=np.empty((ticks, TRACK_COUNT), np.bool_),
        caption=renderer.scene.caption,
    )
    grid: FollowedGrid | None = None
    for i in range(ticks):
        view = renderer.render(start_tick + i)
        transforms = renderer.raycaster.transforms
        if grid is None:
            grid = FollowedGrid.seeded(renderer.scene, view, transforms)
        if look_on is not None:
            look_on(view, transforms)
        clip.rgb[i], clip.depth_m[i] = view.rgb, view.depth
        clip.track_uv[i], clip.track_depth_m[i], clip.track_drawn[i] = project(grid.points(transforms), view.camera)
    return clip
