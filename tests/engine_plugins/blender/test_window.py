"""The add-on in a Blender with a window, under a virtual screen: the panel, the modal operator, the timers.

LONGVIE_WINDOW_MODEL chooses another model than the two; LONGVIE_SCREENSHOTS keeps the pictures of the last one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from in_screen import addon_zip, need_screen, run_in_window
from inside_blender import ROOT, blender_program
from PIL import Image

from longvie_server.drive.server_process import ServerProcess

pytestmark = [pytest.mark.blender, pytest.mark.slow, pytest.mark.timeout(1800)]

SAMPLE = ROOT / "engine_plugins" / "blender" / "sample_shot.py"
# The whole sample: two clips, the second of which is captured while the frames of the first come in.
TICKS, FRAMES = 161, 241
SIZE = (1440, 1000)
MODELS = os.environ.get("LONGVIE_WINDOW_MODEL", "fake:176x320 tiny").split()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sample shot and a still of its first frame."""
    need_screen()
    folder = tmp_path_factory.mktemp("sample")
    # As the README has it, with a relative path.
    command = [blender_program(), "-b", "-P", str(SAMPLE), "--", "shot.blend"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    render = ["-E", "BLENDER_WORKBENCH", "-o", str(folder / "first-####"), "-f", "1"]
    subprocess.run(["xvfb-run", "-a", blender_program(), "-b", str(folder / "shot.blend"), *render], check=True)
    (folder / "first-0001.png").rename(folder / "first.png")
    return folder


@pytest.fixture(scope="module", params=MODELS)
def shown(request: pytest.FixtureRequest, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the script in the window saw."""
    folder = tmp_path_factory.mktemp("window")
    for name in ("shot.blend", "first.png"):
        shutil.copy(sample / name, folder)
    with ServerProcess(request.param, log=folder / "server.log") as server:
        seen = run_in_window(
            "in_window", str(addon_zip(sample / "dist")), server.endpoint, str(folder), folder=folder, size=SIZE
        )
    kept = os.environ.get("LONGVIE_SCREENSHOTS")
    if kept:
        for name in ("generating.png", "window.png"):
            shutil.copy(folder / name, kept)
    return {**seen, "folder": str(folder), "model": request.param}


def test_connect_says_who_is_there(shown) -> None:
    assert shown["connected"].startswith(f"Connected: {shown['model']} (")
    assert shown["offered"] == [shown["model"]]
    if shown["model"] == "tiny":
        assert shown["connected"] == "Connected: tiny (144 x 80, quality final)"


def test_generate_runs_to_its_end(shown) -> None:
    assert shown["done"]["state"] == "done", shown["done"]
    assert shown["done"]["frames"] == TICKS
    assert not shown["done"]["resumable"]
    assert shown["frame_after"] == 17, "the scene stands where the user left it"


def test_the_image_editor_shows_the_newest_frame(shown) -> None:
    assert shown["image_editor"] == ["LongVie frame", f"{TICKS - 1:06d}.png"]


def test_the_edit_is_in_time_with_the_shot(shown) -> None:
    # 241 frames at 24 a second show 161 ticks: the last frame is the last tick's.
    assert shown["strip"] == [FRAMES, "000000.png", f"{TICKS - 1:06d}.png"]


def test_preview_moves_nothing(shown) -> None:
    size, frame = shown["preview"]
    assert size[0] > 0
    assert frame == 17


def test_cancel_stops_and_puts_back(shown) -> None:
    assert shown["cancelled"]["state"] == "cancelled"
    assert shown["frame_after_cancel"] == 17


def test_the_interface_is_never_blocked_for_long(shown) -> None:
    # A slice of ticks, and the window drawn in software.
    assert shown["done"]["longest_s"] < 2.0


def test_the_add_on_leaves_nothing_behind(shown) -> None:
    assert shown["removed"]


def test_libraries_come_out_of_the_zip(shown) -> None:
    for path in shown["libraries"].values():
        assert path.startswith(shown["folder"]) or "dist-packages" in path


def test_the_window_was_seen(shown) -> None:
    for name in ("generating.png", "window.png"):
        with Image.open(Path(shown["folder"]) / name) as picture:
            assert picture.size == SIZE
            assert len(picture.convert("RGB").getcolors(2**24) or []) > 500, "not a black screen"
