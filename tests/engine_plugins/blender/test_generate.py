"""Shots through Blender without a window, a real server process and real sockets: the fake paints the depth it got."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inside_blender import ROOT, bpy_environment, generate_command
from numpy.typing import NDArray
from PIL import Image

import bridge
from longvie_server.control.dense import encode_dense
from longvie_server.drive.server_process import ServerProcess

pytestmark = pytest.mark.blender

GENERATE = ROOT / "engine_plugins" / "blender" / "longvie" / "generate.py"
MODEL = "fake:48x80"
# As inside/shots.py makes it.
FAR, SPEED = 6.0, 0.35
RANGE = bridge.DepthRange(2.4, 6.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(MODEL, log=tmp_path_factory.mktemp("server") / "log") as process:
        yield process


@pytest.fixture(scope="module")
def shot(run_inside, tmp_path_factory: pytest.TempPathFactory):
    """Return the .blend file of a wall that comes nearer: `shot(fps, frame_end)`."""
    folder = tmp_path_factory.mktemp("shots")

    def make(fps: int, frame_end: int) -> Path:
        path = folder / f"{fps}_{frame_end}.blend"
        assert run_inside("shots", str(fps), str(frame_end), str(path))["depth"] == pytest.approx(FAR)
        return path

    return make


@pytest.fixture(scope="module")
def first_frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("first") / "first.png"
    Image.new("RGB", (160, 90), (30, 60, 90)).save(path)
    return path


def command(server: str, out: Path, blend: Path, first_frame: Path, *more: str) -> list[str]:
    return [
        *generate_command(GENERATE, "--blend", str(blend), "--server", server, "--out", str(out)),
        *("--prompt", "a wall", "--first-frame", str(first_frame)),
        *("--depth-range", str(RANGE.near_m), str(RANGE.far_m), "--reconnect-timeout", "1", *more),
    ]


def generate(*arguments: object, expect: int = 0, more: tuple[str, ...] = ()) -> str:
    result = subprocess.run(
        command(*arguments, *more),  # type: ignore[arg-type]
        capture_output=True,
        text=True,
        env=bpy_environment(),
        timeout=200,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout


def greys(out: Path) -> NDArray[np.float64]:
    """Return what the fake painted for the wall, per frame, from two corners of the picture."""
    paths = sorted(out.glob("*.png"))
    assert [path.name for path in paths] == [f"{i:06d}.png" for i in range(len(paths))]
    images = [np.asarray(Image.open(path)) for path in paths]
    assert {image.shape for image in images} == {(48, 80, 3)}
    corners = np.array([[image[0, 0, 0], image[-1, -1, 0]] for image in images], dtype=np.float64)
    np.testing.assert_allclose(corners[:, 0], corners[:, 1], atol=1)
    return corners[:, 0]


def wall_greys(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    depth = (FAR - SPEED * seconds).astype(np.float32)
    return encode_dense(depth[None], RANGE)[0].astype(np.float64)


def check(out: Path, seconds: NDArray[np.float64]) -> None:
    shown = greys(out)
    assert len(shown) == len(seconds)
    difference = shown - wall_greys(seconds)
    assert np.abs(difference).max() <= 1, "float32 against the formula: at most one step of grey"
    # One tick is more than one step of grey on average, so a shot that slips by a tick is seen.
    slip = np.abs(wall_greys(seconds) - wall_greys(seconds + 1 / 16)).mean()
    assert slip > 0.8
    assert np.abs(difference).mean() < 0.2 * slip


@pytest.mark.parametrize("fps", [16, 24, 25, 30, 60])
def test_frame_i_shows_the_moment_i_sixteenths(fps: int, server, shot, first_frame: Path, tmp_path: Path) -> None:
    blend = shot(fps, 6 * fps + 1)
    generate(server.endpoint, tmp_path / "out", blend, first_frame)
    check(tmp_path / "out", np.arange(6 * 16 + 1) / 16)


@pytest.mark.parametrize("fps", [12, 24])
def test_every_frame_shows_its_scene_frame(fps: int, server, shot, first_frame: Path, tmp_path: Path) -> None:
    blend = shot(fps, 8 * fps + 1)
    text = generate(server.endpoint, tmp_path / "out", blend, first_frame, more=("--every-frame",))
    assert "one per scene frame: played at 16 fps" in text
    check(tmp_path / "out", np.arange(8 * fps + 1) / fps)


def test_a_part_of_the_range(server, shot, first_frame: Path, tmp_path: Path) -> None:
    generate(server.endpoint, tmp_path / "out", shot(24, 145), first_frame, more=("--start", "25", "--end", "130"))
    # 105 frames at 24 a second are 70 ticks; they begin one second into the shot.
    check(tmp_path / "out", 1.0 + np.arange(71) / 16)


def test_pad_shows_everything_between_bars(server, shot, first_frame: Path, tmp_path: Path) -> None:
    generate(server.endpoint, tmp_path / "out", shot(24, 25), first_frame, more=("--fit", "pad"))
    frames = np.array([np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").glob("*.png"))])
    # 160 x 90 in 80 x 48: 45 rows, below one bar of one row and above one of two. Nothing is hit there: white.
    assert frames.shape == (17, 48, 80, 3)
    bars = np.isin(np.arange(48), (0, 46, 47))
    assert (frames[:, bars, :, 0] == 255).all()
    wall = wall_greys(np.arange(17) / 16)
    assert np.abs(frames[:, ~bars][:, [0, -1]][:, :, [0, -1], 0] - wall[:, None, None]).max() <= 1


def test_a_server_that_vanishes_and_a_resume(shot, first_frame: Path, tmp_path: Path) -> None:
    out, blend = tmp_path / "out", shot(60, 1201)
    first = ServerProcess(MODEL, log=tmp_path / "first.log")
    try:
        running = subprocess.Popen(
            command(first.endpoint, out, blend, first_frame, "--every-frame", "--end", "601"),
            stdout=subprocess.PIPE,
            text=True,
            env=bpy_environment(),
        )
        assert running.stdout is not None
        for line in running.stdout:
            progress = re.match(r"longvie: (\d+) of 601 frames", line)
            if progress and int(progress[1]) > 81:
                os.kill(first.pid, signal.SIGKILL)
                break
    finally:
        first.stop()
    rest = running.stdout.read()
    running.stdout.close()
    assert running.wait(timeout=60) == 1
    assert "the server has been gone for 1 s" in rest
    assert "Start it again, then press Resume" in rest
    assert "run again with --resume" in rest
    kept = len(list(out.glob("*.png")))
    assert 81 < kept < 601
    assert (out / "resume.npz").exists()
    with ServerProcess(MODEL, log=tmp_path / "second.log") as second:
        more = ("--every-frame", "--resume", "--end", "601")
        text = generate(second.endpoint, out, blend, first_frame, expect=2, more=(*more, "--seed", "8"))
        assert "seed: was '0' when this shot was begun" in text
        generate(second.endpoint, out, blend, first_frame, more=more)
    assert not (out / "resume.npz").exists()
    assert len(greys(out)) == 601
    difference = greys(out) - wall_greys(np.arange(601) / 60)
    assert np.abs(difference).max() <= 1


def test_a_wrong_token_is_a_sentence(shot, first_frame: Path, tmp_path: Path) -> None:
    with ServerProcess(MODEL, log=tmp_path / "log", flags=("--token", "right")) as server:
        text = generate(
            server.endpoint, tmp_path / "out", shot(24, 25), first_frame, expect=1, more=("--token", "wrong")
        )
    assert "error: token" in text


def test_nobody_there_is_a_sentence(shot, first_frame: Path, tmp_path: Path) -> None:
    text = generate(
        "tcp://127.0.0.1:9", tmp_path / "out", shot(24, 25), first_frame, expect=1, more=("--timeout", "0.5")
    )
    assert "no server answered within 0.5 s" in text
    assert "Is `longvie serve` running there" in text
