"""`longvie record --blend`: Blender in the background to a recording, with nothing installed in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inside_blender import ROOT, blender_program, bpy_environment, bpy_python, generate_command
from PIL import Image

from bridge.errors import InvalidValue
from bridge.geometry.fit import Fit
from bridge.recording import PromptEvent, Recording
from longvie_server.drive.record import RecordRequest, record_blend
from longvie_server.drive.render import RenderRequest, render_recording
from longvie_server.drive.server_process import ServerProcess

GENERATE = ROOT / "engine_plugins" / "blender" / "longvie" / "generate.py"
# 145 frames of 24 a second: a clip, and 16 ticks of the next.
FPS, FRAME_END, TICKS = 24, 145, 97


@pytest.fixture(scope="module")
def blend(run_inside, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blend") / "shot.blend"
    run_inside("shots", str(FPS), str(FRAME_END), str(path))
    return path


@pytest.fixture(scope="module")
def first_frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("first") / "first.png"
    Image.new("RGB", (160, 90), (30, 60, 90)).save(path)
    return path


@pytest.fixture(scope="module")
def blender() -> str:
    return blender_program() or bpy_python()


@pytest.fixture(scope="module")
def recorded(blend: Path, first_frame: Path, blender: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the recording that the command line makes."""
    folder = tmp_path_factory.mktemp("recorded")
    command = [sys.executable, "-m", "longvie_server", "record", "--blend", str(blend), "--prompt", "a wall"]
    command += ["--blender", blender, "--first-frame", str(first_frame), "--size", "80x48", "--seed", "3"]
    # Blender is given no path to any library: it needs none.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [*command, "--model", "fake:48x80"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip() == f"shot.mcap: {TICKS} ticks. Render them: longvie render shot.mcap"
    assert "97 frames at 16 fps, sampled from the scene's 24 fps" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["shot.mcap"]
    return folder / "shot.mcap"


@pytest.mark.blender
def test_the_recording_is_the_shot(recorded: Path) -> None:
    recording = Recording.open(recorded)
    header = recording.header
    assert (recording.tick_count, recording.frame_count) == (TICKS, 0)
    assert (header.prompt, header.seed, header.model) == ("a wall", 3, "fake:48x80")
    assert (header.fit, header.depth_range) == (Fit.CROP, None)
    assert header.first_frame[0, 0].tolist() == [30, 60, 90]
    assert [event for event in recording.events() if isinstance(event, PromptEvent)] == [PromptEvent(20, "rain")]
    ticks = list(recording.ticks())
    # The wall is 6 m away at first, and comes 0.35 m nearer every second.
    assert ticks[0].depth[0, 0] == pytest.approx(6.0, abs=1e-5)
    assert ticks[96].depth[0, 0] == pytest.approx(6.0 - 0.35 * 6.0, abs=1e-5)
    assert [tick.index for tick in ticks if tick.seeds is not None] == [0, 80]
    assert [tick.index for tick in ticks if tick.tracks is None] == [0]


@pytest.mark.blender
def test_its_video_is_that_of_a_live_session(recorded: Path, blend: Path, first_frame: Path, tmp_path: Path) -> None:
    with ServerProcess("fake:48x80", log=tmp_path / "log") as server:
        live = generate_command(GENERATE, "--blend", str(blend), "--server", server.endpoint, "--out", str(tmp_path))
        live += ["--prompt", "a wall", "--first-frame", str(first_frame), "--seed", "3"]
        subprocess.run(live, check=True, capture_output=True, env=bpy_environment())
        render_recording(
            Recording.open(recorded),
            RenderRequest(depth_range="recorded"),
            out=tmp_path / "rendered",
            force=False,
            model="",
            server_url=server.endpoint,
            token="",
            on_progress=lambda *_: None,
        )
    for index in range(TICKS):
        name = f"{index:06d}.png"
        pictures = [np.asarray(Image.open(folder / name)) for folder in (tmp_path, tmp_path / "rendered" / "frames")]
        np.testing.assert_array_equal(*pictures, err_msg=name)


@pytest.mark.blender
def test_a_shot_that_cannot_be_captured_is_blenders_own_sentence(
    blend: Path, first_frame: Path, blender: str, tmp_path: Path
) -> None:
    request = RecordRequest(blend, "a wall", shot_arguments=("--start=9", "--end=8", f"--first-frame={first_frame}"))
    with pytest.raises(InvalidValue, match=r"frame range: ends before it starts \(got 9 to 8\)\. Set Start and End"):
        record_blend(request, tmp_path / "shot.mcap", blender=blender)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    blend, out = tmp_path / "shot.blend", tmp_path / "shot.mcap"
    with pytest.raises(InvalidValue, match=r"--blend: is not there"):
        record_blend(RecordRequest(blend, "a wall"), out)
    blend.write_bytes(b"BLENDER")
    with pytest.raises(InvalidValue, match=r"--blender: there is no such program \(got /nowhere/blender\)"):
        record_blend(RecordRequest(blend, "a wall"), out, blender="/nowhere/blender")
    out.write_bytes(b"mine")
    with pytest.raises(InvalidValue, match=r"--out: is there already .* Choose another name, or add --force\."):
        record_blend(RecordRequest(blend, "a wall"), out)
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize(("ends", "code"), [("true", 0), ("false", 1)])
def test_a_program_that_is_no_blender(ends: str, code: int, tmp_path: Path) -> None:
    blend = tmp_path / "shot.blend"
    blend.write_bytes(b"BLENDER")
    with pytest.raises(InvalidValue, match=rf"--blender: Blender ended with exit code {code}"):
        record_blend(RecordRequest(blend, "a wall"), tmp_path / "shot.mcap", blender=ends)
    assert not (tmp_path / "shot.mcap").exists()
