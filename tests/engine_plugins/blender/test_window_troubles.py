"""What may go wrong around a shot, in a Blender with a window: each is a sentence with its remedy, and nothing is lost.

Servers that refuse, vanish and are started anew; undo, and another file, in the middle of a job; stills of each engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
from in_screen import addon_zip, need_screen, run_in_window
from inside_blender import INSIDE, ROOT, bpy_environment, script_command
from PIL import Image

from bridge.codecs.msgpack_codec import decode_client_message, encode
from bridge.messages import PROTOCOL_VERSION, Hello, Limits, Welcome
from longvie_server.drive.server_process import ServerProcess

pytestmark = [pytest.mark.blender, pytest.mark.slow, pytest.mark.timeout(2400)]

# 145 frames of 24 a second: a clip, and 16 ticks of the next.
FPS, FRAME_END, TICKS = 24, 145, 97
LONG_END = 305
"""Of the shot that is undone in the middle, as `inside/window_troubles.py` sets it."""
FLAGS = ("--json", "--until-stdin-closes")


@contextmanager
def server_of_version(version: int) -> Iterator[str]:
    """Answer every hello with a welcome of another version of the protocol; yields the endpoint."""
    context = zmq.Context.instance()
    router, stop = context.socket(zmq.ROUTER), context.socket(zmq.PAIR)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    stop.bind(f"inproc://stop-{version}")

    def serve() -> None:
        stopped = context.socket(zmq.PAIR)
        stopped.connect(f"inproc://stop-{version}")
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(stopped, zmq.POLLIN)
        while stopped not in dict(poller.poll()):
            peer, *parts = router.recv_multipart()
            assert isinstance(decode_client_message(parts, Limits()), Hello)
            router.send_multipart([peer, *encode(Welcome(version))])
        stopped.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        stop.send(b"")
        thread.join()
        stop.close()
        router.close(linger=0)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    need_screen()
    folder = tmp_path_factory.mktemp("troubles")
    for name in ("shot", "other"):
        made = script_command(INSIDE / "shots.py", str(FPS), str(FRAME_END), str(folder / f"{name}.blend"))
        subprocess.run(made, check=True, capture_output=True, env=bpy_environment())
    Image.new("RGB", (160, 90), (30, 60, 90)).save(folder / "first.png")
    with (
        ServerProcess("fake:48x80", log=folder / "token.log", flags=("--token", "right")) as token,
        server_of_version(PROTOCOL_VERSION - 1) as older,
        server_of_version(PROTOCOL_VERSION + 1) as newer,
    ):
        servers = {
            "token": token.endpoint,
            "older": older,
            "newer": newer,
            "command": [sys.executable, *["-m", "longvie_server", "serve", "--model", "fake:48x80,delay=2"], *FLAGS],
            "environment": {"PYTHONPATH": str(ROOT)},
        }
        (folder / "servers.json").write_text(json.dumps(servers))
        return run_in_window(
            "window_troubles",
            str(addon_zip(folder / "dist")),
            str(folder),
            folder=folder,
            size=(640, 480),
        )


def failed_with(case: dict[str, Any], sentence: str) -> bool:
    assert case["state"] == "failed", case
    assert sentence in case["error"], case["error"]
    # The panel shows the job's sentence, which ends with the error.
    assert case["sentence"].endswith(case["error"])
    return True


def test_a_wrong_token_is_a_sentence_and_the_right_one_connects(seen) -> None:
    sentence = "token: is wrong. Give the token that the server was started with, in the panel or with --token."
    assert failed_with(seen["token"], sentence)
    assert seen["token"]["connect"] == sentence
    assert seen["right token"].startswith("Connected: fake:48x80")


@pytest.mark.parametrize(("which", "version"), [("older", PROTOCOL_VERSION - 1), ("newer", PROTOCOL_VERSION + 1)])
def test_another_version_is_a_sentence(seen, which: str, version: int) -> None:
    assert failed_with(seen[which], f"the server speaks version {version}, this client")
    assert "Update the older of the two: the server (pip install -U longvie-bridge), or this" in seen[which]["connect"]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("no camera", "scene.camera: the scene has no camera (got None). Add one (Shift A, Camera)"),
        ("orthographic", "camera type: only perspective cameras can be captured (got Camera, ortho). Set the camera's"),
        ("no pixels", "render resolution: the render has no pixels (got 40 x 90 at 1 %). Raise Resolution"),
    ],
)
def test_a_scene_that_cannot_be_captured_is_refused_in_the_panel(seen, case: str, sentence: str) -> None:
    assert seen[case]["message"].startswith(sentence)
    assert sentence in seen[case]["refused"], "Blender reports it as well"


def test_a_model_that_is_not_served_is_refused_with_those_that_are(seen) -> None:
    assert failed_with(seen["model"], "model: is not offered by this server (got longvie9). Choose one of fake:48x80.")


def test_a_server_that_vanishes_and_resume_on_another_one(seen) -> None:
    vanished, resumed = seen["vanished"], seen["vanished resumed"]
    assert "the server is gone; trying to reach it again" in vanished["notes"]
    assert failed_with(vanished, "the server has been gone for 2 s")
    assert "Start it again, then press Resume: the frames that came are kept." in vanished["error"]
    assert vanished["resumable"]
    assert 81 <= vanished["frames"] < TICKS
    assert (resumed["state"], resumed["frames"], resumed["resumable"]) == ("done", TICKS, False)


def test_a_server_that_is_started_anew_and_resume_on_it(seen) -> None:
    restarted, resumed = seen["restarted"], seen["restarted resumed"]
    assert failed_with(restarted, "The server was started anew, or has forgotten the shot: press Resume")
    assert restarted["resumable"]
    assert (resumed["state"], resumed["frames"]) == ("done", TICKS)


def test_control_z_does_not_reach_the_scene_while_a_job_runs(seen) -> None:
    assert seen["control z"]["pressed"] > 0
    assert (seen["control z"]["state"], seen["control z"]["frames"]) == ("done", TICKS)


def test_undo_from_the_menu_ends_the_job_with_a_sentence(seen) -> None:
    assert failed_with(seen["undo"], "undo: an undo or redo would have changed the scene in the middle of its shot")
    assert seen["undo"]["resumable"]
    assert (seen["undo resumed"]["state"], seen["undo resumed"]["frames"]) == ("done", LONG_END), "every frame"


def test_another_file_ends_the_job_and_the_next_one_works(seen) -> None:
    assert seen["loaded"] == {"state": "cancelled", "file": "other.blend"}
    assert (seen["after loading"]["state"], seen["after loading"]["frames"]) == ("done", TICKS)


@pytest.mark.parametrize("first_frame", ["eevee", "workbench", "render"])
def test_first_frames_from_blender_itself(seen, first_frame: str) -> None:
    assert (seen[first_frame]["refused"], seen[first_frame]["state"]) == ("", "done")
    assert seen[first_frame]["size"] == [160, 90]


def test_the_scene_always_stands_where_the_user_left_it(seen) -> None:
    for name, case in seen.items():
        if isinstance(case, dict) and "frame_after" in case:
            assert case["frame_after"] == 7, name
    assert seen["removed"]
