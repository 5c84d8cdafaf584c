"""The reference's own inputs, in and out: the same controls either way, and every clip where it belongs."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from shots import FIRST_FRAME, PROMPT
from typer.testing import CliRunner

import bridge
from bridge.errors import InvalidValue
from bridge.recording import Recording
from bridge.tick import CLIP_TICKS
from engine_plugins.builtin import BuiltinEngine, make_scene
from longvie_server.cli.app import app
from longvie_server.conditions import read_conditions, read_controls, read_first_frame
from longvie_server.drive.conditions import render_conditions
from longvie_server.drive.export import export_recording
from longvie_server.drive.render import whole_range
from longvie_server.output.preview import ControlPreview
from longvie_server.output.video import VideoWriter
from longvie_server.server import BridgeServer

HEIGHT, WIDTH = 48, 80


def grey_of(clip: int, frame: int) -> int:
    return 60 * clip + frame


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Two clips as the official examples are: 832 x 480, half colour, other paths, a track video at 8 fps."""
    folder = tmp_path / "example"
    folder.mkdir()
    entries = []
    for clip in range(2):
        for kind, fps in (("depth", 16), ("track", 8)):
            with VideoWriter(folder / f"{kind}_{clip:02}.mp4", fps=fps) as video:
                for frame in range(CLIP_TICKS):
                    video.write(np.full((480, 832, 3), grey_of(clip, frame), np.uint8))
        entries.append(
            {
                "text": f"clip {clip}",
                "depth": f"./example/ride/depth_{clip:02}.mp4",
                "track": f".\\example\\ride\\track_{clip:02}.mp4",
            }
        )
    (folder / "cond.json").write_text(json.dumps(entries))
    Image.new("RGB", (832, 480), (10, 200, 30)).save(folder / "first.png")
    return folder / "cond.json"


def test_every_clip_is_generated_and_the_shared_frame_is_given_once(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told: list[int] = []
    summary = render_conditions(
        official,
        official.with_name("first.png"),
        out=out,
        model=f"fake:{HEIGHT}x{WIDTH}",
        seed=3,
        on_clip=lambda written, total, doing: told.append(written),
    )
    assert (summary["frames"], summary["clips"]) == (161, 2)
    assert told[-1] == 161
    for index in (0, 1, 79, 80, 81, 160):
        clip, frame = (0, index) if index <= 80 else (1, index - 80)
        image = np.asarray(Image.open(out / "frames" / f"{index:06d}.png"))
        np.testing.assert_allclose(image[..., 0].astype(int), grey_of(clip, frame), atol=2)
        assert (image[..., 2] == zlib.crc32(f"clip {clip}".encode()) & 0xFF).all()


def test_a_prompt_may_replace_all_of_them(official: Path, tmp_path: Path) -> None:
    source = ["--conditions", str(official), "--first-frame", str(official.with_name("first.png"))]
    made = ["--out", str(tmp_path / "out"), "--model", f"fake:{HEIGHT}x{WIDTH}", "--prompt", "fog"]
    result = CliRunner().invoke(app, ["render", *source, *made])
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["prompts"] == ["fog", "fog"]


@pytest.fixture
def recorded(fake_server: BridgeServer, tmp_path: Path) -> Path:
    """A street of 100 ticks, then a cut and 20 more, with a prompt for the second clip."""
    engine = BuiltinEngine(make_scene("street", 3), width=WIDTH, height=HEIGHT)
    path = tmp_path / "shot.mcap"
    with (
        bridge.connect(fake_server.zeromq_endpoint) as client,
        client.open(
            prompt=PROMPT,
            first_frame=FIRST_FRAME,
            seed=7,
            tracks="engine",
            options=bridge.SessionOptions(record_to=path),
        ) as session,
    ):
        session.prompt("fog", from_tick=80)
        session.cut(at_tick=100, first_frame=np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        for tick in engine.ticks(120, cuts=frozenset({100})):
            session.send(tick)
        for _ in session.frames():
            pass
    return path


def test_what_is_exported_and_read_again_is_what_the_session_used(recorded: Path, tmp_path: Path) -> None:
    source = Recording.open(recorded)
    folders = export_recording(source, tmp_path / "export", height=HEIGHT, width=WIDTH)
    assert [folder.name for folder in folders] == ["export", "cut_01"]
    sequences = [read_conditions(folder / "cond.json") for folder in folders]
    assert [[clip.text for clip in clips] for clips in sequences] == [[PROMPT, "fog"], ["fog"]]
    cut_frame = read_first_frame(folders[1] / "first.png", height=HEIGHT, width=WIDTH)
    np.testing.assert_array_equal(cut_frame, 90)

    wanted = _controls_of_session(source)
    for folder, clips, first in zip(folders, sequences, (0, 100), strict=True):
        for number, clip in enumerate(clips):
            controls = read_controls(clip, height=HEIGHT, width=WIDTH)
            for place in range(CLIP_TICKS):
                index = min(first + 80 * number + place, 99 if first == 0 else 119)
                dense, sparse = wanted[index]
                # What the codec may take away: the next tick's depth differs by more.
                apart = np.abs(controls.dense[place].astype(int) - dense)
                assert (apart.mean() < 1, apart.max() <= 12) == (True, True), (folder, number, place)
                if place or not number:
                    # Where a clip begins, its points are seeded anew: the tick before it has other colours.
                    assert np.abs(controls.sparse[place].astype(int) - sparse).mean() < 2, (folder, number, place)


def _controls_of_session(source: Recording) -> dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    header = source.header
    depth_range = whole_range(source, height=HEIGHT, width=WIDTH, fit=header.fit)
    preview = ControlPreview(header.track_mode, height=HEIGHT, width=WIDTH, fit=header.fit)
    preview.cut(100)
    for tick in source.ticks():
        preview.tick(tick)
    preview.finish()
    taken = [preview.take(depth_range) for _ in range(source.tick_count)]
    return {at.index: (at.dense, at.sparse) for at in taken}


def test_the_commands_speak_to_each_other(recorded: Path, tmp_path: Path) -> None:
    export = ["export", str(recorded), "--out", str(tmp_path / "export"), "--height", "48", "--width", "80"]
    assert CliRunner().invoke(app, export).exit_code == 0
    again = CliRunner().invoke(app, export)
    assert isinstance(again.exception, InvalidValue)
    assert CliRunner().invoke(app, [*export, "--force"]).exit_code == 0


def _change(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        entries = json.loads(path.read_text())
        change(entries)
        path.write_text(json.dumps(entries))

    return apply


def _shorten(path: Path) -> None:
    with VideoWriter(path.with_name("depth_01.mp4"), fps=16) as video:
        for _ in range(40):
            video.write(np.zeros((48, 80, 3), np.uint8))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_text("{"), "cannot be read as JSON"),
        (lambda path: path.write_text("[]"), "is no list of clips"),
        (_change(lambda entries: entries[1].pop("track")), r"cond\.json\[1\]\.track"),
        (_change(lambda entries: entries[1].update(text=" ")), r"cond\.json\[1\]\.text"),
        (_change(lambda entries: entries[0].update(depth="gone.mp4")), r"cond\.json\[0\]\.depth: is neither there"),
        (lambda path: path.with_name("track_01.mp4").write_text("no video"), "cannot be read as a video"),
        (_shorten, "holds 40 frames, and a clip has 81"),
        (lambda path: path.with_name("first.png").write_text("no image"), "--first-frame"),
    ],
)
def test_bad_inputs_are_named(official: Path, tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(official)
    with pytest.raises(InvalidValue, match=says) as caught:
        render_conditions(
            official, official.with_name("first.png"), out=tmp_path / "out", model=f"fake:{HEIGHT}x{WIDTH}", seed=3
        )
    assert caught.value.remedy


@pytest.mark.parametrize("arguments", [[], ["shot.mcap", "--conditions", "cond.json"]])
def test_render_wants_one_source(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["render", *arguments])
    assert isinstance(result.exception, InvalidValue)
    assert "--conditions" in result.exception.field
