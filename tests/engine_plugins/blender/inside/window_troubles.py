"""What may go wrong around a shot, in a Blender with a window: `-P window_troubles.py -- ZIP FOLDER`.

FOLDER holds shot.blend, other.blend, first.png and servers.json: the endpoints of servers that refuse, and the command
and environment of `longvie serve`, so that the script can end a server in the middle of a shot and start it anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
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
    preferences,
    press_generate,
    run,
    settle,
    state,
    turn_job,
    turn_to_our_tab,
    uninstall,
)

ZIP, FOLDER = sys.argv[sys.argv.index("--") + 1 :]
SERVERS = json.loads((Path(FOLDER) / "servers.json").read_text())
RESULT: dict[str, Any] = {}
LONG_END = 305


class Server:
    """A server that the script itself starts and ends."""

    def __init__(self, endpoint: str = "tcp://127.0.0.1:0") -> None:
        command = [*SERVERS["command"], "--zeromq", endpoint]
        environment = {**os.environ, **SERVERS["environment"]}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        assert self._process.stdout is not None
        self.endpoint: str = json.loads(self._process.stdout.readline())["zeromq"]

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def shot() -> Any:
    return bpy.data.scenes[0].longvie


def set_up(name: str) -> None:
    scene = bpy.data.scenes[0]
    scene.longvie.prompt, scene.longvie.out = "a wall", f"//{name}/"
    scene.longvie.first_frame, scene.longvie.first_frame_path = "IMAGE", "//first.png"
    scene.frame_set(7)


def generate(name: str, on_turn: Callable[[Any], None] = lambda job: None, *, resume: bool = False) -> Steps:
    result = RESULT[f"{name} resumed" if resume else name] = {}
    if not resume:
        set_up(name)
    result["refused"] = press_generate(resume=resume)
    if result["refused"]:
        result["message"] = state().message
        yield from settle(2)  # the panel draws the sentence
        return
    yield from turn_job(result, on_turn)
    result["frame_after"] = bpy.data.scenes[0].frame_current


def servers_that_refuse() -> Steps:
    for name in ("token", "older", "newer"):
        preferences().url, preferences().token = SERVERS[name], "wrong"
        yield from connect()
        yield from generate(name)
        RESULT[name]["connect"] = state().probe.sentence()
    preferences().url, preferences().token = SERVERS["token"], "right"
    yield from connect()
    RESULT["right token"] = state().probe.sentence()
    preferences().token = ""


def refused_here(server: Server) -> Steps:
    """What is seen before anything is sent, or as soon as the server has said who it is."""
    preferences().url = server.endpoint
    scene = bpy.data.scenes[0]
    camera = scene.camera
    scene.camera = None
    yield from generate("no camera")
    scene.camera = camera
    camera.data.type = "ORTHO"
    yield from generate("orthographic")
    camera.data.type = "PERSP"
    scene.render.resolution_percentage, before = 1, (scene.render.resolution_x, scene.render.resolution_percentage)
    scene.render.resolution_x = 40
    yield from generate("no pixels")
    scene.render.resolution_x, scene.render.resolution_percentage = before
    shot().model = "longvie9"
    yield from generate("model")
    shot().model = ""


def a_server_that_vanishes(server: Server) -> Steps:
    """Its second clip takes seconds: it is ended in the middle of it."""
    preferences().url, preferences().patience_s = server.endpoint, 2.0
    notes: list[str] = []

    def end_it(job: Any) -> None:
        if job.folder.has_point():
            server.kill()
        notes.append(job.progress.note)

    yield from generate("vanished", end_it)
    RESULT["vanished"]["notes"] = sorted(set(notes))
    other = Server()
    preferences().url = other.endpoint
    yield from generate("vanished", resume=True)
    other.kill()


def a_server_that_is_started_anew() -> Steps:
    servers = [Server()]
    preferences().url, preferences().patience_s = servers[0].endpoint, 60.0

    def start_anew(job: Any) -> None:
        if job.folder.has_point() and len(servers) == 1:
            servers[0].kill()
            servers.append(Server(servers[0].endpoint))

    yield from generate("restarted", start_anew)
    yield from generate("restarted", resume=True)
    servers[-1].kill()


def undo_and_other_files(server: Server) -> Steps:
    preferences().url = server.endpoint
    window, (view, *_) = bpy.context.window_manager.windows[0], areas("VIEW_3D")
    x, y = view.x + view.width // 3, view.y + view.height // 2
    pressed: list[int] = []

    def press_control_z(job: Any) -> None:
        if job.progress.captured and len(pressed) < 5:
            pressed.append(job.progress.captured)
            for kind in ("PRESS", "RELEASE"):
                window.event_simulate("Z", kind, x=x, y=y, ctrl=True)

    window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
    yield from generate("control z", press_control_z)
    RESULT["control z"]["pressed"] = len(pressed)

    undone: list[bool] = []

    def undo(job: Any) -> None:
        if job.folder.has_point() and not undone:
            undone.append(True)
            with override(view):
                bpy.ops.ed.undo()

    set_up("undo")
    before = bpy.data.scenes[0].frame_end
    # More ticks than the server takes before its first clips are done: some are still to be captured then.
    shot().sampling, bpy.data.scenes[0].frame_end = "EVERY_FRAME", LONG_END
    for _ in range(2):
        bpy.ops.ed.undo_push(message="The panel's settings")
    yield from generate("undo", undo)
    yield from generate("undo", resume=True)
    shot().sampling, bpy.data.scenes[0].frame_end = "REAL_TIME", before
    RESULT["loaded"] = {}
    set_up("loaded")
    press_generate()
    job = state().job
    while job.progress.captured < 5:
        yield
    yield from open_file(str(Path(FOLDER) / "other.blend"))
    RESULT["loaded"] = {"state": job.state.value, "file": Path(bpy.data.filepath).name}
    yield from generate("after loading")


def first_frames(server: Server) -> Steps:
    """Stills by the engines that a window has, and what the Render Result holds."""
    preferences().url = server.endpoint
    scene = bpy.data.scenes[0]
    set_up("eevee")
    for name, engine in (("eevee", "EEVEE"), ("workbench", "WORKBENCH")):
        set_up(name)
        shot().first_frame, shot().still_engine = "STILL", engine
        RESULT[name] = {"refused": press_generate()}
        yield from turn_job(RESULT[name])
        RESULT[name]["size"] = _picture(Path(bpy.app.tempdir) / "longvie_first_frame.png")
    set_up("render")
    shot().first_frame = "RENDER"
    scene.render.engine = "BLENDER_WORKBENCH"
    bpy.ops.render.render()
    RESULT["render"] = {"refused": press_generate()}
    yield from turn_job(RESULT["render"])
    RESULT["render"]["size"] = _picture(Path(bpy.app.tempdir) / "longvie_first_frame.png")


def _picture(path: Path) -> list[int]:
    image = bpy.data.images.load(str(path))
    size = list(image.size)
    bpy.data.images.remove(image)
    return size


def steps() -> Steps:
    install(ZIP)
    yield from open_file(str(Path(FOLDER) / "shot.blend"))
    areas("VIEW_3D")[0].spaces.active.show_region_ui = True
    yield from settle()
    turn_to_our_tab()
    yield from servers_that_refuse()
    server = Server()
    yield from refused_here(server)
    yield from a_server_that_vanishes(server)
    yield from a_server_that_is_started_anew()
    server = Server()
    yield from undo_and_other_files(server)
    yield from first_frames(server)
    server.kill()
    RESULT["removed"] = uninstall()


run(steps(), RESULT, Path(FOLDER) / "result.json")
