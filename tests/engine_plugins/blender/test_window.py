"""The add-on in a Blender with a window, under a virtual screen: the panel, the modal operator, the timers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from inside_blender import INSIDE, ROOT, blender_program
from PIL import Image

from bridge.errors import InvalidValue
from engine_plugins.blender import build as builder
from longvie_server.drive.server_process import ServerProcess

pytestmark = [pytest.mark.blender, pytest.mark.slow, pytest.mark.timeout(600)]

SAMPLE = ROOT / "engine_plugins" / "blender" / "sample_shot.py"
# Two clips: the last ticks are captured while the first clip's frames come in.
TICKS, FRAME_END = 97, 145


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the script in the window saw. Its screenshots are kept where LONGVIE_SCREENSHOTS says."""
    program = blender_program()
    if not program or not shutil.which("xvfb-run"):
        pytest.skip("needs a blender program in LONGVIE_BLENDER, and xvfb-run")
    folder = tmp_path_factory.mktemp("window")
    try:
        zips = builder.build(folder / "dist", platforms=("linux-x64",))
    except InvalidValue as error:
        pytest.skip(f"no package index: {error}")
    blend = folder / "shot.blend"
    subprocess.run([program, "-b", "-P", str(SAMPLE), "--", str(blend)], check=True, capture_output=True)
    Image.new("RGB", (640, 352), (90, 110, 130)).save(folder / "first.png")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for name in ("CONFIG", "SCRIPTS", "DATAFILES"):
        environment[f"BLENDER_USER_{name}"] = str(folder / "user" / name.lower())
    model = os.environ.get("LONGVIE_WINDOW_MODEL", "fake:176x320")
    with ServerProcess(model, log=folder / "server.log") as server:
        result = subprocess.run(
            [
                # `timeout` ends Blender and the screen as well, where they hang.
                *(
                    "timeout",
                    "-k",
                    "5",
                    "500",
                    "xvfb-run",
                    "-a",
                    "-s",
                    "-screen 0 1280x720x24",
                    program,
                    "--factory-startup",
                ),
                *("--enable-event-simulate", "-p", "0", "0", "1280", "720", "-P", str(INSIDE / "in_window.py"), "--"),
                *(str(zips.addon), server.endpoint, str(blend), str(folder), str(TICKS), str(FRAME_END)),
            ],
            capture_output=True,
            text=True,
            env=environment,
            timeout=540,
        )
    answer = folder / "result.json"
    assert answer.exists(), result.stdout + result.stderr
    kept = os.environ.get("LONGVIE_SCREENSHOTS")
    if kept:
        for picture in folder.glob("*ing.png"), folder.glob("window.png"):
            for path in picture:
                shutil.copy(path, kept)
    seen: dict[str, Any] = json.loads(answer.read_text())
    assert "traceback" not in seen, seen["traceback"]
    return {**seen, "folder": str(folder)}


def test_connect_says_who_is_there(shown) -> None:
    assert shown["connected"].startswith("Connected: ")


def test_generate_runs_to_its_end(shown) -> None:
    assert shown["done"]["state"] == "done", shown["done"]
    assert shown["frames"] == TICKS
    assert shown["frame_after"] == 17, "the scene stands where the user left it"


def test_the_image_editor_shows_the_newest_frame(shown) -> None:
    assert shown["image_editor"] == ["LongVie frame", f"{TICKS - 1:06d}.png"]


def test_the_edit_is_in_time_with_the_shot(shown) -> None:
    # 145 frames at 24 a second show 97 ticks: the last frame is the last tick's.
    assert shown["strip"] == [FRAME_END, "000000.png", f"{TICKS - 1:06d}.png"]


def test_preview_moves_nothing(shown) -> None:
    size, frame = shown["preview"]
    assert size[0] > 0
    assert frame == 17


def test_a_refusal_is_a_sentence_in_the_panel(shown) -> None:
    assert shown["message"].startswith("camera type: only perspective cameras can be captured")


def test_cancel_stops_and_puts_back(shown) -> None:
    assert shown["cancelled"]["state"] == "cancelled"
    assert shown["frame_after_cancel"] == 17


def test_the_interface_is_never_blocked_for_long(shown) -> None:
    # One tick of the sample, in software and beside other tests; the figure for a machine at rest is in the README.
    assert shown["done"]["longest_s"] < 2.0


def test_the_add_on_leaves_nothing_behind(shown) -> None:
    assert shown["disabled"]
    assert shown["removed"]


def test_libraries_come_out_of_the_zip(shown) -> None:
    for path in shown["libraries"].values():
        assert path.startswith(shown["folder"]) or "dist-packages" in path


def test_the_window_was_seen(shown) -> None:
    for name in ("generating.png", "window.png"):
        with Image.open(Path(shown["folder"]) / name) as picture:
            assert picture.size == (1280, 720)
            assert len(picture.convert("RGB").getcolors(2**24) or []) > 500, "not a black screen"
