"""What a job leaves behind, and what it says: `job_cases.py SERVER FOLDER`. Prints one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
from PIL import Image
from scenes import add_camera, add_cube, empty_scene, keyframe

from bridge.errors import BridgeError
from engine_plugins.blender.longvie.capture import ShotCapture
from engine_plugins.blender.longvie.capture.surfaces import hidden_in_viewport
from engine_plugins.blender.longvie.job import Job
from engine_plugins.blender.longvie.markers import prompts_of
from engine_plugins.blender.longvie.order import ServerAddress, ShotOrder
from engine_plugins.blender.longvie.sampling import Sampling
from engine_plugins.blender.longvie.still import render_still

SERVER, FOLDER = sys.argv[1], Path(sys.argv[2])


def make_scene() -> Any:
    scene = empty_scene(fps=24, frame_end=60)
    cube = add_cube(scene)
    keyframe(cube, "location", {1: (0, 0, 0), 60: (1, 0, 0)})
    add_camera(scene, (0, -6, 2), (0, 0, 0), lens=40.0)
    scene.frame_set(7, subframe=0.25)
    cube.select_set(True)
    return scene


def make_order(name: str, **more: Any) -> ShotOrder:
    first = FOLDER / "first.png"
    Image.new("RGB", (160, 90), (1, 2, 3)).save(first)
    settings = {"prompt": "a cube", "first_frame": first, "sampling": Sampling(1, 60, 24.0), "out": FOLDER / name}
    return ShotOrder(**{**settings, **more})


def make_job(name: str, **more: Any) -> Job:
    return Job(bpy.context.scene, bpy.context.view_layer, address=ServerAddress(SERVER), order=make_order(name, **more))


def turn(job: Job, until: Callable[[], bool]) -> None:
    while not job.over and not until():
        job.tick(0.0)
        job.wait(30.0)


def left_behind(scene: Any) -> dict[str, Any]:
    """Everything of a file that a job may not change: all settings, frame and selection."""

    def settings(holder: Any) -> dict[str, str]:
        names = [p.identifier for p in holder.bl_rna.properties if p.type not in ("POINTER", "COLLECTION")]
        return {name: repr(getattr(holder, name)) for name in names}

    return {
        "scene": settings(scene),
        "render": settings(scene.render),
        "image": settings(scene.render.image_settings),
        "subframe": round(scene.frame_subframe, 6),
        "selected": sorted(thing.name for thing in bpy.context.selected_objects),
        "camera": scene.camera.name,
        "cube": [round(v, 6) for v in scene.objects["Cube"].matrix_world.translation],
        "data": sorted(item.name for group in (bpy.data.objects, bpy.data.meshes) for item in group),
    }


def ended(what: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    scene = make_scene()
    before = left_behind(scene)
    result = what(scene)
    return {**result, "same": before == left_behind(bpy.context.scene)}


def done(scene: Any) -> dict[str, Any]:
    job = make_job("done")
    turn(job, lambda: False)
    return {"state": job.state.value, "frames": len(job.folder.frames()), "progress": job.progress.fraction}


def cancelled(scene: Any) -> dict[str, Any]:
    job = make_job("cancelled")
    turn(job, lambda: job.progress.captured >= 9)
    moved = scene.frame_current
    job.cancel()
    job.join(10.0)
    return {"state": job.state.value, "moved": moved != 7, "error": str(job.error or "")}


def camera_turned_orthographic(scene: Any) -> dict[str, Any]:
    """The user changes the camera while the job runs."""
    job = make_job("orthographic")
    turn(job, lambda: job.progress.captured >= 5)
    scene.camera.data.type = "ORTHO"
    turn(job, lambda: False)
    scene.camera.data.type = "PERSP"
    return {"state": job.state.value, "error": str(job.error)}


def a_bug(scene: Any) -> dict[str, Any]:
    job = make_job("bug")
    turn(job, lambda: job.progress.captured >= 3)
    raised = ""
    original = ShotCapture.tick

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    ShotCapture.tick = broken  # type: ignore[method-assign, assignment]
    try:
        turn(job, lambda: False)
    except RuntimeError as error:
        raised = str(error)
    finally:
        ShotCapture.tick = original  # type: ignore[method-assign]
    return {"state": job.state.value, "raised": raised}


def still(scene: Any) -> dict[str, Any]:
    scene.cycles.use_denoising = False  # Debian's Blender has no denoiser
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.filepath = "//somewhere/else"
    before = left_behind(scene)
    path = render_still(
        scene, bpy.context.view_layer, frame=1, subframe=0.5, engine="CYCLES", path=FOLDER / "still.png"
    )
    with Image.open(path) as image:
        size, form = image.size, image.format
    kept = before == left_behind(scene)
    return {"size": list(size), "format": form, "kept": kept}


def sentences() -> dict[str, str]:
    def refused(change: Callable[[Any], None], **more: Any) -> str:
        scene = make_scene()
        change(scene)
        try:
            make_job("refused", **more)
        except BridgeError as error:
            return str(error)
        return "not refused"

    def no_camera(scene: Any) -> None:
        scene.camera = None

    def orthographic(scene: Any) -> None:
        scene.camera.data.type = "ORTHO"

    def panoramic(scene: Any) -> None:
        scene.camera.data.type = "PANO"

    def no_pixels(scene: Any) -> None:
        scene.render.resolution_x, scene.render.resolution_percentage = 64, 1

    def a_cube_as_camera(scene: Any) -> None:
        scene.camera = scene.objects["Cube"]

    def a_cut(scene: Any) -> None:
        other = scene.camera.copy()
        other.name = "Close-up"
        scene.collection.objects.link(other)
        scene.timeline_markers.new("cut", frame=30).camera = other

    changes = (no_camera, orthographic, panoramic, no_pixels, a_cube_as_camera, a_cut)
    result = {change.__name__: refused(change) for change in changes}
    result["empty_prompt"] = refused(lambda scene: None, prompt=" ")
    result["empty_range"] = _refused_range()
    return result


def _refused_range() -> str:
    try:
        Sampling(9, 8, 24.0)
    except BridgeError as error:
        return str(error)
    return "not refused"


def warnings() -> dict[str, Any]:
    scene = make_scene()
    for name, viewport, render in (("A", True, False), ("B", False, True), ("C", True, True), ("D", False, False)):
        cube = add_cube(scene, name)
        cube.hide_viewport, cube.hide_render = viewport, render
    return {"hidden": hidden_in_viewport(scene, bpy.context.view_layer)}


def markers() -> list[Any]:
    scene = make_scene()
    for name, frame in (("prompt: snow", 31), ("Prompt:  rain ", 4), ("not a prompt", 9), ("prompt: late", 99)):
        scene.timeline_markers.new(name, frame=frame)
    return [list(p) for p in prompts_of(scene, Sampling(1, 60, 24.0))]


def main() -> None:
    cases = (done, cancelled, camera_turned_orthographic, a_bug)
    results: dict[str, Any] = {case.__name__: ended(case) for case in cases}
    results["still"] = still(make_scene())
    results["sentences"] = sentences()
    results["warnings"] = warnings()
    results["markers"] = markers()
    sys.stdout.write("RESULT " + json.dumps(results) + "\n")


main()
