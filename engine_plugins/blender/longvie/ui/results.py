"""Frames inside Blender: the newest one in the Image Editor, the whole shot as a strip.

The strip stands in a scene of its own, because a strip in the user's scene would change what it renders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
from numpy.typing import NDArray

from bridge.tick import FPS

from ..frame_folder import FrameFolder
from ..sampling import Sampling, SamplingMode

__all__ = ["add_edit_scene", "show_array", "show_frame", "strip_ticks"]

_FRAME: Final = "LongVie frame"


def show_frame(path: Path) -> None:
    """Show a frame in the Image Editors that show nothing else, or an earlier frame."""
    image = bpy.data.images.get(_FRAME)
    if image is None:
        image = bpy.data.images.load(str(path))
        image.name = _FRAME
    elif Path(image.filepath) != path:
        image.filepath = str(path)
    image.reload()
    _put_into_editors(image)


def show_array(name: str, pixels: NDArray[np.float32]) -> None:
    """Show a picture, (height, width, 3) float32 in 0..1, top row first."""
    height, width, _ = pixels.shape
    image = bpy.data.images.get(name)
    if image is None or tuple(image.size) != (width, height):
        if image is not None:
            bpy.data.images.remove(image)
        image = bpy.data.images.new(name, width, height, float_buffer=False)
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = pixels[::-1]  # Blender's first row is the lowest
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    _put_into_editors(image)


def strip_ticks(sampling: Sampling) -> list[int]:
    """Return the tick that each frame of the edit shows: real time is stretched to the scene's rate."""
    if sampling.mode is SamplingMode.EVERY_FRAME:
        return list(range(sampling.count))
    step = FPS / sampling.frames_per_second
    last = sampling.count - 1
    frames = sampling.frame_end - sampling.frame_start + 1
    return [min(last, int(i * step + 0.5)) for i in range(frames)]


def add_edit_scene(scene: Any, folder: FrameFolder, sampling: Sampling) -> Any:
    """Make, or make again, the scene "<name> LongVie" with the frames as one strip, in time with the shot."""
    name = f"{scene.name} LongVie"
    edit = bpy.data.scenes.get(name) or bpy.data.scenes.new(name)
    edit.render.fps, edit.render.fps_base = scene.render.fps, scene.render.fps_base
    edit.frame_start, edit.frame_end = sampling.frame_start, sampling.frame_end
    editor = edit.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    for strip in list(strips):
        strips.remove(strip)
    ticks = strip_ticks(sampling)
    first = folder.frame_path(ticks[0])
    strip = strips.new_image("LongVie", str(first), 1, sampling.frame_start)
    for tick in ticks[1:]:
        strip.elements.append(folder.frame_path(tick).name)
    strip.frame_final_duration = len(ticks)
    shown = bpy.data.images.get(_FRAME)
    if shown is not None and shown.size[0]:
        edit.render.resolution_x, edit.render.resolution_y = shown.size
        edit.render.resolution_percentage = 100
    return edit


def _put_into_editors(image: Any) -> None:
    ours = (_FRAME, "LongVie preview")
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR":
                space = area.spaces.active
                if space.image is None or space.image.name in ours or space.image.type == "RENDER_RESULT":
                    space.image = image
                area.tag_redraw()
