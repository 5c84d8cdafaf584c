"""What a run leaves behind: every frame, whatever happens, and a picture of the whole."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from bridge.tick import Frame
from longvie_server.output.folder import OutputFolder, _is_moment, _shown
from longvie_server.output.preview import ControlsAt


def test_a_strip_begins_with_the_first_clips_and_ends_with_the_last_moments() -> None:
    moments = [count for count in range(80 * 61) if _is_moment(count)]
    assert [count / 16 for count in moments] == [0, 5, 10, 15, 30, 60, 120, 240]
    assert _shown(["0 s"]) == ["0 s"]
    assert _shown(["0 s", "5 s", "10 s"]) == ["0 s", "5 s", "10 s"]
    assert _shown(["0 s", "5 s", "10 s", "15 s", "30 s", "60 s"]) == ["0 s", "5 s", "30 s", "60 s"]


def written(folder: OutputFolder, count: int) -> None:
    for index in range(count):
        grey = np.full((16, 32), index, np.uint8)
        colour = np.repeat(grey[..., None], 3, axis=2)
        folder.write(Frame(index, colour, time_ns=index, clip=0), ControlsAt(index, grey, colour), None)


def test_every_frame_is_on_the_disk_when_the_run_ends_and_when_it_fails(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "ends") as folder:
        folder.begin()
        written(folder, 90)
        summary = folder.finish(timings={}, facts={})
    assert summary["frames"] == 90
    with contextlib.suppress(ZeroDivisionError), OutputFolder(tmp_path / "fails") as folder:
        written(folder, 90)
        raise ZeroDivisionError
    for name in ("ends", "fails"):
        frames = sorted((tmp_path / name / "frames").glob("*.png"))
        assert [np.asarray(Image.open(frame))[0, 0, 0] for frame in frames] == list(range(90))
        with av.open(str(tmp_path / name / "video.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == 90
    assert not (tmp_path / "fails" / "summary.json").exists()


def test_a_frame_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as folder:
        shutil.rmtree(tmp_path / "out" / "frames")
        written(folder, 1)
        with pytest.raises(FileNotFoundError, match=r"000000\.png"):
            folder.finish(timings={}, facts={})
    assert not (tmp_path / "out" / "summary.json").exists()
