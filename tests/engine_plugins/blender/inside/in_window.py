"""The add-on in a Blender with a window: `blender -P in_window.py -- ZIP SERVER BLEND FOLDER TICKS FRAME_END`.

Installs the zip as a user does, opens the shot, presses the buttons, looks at what comes, and takes it all out again.
Each step is a part of a generator that a timer of Blender's turns, so the interface runs in between as it would.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

ZIP, SERVER, BLEND, FOLDER, TICKS, FRAME_END = sys.argv[sys.argv.index("--") + 1 :]
RESULT: dict[str, Any] = {}


def state() -> Any:
    return sys.modules["longvie.ui.state"].STATE


def areas(kind: str) -> list[Any]:
    return [area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == kind]


def override(area: Any) -> Any:
    window = bpy.context.window_manager.windows[0]
    region = next(region for region in area.regions if region.type == "WINDOW")
    return bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region)


def set_up_windows() -> None:
    """Half the viewport becomes an Image Editor, and the sidebar is opened."""
    (view,) = areas("VIEW_3D")
    with override(view):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.52)
    left, right = sorted(areas("VIEW_3D"), key=lambda area: area.x)
    right.type = "IMAGE_EDITOR"
    left.spaces.active.show_region_ui = True
    left.spaces.active.region_3d.view_perspective = "CAMERA"


def turn_to_our_tab() -> None:
    """Control and the wheel over the sidebar go from tab to tab; ours is the last."""
    (view,) = areas("VIEW_3D")
    window = bpy.context.window_manager.windows[0]
    sidebar = next(region for region in view.regions if region.type == "UI")
    x, y = (
        sidebar.x + sidebar.width - 8,
        sidebar.y + sidebar.height - 40,
    )  # over the tabs: over a field it would turn it
    window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    for _ in range(6):
        window.event_simulate("WHEELDOWNMOUSE", "PRESS", x=x, y=y, ctrl=True)


def settle(count: int = 4) -> Iterator[None]:
    for _ in range(count):
        yield


def steps() -> Iterator[None]:
    bpy.ops.preferences.addon_install(filepath=ZIP, overwrite=True)
    bpy.ops.preferences.addon_enable(module="longvie")
    RESULT["version"] = list(bpy.app.version)
    RESULT["libraries"] = {name: str(__import__(name).__file__) for name in ("zmq", "msgpack")}
    with override(areas("VIEW_3D")[0]):
        bpy.ops.wm.open_mainfile(filepath=BLEND, load_ui=False)
    yield from settle()
    set_up_windows()
    yield from settle()
    turn_to_our_tab()
    preferences = bpy.context.preferences.addons["longvie"].preferences
    preferences.url = SERVER
    bpy.ops.longvie.connect()
    while not state().probe.over:
        yield
    RESULT["connected"] = state().probe.sentence()
    yield from settle()
    scene = bpy.data.scenes[0]
    shot = scene.longvie
    shot.prompt, shot.out = "a street on a clear morning, photograph", str(Path(FOLDER) / "frames")
    shot.first_frame, shot.first_frame_path = "IMAGE", str(Path(FOLDER) / "first.png")
    shot.use_range, shot.frame_start, shot.frame_end = True, 1, int(FRAME_END)
    scene.frame_set(17)
    yield from generate("done")
    RESULT["frames"] = len(list((Path(FOLDER) / "frames").glob("*.png")))
    RESULT["frame_after"] = scene.frame_current
    edit = bpy.data.scenes.get(f"{scene.name} LongVie")
    if edit is not None:
        (strip,) = edit.sequence_editor.sequences
        RESULT["strip"] = [len(strip.elements), strip.elements[0].filename, strip.elements[-1].filename]
    shown = areas("IMAGE_EDITOR")[0].spaces.active.image
    RESULT["image_editor"] = [shown.name, Path(shown.filepath).name]
    yield from settle()
    bpy.ops.screen.screenshot(filepath=str(Path(FOLDER) / "window.png"))
    yield from settle(2)
    bpy.ops.longvie.preview()
    RESULT["preview"] = [list(bpy.data.images["LongVie preview"].size), scene.frame_current]
    yield from settle(2)
    yield from refuse(scene)
    yield from generate("cancelled", cancel_after=8)
    RESULT["frame_after_cancel"] = scene.frame_current
    bpy.ops.preferences.addon_disable(module="longvie")
    RESULT["disabled"] = not hasattr(bpy.types.Scene, "longvie")
    with override(areas("VIEW_3D")[0]):
        bpy.ops.preferences.addon_remove(module="longvie")
    RESULT["removed"] = not (Path(bpy.utils.user_resource("SCRIPTS", path="addons")) / "longvie").exists()


def refuse(scene: Any) -> Iterator[None]:
    """Press Generate with a camera that cannot be captured."""
    scene.camera.data.type = "ORTHO"
    try:
        with override(areas("VIEW_3D")[0]):
            bpy.ops.longvie.generate("INVOKE_DEFAULT")
    except RuntimeError as error:
        RESULT["refused"] = str(error)
    RESULT["message"] = state().message
    scene.camera.data.type = "PERSP"
    yield from settle(2)


def generate(name: str, *, cancel_after: int = 0) -> Iterator[None]:
    with override(areas("VIEW_3D")[0]):
        bpy.ops.longvie.generate("INVOKE_DEFAULT")
    job = state().job
    yield from settle(1)
    longest, before, captured_half = 0.0, time.perf_counter(), False
    while not job.over:
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
        if cancel_after and job.progress.captured >= cancel_after:
            bpy.ops.longvie.cancel()
        if not cancel_after and not captured_half and job.progress.frames > int(TICKS) // 2:
            captured_half = True
            bpy.ops.screen.screenshot(filepath=str(Path(FOLDER) / "generating.png"))
        yield
    RESULT[name] = {
        "state": job.state.value,
        "longest_s": round(longest, 3),
        "sentence": job.progress.sentence(),
        "error": str(job.error or ""),
    }
    yield from settle()


def turn(work: Iterator[None]) -> Any:
    def step() -> float | None:
        try:
            next(work)
        except StopIteration:
            leave()
            return None
        except BaseException:
            RESULT["traceback"] = traceback.format_exc()
            leave()
            return None
        return 0.05

    return step


def leave() -> None:
    (Path(FOLDER) / "result.json").write_text(json.dumps(RESULT))
    bpy.ops.wm.quit_blender()


# Persistent: opening a file takes other timers away.
bpy.app.timers.register(turn(steps()), first_interval=1.0, persistent=True)
