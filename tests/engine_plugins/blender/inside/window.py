"""What scripts in a Blender with a window share: areas and buttons, and steps that a timer of Blender's turns.

A script is a generator: between two of its steps the interface runs as it would.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy

Steps = Iterator[None]


def install(addon: str) -> None:
    bpy.ops.preferences.addon_install(filepath=addon, overwrite=True)
    bpy.ops.preferences.addon_enable(module="longvie")


def uninstall() -> bool:
    """Take the add-on out, and tell whether nothing is left."""
    bpy.ops.preferences.addon_disable(module="longvie")
    disabled = not hasattr(bpy.types.Scene, "longvie")
    with override(areas("VIEW_3D")[0]):
        bpy.ops.preferences.addon_remove(module="longvie")
    return disabled and not (Path(bpy.utils.user_resource("SCRIPTS", path="addons")) / "longvie").exists()


def open_file(path: str) -> Steps:
    with override(areas("VIEW_3D")[0]):
        bpy.ops.wm.open_mainfile(filepath=path, load_ui=False)
    yield from settle()


def preferences() -> Any:
    return bpy.context.preferences.addons["longvie"].preferences


def state() -> Any:
    return sys.modules["longvie.ui.state"].STATE


def areas(kind: str) -> list[Any]:
    return [area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == kind]


def override(area: Any) -> Any:
    window = bpy.context.window_manager.windows[0]
    region = next(region for region in area.regions if region.type == "WINDOW")
    return bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region)


def sidebar() -> Any:
    return next(region for region in areas("VIEW_3D")[0].regions if region.type == "UI")


def turn_to_our_tab() -> None:
    """Control and the wheel over the sidebar's tabs go from one to the next; ours is the last."""
    window, region = bpy.context.window_manager.windows[0], sidebar()
    # Over the tabs: over a field, the wheel would turn the field.
    x, y = region.x + region.width - 8, region.y + region.height - 40
    window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    for _ in range(6):
        window.event_simulate("WHEELDOWNMOUSE", "PRESS", x=x, y=y, ctrl=True)


def photograph(path: Path) -> None:
    """Keep a picture of the whole window."""
    bpy.ops.screen.screenshot(filepath=str(path))


def settle(count: int = 4) -> Steps:
    for _ in range(count):
        yield


def connect() -> Iterator[None]:
    """Press Connect, and wait for the answer."""
    bpy.ops.longvie.connect()
    while not state().probe.over:
        yield


def press_generate(*, resume: bool = False) -> str:
    """Press Generate or Resume, and return what Blender reports where it refuses."""
    try:
        with override(areas("VIEW_3D")[0]):
            bpy.ops.longvie.generate("INVOKE_DEFAULT", resume=resume)
    except RuntimeError as error:
        return str(error)
    return ""


def turn_job(result: dict[str, Any], on_turn: Callable[[Any], None] = lambda job: None) -> Steps:
    """Wait for the end of the job that was begun; `on_turn(job)` is called at every step.

    `longest_s` is the interface's own work between two steps, in seconds of its thread: what other programs take from
    the machine meanwhile is not in it.
    """
    job = state().job
    longest, before = 0.0, time.thread_time()
    while not job.over:
        now = time.thread_time()
        longest, before = max(longest, now - before), now
        on_turn(job)
        yield
    yield from settle()
    result |= {
        "state": job.state.value,
        "longest_s": round(longest, 3),
        "sentence": job.progress.sentence(),
        "error": str(job.error or ""),
        "frames": len(job.folder.frames()),
        "resumable": job.folder.has_point(),
    }


def run(steps: Steps, result: dict[str, Any], path: Path) -> None:
    """Turn the steps until they end, write the result, and leave Blender."""

    def leave() -> None:
        path.write_text(json.dumps(result))
        bpy.ops.wm.quit_blender()

    def step() -> float | None:
        try:
            next(steps)
        except StopIteration:
            leave()
            return None
        except BaseException:
            result["traceback"] = traceback.format_exc()
            leave()
            return None
        return 0.05

    # Persistent: opening a file takes other timers away.
    bpy.app.timers.register(step, first_interval=1.0, persistent=True)
