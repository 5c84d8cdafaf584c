"""The folder of a shot: nothing is lost, and what can go on goes on exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.errors import InvalidValue
from bridge.tick import DepthRange, Frame, WorldState
from engine_plugins.blender.longvie.frame_folder import FrameFolder, ResumePoint


def frame(index: int) -> Frame:
    return Frame(index=index, image=np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8))


def state(depth_range: DepthRange | None, *, anchored: bool = True) -> WorldState:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (8, 6, 8, 3), np.uint8)
    anchor = rng.integers(0, 256, (6, 8, 4), np.uint8) if anchored else None
    return WorldState("fake", 3, 240, True, 2**40 + 1, "snow, ünïcode", frames, None, depth_range, anchor)


def test_frames_are_lossless_and_named_by_their_tick(tmp_path: Path) -> None:
    folder = FrameFolder(tmp_path / "out")
    folder.prepare()
    for index in (0, 7):
        folder.write(frame(index))
    assert [path.name for path in folder.frames()] == ["000000.png", "000007.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(folder.frame_path(7))), frame(7).image)
    assert sorted(path.name for path in folder.path.iterdir()) == ["000000.png", "000007.png"], "no partial files"


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.parametrize("depth_range", [None, DepthRange(1.5, 30.0), DepthRange(2.0, float("inf"))])
def test_a_world_comes_back_as_it_was(tmp_path: Path, depth_range: DepthRange | None, anchored: bool) -> None:
    folder = FrameFolder(tmp_path)
    assert not folder.has_point()
    folder.save_point(ResumePoint(state(depth_range, anchored=anchored), {"seed": "7"}))
    point = folder.load_point()
    before, after = state(depth_range, anchored=anchored), point.state
    np.testing.assert_array_equal(before.frames, after.frames)
    # Where there is none, the file is as older versions wrote it.
    with np.load(tmp_path / "resume.npz") as stored:
        assert ("anchor" in stored) == (after.anchor is not None) == anchored
    np.testing.assert_array_equal(before.anchor, after.anchor)
    for name in ("model", "clip", "next_tick", "shares_tick", "seed", "prompt", "negative_prompt", "depth_range"):
        assert getattr(before, name) == getattr(after, name)
    point.check({"seed": "7"})
    with pytest.raises(InvalidValue, match=r"seed: was '7' when this shot was begun \(got '8'\)\. Set it back"):
        point.check({"seed": "8"})
    folder.drop_point()
    assert not folder.has_point()


def test_an_earlier_shot_is_set_aside_and_never_deleted(tmp_path: Path) -> None:
    folder = FrameFolder(tmp_path)
    assert folder.set_aside() is None
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "1234.png").write_bytes(b"mine")
    for number in (1, 2):
        folder.write(frame(number))
        folder.save_point(ResumePoint(state(None), {}))
        assert folder.set_aside() == tmp_path / f"earlier-{number}"
        assert sorted(p.name for p in (tmp_path / f"earlier-{number}").iterdir()) == [
            f"00000{number}.png",
            "resume.npz",
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1234.png", "earlier-1", "earlier-2", "notes.txt"]


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    folder = FrameFolder(tmp_path)
    with pytest.raises(InvalidValue, match="holds no unfinished shot"):
        folder.load_point()
    (tmp_path / "resume.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InvalidValue, match="cannot be read"):
        folder.load_point()
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValue, match=r"output folder: cannot be made"):
        FrameFolder(tmp_path / "file" / "below").prepare()
