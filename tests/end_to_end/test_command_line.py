"""The command `longvie`, as people run it: real processes, real folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from bridge.recording import Recording

SMALL = "fake:48x80"


def longvie(*arguments: str, cwd: Path, expect: int = 0) -> str:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    result = subprocess.run(
        [sys.executable, "-m", "longvie_server", *arguments], cwd=cwd, capture_output=True, text=True, env=environment
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    longvie("demo", "--model", SMALL, "--clips", "2", "--out", "out", cwd=folder)
    return folder / "out"


def test_the_demo_leaves_a_whole_folder(demo: Path) -> None:
    assert sorted(path.name for path in demo.iterdir()) == [
        "frames",
        "server.log",
        "session.mcap",
        "side_by_side.mp4",
        "strip.png",
        "summary.json",
        "video.mp4",
    ]
    assert sorted(path.name for path in (demo / "frames").iterdir()) == [f"{i:06d}.png" for i in range(161)]
    summary = json.loads((demo / "summary.json").read_text())
    assert (summary["frames"], summary["clips"], summary["model"]) == (161, 2, SMALL)
    assert summary["frames_per_second"] > 0
    assert {"control", "encode", "denoise", "decode", "total"} <= set(summary["seconds_per_stage"])
    assert {"seam_over_motion", "colour_drift", "sharpness_drift"} <= set(summary["continuity"])


def test_the_videos_play_and_show_the_frames(demo: Path) -> None:
    with av.open(str(demo / "video.mp4")) as video:
        images = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(images) == 161
    assert images[0].shape == (48 * 8, 80 * 8, 3)
    png = np.asarray(Image.open(demo / "frames" / "000100.png"))
    assert np.abs(images[100][4::8, 4::8].astype(int) - png).mean() < 12, "lossy, but the same picture"
    with av.open(str(demo / "side_by_side.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 161


def test_the_recording_holds_everything(demo: Path) -> None:
    recording = Recording.open(demo / "session.mcap")
    assert (recording.tick_count, recording.frame_count) == (161, 161)
    assert sum(1 for _ in recording.references()) == 161
    assert [state.clip for state in recording.states()] == [1, 2]


def test_an_earlier_run_is_not_overwritten_by_accident(demo: Path) -> None:
    text = longvie("demo", "--model", SMALL, "--clips", "1", "--out", str(demo), cwd=demo.parent, expect=2)
    assert "holds frames already" in text
    assert "--force" in text


def test_render_again_with_another_prompt(demo: Path, tmp_path: Path) -> None:
    longvie("render", str(demo / "session.mcap"), "--prompt", "another", "--out", "again", cwd=tmp_path)
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert summary["frames"] == 161
    assert summary["prompt"] == "another"
    near_m, far_m = summary["depth_range"]
    assert 0 < near_m < far_m, "measured over the whole recording"


def test_the_doctor_finds_a_sound_stream_sound(demo: Path) -> None:
    text = longvie("doctor", "--recording", str(demo / "session.mcap"), cwd=demo)
    assert "ticks are sound" in text
    assert "error" not in text


def test_the_doctor_cannot_reach_a_server(tmp_path: Path) -> None:
    text = longvie("doctor", "--server", "tcp://127.0.0.1:9", cwd=tmp_path, expect=1)
    assert "no server answered within 5 s" in text
    assert "Is `longvie serve` running there" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--model", "sora"], "no world model has this name"),
        (["serve", "--zeromq", "tcp://0.0.0.0:0", "--model", "fake"], "--insecure"),
        (["render", "nowhere.mcap"], "nowhere.mcap"),
        (["demo", "--model", SMALL, "--family", "moon"], "moon"),
        (["eval", "--rows", "nonsense", "--model", SMALL], "is no row"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    text = longvie(*arguments, cwd=tmp_path, expect=2)
    assert words in text
    assert "fix" in text
    assert "Traceback" not in text


def test_a_server_that_cannot_start_says_why_to_the_program_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "longvie_server", "serve", "--model", "nowhere/model", "--until-stdin-closes"]
    # Its standard input stays open all the while: the thread that waits there must not hold up its end.
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        said = server.stderr.read()
        assert server.wait() == 2
    assert "there is no such checkpoint folder (got nowhere" in said
    assert "Fatal Python error" not in said


def test_help_teaches(tmp_path: Path) -> None:
    text = longvie("--help", cwd=tmp_path)
    for command in ("demo", "serve", "render", "train", "eval", "bench", "doctor"):
        assert command in text
    assert "first video" in longvie("demo", "--help", cwd=tmp_path)
