"""The add-on in a Blender with a window, from installing to uninstalling: `-P in_window.py -- ZIP SERVER FOLDER`.

Presses the buttons as a user does, looks at what comes, and takes two pictures of the whole window.
FOLDER holds shot.blend and first.png.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
from window import (
    Steps,
    areas,
    connect,
    install,
    open_file,
    override,
    photograph,
    preferences,
    press_generate,
    run,
    settle,
    sidebar,
    state,
    turn_job,
    turn_to_our_tab,
    uninstall,
)

ZIP, SERVER, FOLDER = sys.argv[sys.argv.index("--") + 1 :]
RESULT: dict[str, Any] = {}
SIDEBAR = 300


def set_up_windows() -> Steps:
    """Half the viewport becomes an Image Editor; the sidebar is opened, widened and turned to our tab."""
    (view,) = areas("VIEW_3D")
    with override(view):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    left, right = sorted(areas("VIEW_3D"), key=lambda area: area.x)
    right.type = "IMAGE_EDITOR"
    left.spaces.active.show_region_ui = True
    left.spaces.active.region_3d.view_perspective = "CAMERA"
    yield from settle()
    yield from widen_sidebar()
    turn_to_our_tab()
    yield from settle()


def widen_sidebar() -> Steps:
    window, region = bpy.context.window_manager.windows[0], sidebar()
    x, y = region.x, region.y + region.height // 2
    until = region.x + region.width - SIDEBAR
    window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    yield from settle(2)
    window.event_simulate("LEFTMOUSE", "PRESS", x=x, y=y)
    yield from settle(2)
    for step in range(1, 11):
        window.event_simulate("MOUSEMOVE", "NOTHING", x=x + (until - x) * step // 10, y=y)
        yield
    window.event_simulate("LEFTMOUSE", "RELEASE", x=until, y=y)
    yield from settle(2)


def steps() -> Steps:
    install(ZIP)
    RESULT["version"] = list(bpy.app.version)
    RESULT["libraries"] = {name: str(__import__(name).__file__) for name in ("zmq", "msgpack")}
    yield from open_file(str(Path(FOLDER) / "shot.blend"))
    yield from set_up_windows()
    preferences().url = SERVER
    yield from connect()
    RESULT["connected"] = state().probe.sentence()
    RESULT["offered"] = state().model_names
    scene = bpy.data.scenes[0]
    scene.longvie.prompt = "a street on a clear morning"
    scene.longvie.first_frame, scene.longvie.first_frame_path = "IMAGE", "//first.png"
    scene.frame_set(17)
    yield from settle()
    yield from generate()
    RESULT["frame_after"] = scene.frame_current
    (strip,) = bpy.data.scenes[f"{scene.name} LongVie"].sequence_editor.sequences
    RESULT["strip"] = [len(strip.elements), strip.elements[0].filename, strip.elements[-1].filename]
    shown = areas("IMAGE_EDITOR")[0].spaces.active.image
    RESULT["image_editor"] = [shown.name, Path(shown.filepath).name]
    photograph(Path(FOLDER) / "window.png")
    bpy.ops.longvie.preview()
    RESULT["preview"] = [list(bpy.data.images["LongVie preview"].size), scene.frame_current]
    yield from settle(2)
    press_generate()
    RESULT["cancelled"] = {}
    yield from turn_job(RESULT["cancelled"], lambda job: job.progress.captured >= 8 and bpy.ops.longvie.cancel())
    RESULT["frame_after_cancel"] = scene.frame_current
    RESULT["removed"] = uninstall()


def generate() -> Steps:
    """Generate the whole shot, and photograph the window in the middle of it."""
    seen: list[int] = []

    def look(job: Any) -> None:
        total = job.order.sampling.count
        if not seen and job.progress.frames > 0:
            seen.append(0)
            with override(areas("IMAGE_EDITOR")[0]):
                bpy.ops.image.view_all(fit_view=True)
        elif len(seen) == 1 and job.progress.frames > total // 2:
            seen.append(1)
            photograph(Path(FOLDER) / "generating.png")

    press_generate()
    RESULT["done"] = {}
    yield from turn_job(RESULT["done"], look)


run(steps(), RESULT, Path(FOLDER) / "result.json")
