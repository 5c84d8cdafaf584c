"""One shot as a scene, as a recording and as videos: the same clips, whoever brings them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from bridge.errors import InvalidValue
from bridge.geometry import Fit
from bridge.recording import CutEvent, RecordingWriter, SessionHeader
from bridge.tick import CLIP_TICKS, TrackMode
from engine_plugins.builtin import BuiltinEngine, capture_clip, evaluation_scene
from longvie_server.conditions import ConditionsWriter, video_frames
from longvie_server.control.dense import measure_depth_range
from longvie_server.output.video import VideoWriter
from longvie_server.sequences import ClipSequence, SequenceClip, cached, find_sources
from longvie_server.sequences.recorded import RecordingSource
from longvie_server.sequences.scene import SceneSource

HEIGHT, WIDTH, CLIPS = 32, 48, 2
SIZE = {"height": HEIGHT, "width": WIDTH}
SCENE = SceneSource(2, held_out=True)
PATIENCE_S: Final = 60.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[SequenceClip]:
    sequence = cached(SCENE, tmp_path_factory.mktemp("scene"), clips=CLIPS, **SIZE)
    return [sequence.clip(k) for k in range(CLIPS)]


def record(
    path: Path,
    *,
    ticks: int = 161,
    pictures: Callable[[int], bool] = lambda index: True,
    width: int = WIDTH,
    fit: Fit | None = None,
) -> Path:
    scene = evaluation_scene(2)
    engine = BuiltinEngine(scene, width=width, height=HEIGHT)
    header = SessionHeader(
        prompt="first",
        seed=1,
        model="fake",
        track_mode=TrackMode.ENGINE,
        first_frame=engine.render(0).rgb,
        depth_range=measure_depth_range(capture_clip(scene, width=WIDTH, height=HEIGHT).depth_m),
        fit=fit,
    )
    with RecordingWriter(path, header=header) as writer:
        for tick in engine.ticks(ticks):
            writer.write_tick(tick)
            if pictures(tick.index):
                writer.write_reference(tick.index, engine.render(tick.index).rgb)
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "shot.mcap", ticks=170)


def test_a_recording_is_the_scene_that_it_was_made_of(
    recorded: Path, clips: list[SequenceClip], tmp_path: Path
) -> None:
    (source,) = find_sources(recorded.parent)
    # Nine ticks past the second clip are no clip.
    assert source.length() == 2
    sequence = cached(source, tmp_path, clips=None, **SIZE)
    assert len(sequence) == 2
    for got, want in zip(map(sequence.clip, range(CLIPS)), clips, strict=True):
        np.testing.assert_array_equal(got.rgb, want.rgb)
        np.testing.assert_array_equal(got.controls.dense, want.controls.dense)
        np.testing.assert_array_equal(got.controls.sparse, want.controls.sparse)
        assert got.truth.edges is not None
        np.testing.assert_array_equal(got.truth.edges, want.truth.edges)
        assert got.truth.warp is None
        assert got.truth.tracks is not None
        assert want.truth.tracks is not None
        np.testing.assert_allclose(got.truth.tracks, want.truth.tracks, atol=1e-3)


def test_later_clips_can_be_asked_for_alone(recorded: Path, clips: list[SequenceClip]) -> None:
    for source in (SCENE, RecordingSource(recorded)):
        clip = next(iter(source.clips(**SIZE, first=1)))
        np.testing.assert_array_equal(clip.controls.dense, clips[1].controls.dense)
        np.testing.assert_array_equal(clip.rgb, clips[1].rgb)


def test_a_preparation_that_was_stopped_goes_on(clips: list[SequenceClip], tmp_path: Path) -> None:
    class Counts:
        key = "counts"
        asked: list[int] = []  # noqa: RUF012

        def length(self) -> int:
            return 3

        def clips(self, *, height: int, width: int, first: int) -> Iterator[SequenceClip]:
            self.asked.append(first)
            yield clips[first % 2]
            if first == 0:
                raise KeyboardInterrupt
            yield clips[0]

    source = Counts()
    with pytest.raises(KeyboardInterrupt):
        cached(source, tmp_path, clips=None, **SIZE)
    assert len(cached(source, tmp_path, clips=None, **SIZE)) == 3
    assert len(cached(source, tmp_path, clips=2, **SIZE)) == 2
    assert source.asked == [0, 1]


def _filmed(folder: Path, clips: list[SequenceClip], *, whole: bool) -> Path:
    writer = ConditionsWriter(folder, np.asarray(clips[0].rgb[0]))
    for number, clip in enumerate(clips):
        writer.add(f"prompt {number}", clip.controls)
        if not whole:
            _film(folder / f"video_{number:02}.mp4", clip.rgb)
    writer.close()
    if whole:
        _film(folder / "video.mp4", np.concatenate([clips[0].rgb, clips[1].rgb[1:]]))
    else:
        entries = json.loads((folder / "cond.json").read_text())
        for number, entry in enumerate(entries):
            entry["video"] = f"video_{number:02}.mp4"
        (folder / "cond.json").write_text(json.dumps(entries))
    return folder


def _film(path: Path, frames: np.ndarray) -> None:
    with VideoWriter(path, fps=16, crf=3, pix_fmt="yuv444p") as video:
        for frame in frames:
            video.write(frame)


@pytest.mark.parametrize("whole", [True, False])
def test_videos_are_read_clip_by_clip(clips: list[SequenceClip], tmp_path: Path, whole: bool) -> None:
    (source,) = find_sources(_filmed(tmp_path / "film", clips, whole=whole).parent)
    assert source.key.startswith("film-")
    sequence = cached(source, tmp_path / "cache", clips=None, **SIZE)
    assert len(sequence) == 2
    for number, want in enumerate(clips):
        got = sequence.clip(number)
        assert got.prompt == f"prompt {number}"
        # What the codec takes away; another clip's frames are 20 levels off and more.
        for a, b in ((got.rgb, want.rgb), (got.controls.sparse, want.controls.sparse)):
            assert np.abs(a.astype(int) - b).mean() < 2
        assert got.truth.tracks is got.truth.edges is got.truth.warp is None


def test_a_source_that_changes_is_prepared_anew(clips: list[SequenceClip], tmp_path: Path) -> None:
    folder = _filmed(tmp_path / "film", clips, whole=True)
    before = find_sources(folder)[0].key
    assert find_sources(folder)[0].key == before
    _film(folder / "video.mp4", clips[1].rgb)
    assert find_sources(folder)[0].key != before


def test_a_video_beside_a_recording_is_its_truth(clips: list[SequenceClip], tmp_path: Path) -> None:
    path = record(tmp_path / "shot.mcap", ticks=CLIP_TICKS, pictures=lambda index: False)
    source = RecordingSource(path)
    with pytest.raises(InvalidValue, match=r"has no true frames.*shot\.mp4"):
        next(iter(source.clips(**SIZE, first=0)))
    _film(path.with_suffix(".mp4"), clips[0].rgb)
    clip = next(iter(source.clips(**SIZE, first=0)))
    assert np.abs(clip.rgb.astype(int) - clips[0].rgb).mean() < 2


@pytest.mark.parametrize("fit", [Fit.CROP, Fit.PAD])
def test_a_video_of_another_aspect_is_fitted_as_the_controls_are(tmp_path: Path, fit: Fit) -> None:
    """The engine's pictures and its depth are twice as wide as high; the model's frames are 3 : 2."""
    path = record(tmp_path / "shot.mcap", ticks=CLIP_TICKS, width=2 * HEIGHT, fit=fit)
    source = RecordingSource(path)
    references = next(iter(source.clips(**SIZE, first=0)))
    named = source.key
    bare = RecordingSource(
        record(tmp_path / "bare.mcap", ticks=CLIP_TICKS, width=2 * HEIGHT, fit=fit, pictures=lambda index: False)
    )
    engine = BuiltinEngine(evaluation_scene(2), width=2 * HEIGHT, height=HEIGHT)
    _film(tmp_path / "bare.mp4", np.stack([engine.render(index).rgb for index in range(CLIP_TICKS)]))
    film = next(iter(bare.clips(**SIZE, first=0)))
    assert np.abs(film.rgb.astype(int) - references.rgb).mean() < 2
    # Stretched, as the video once was, they are far apart.
    stretched = np.stack(list(video_frames(tmp_path / "bare.mp4", **SIZE)))
    assert np.abs(stretched.astype(int) - references.rgb).mean() > 4
    # Prepared sequences of before are not taken for these; those of recordings with pictures of their own are.
    assert bare.key.endswith("-fitted")
    assert not named.endswith("-fitted")


def test_a_video_of_another_aspect_without_a_fit_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "shot.mcap", ticks=CLIP_TICKS, pictures=lambda index: False)
    _film(path.with_suffix(".mp4"), np.zeros((CLIP_TICKS, HEIGHT, 2 * HEIGHT, 3), np.uint8))
    with pytest.raises(InvalidValue, match=r"aspect 2\.0000"):
        next(iter(RecordingSource(path).clips(**SIZE, first=0)))


def test_bad_recordings_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="holds fewer than 81 ticks"):
        RecordingSource(record(tmp_path / "short.mcap", ticks=80)).length()
    for missing in (0, 40):
        gap = record(tmp_path / f"{missing}.mcap", ticks=CLIP_TICKS, pictures=lambda index, at=missing: index != at)
        with pytest.raises(InvalidValue, match=f"lacks the true frame of tick {missing}"):
            next(iter(RecordingSource(gap).clips(**SIZE, first=0)))
    engine = BuiltinEngine(evaluation_scene(2), width=WIDTH, height=HEIGHT)
    picture = engine.render(0).rgb
    header = SessionHeader(prompt="p", seed=1, model="fake", track_mode=TrackMode.ENGINE, first_frame=picture)
    with RecordingWriter(tmp_path / "cut.mcap", header=header) as writer:
        writer.write(CutEvent(9, picture, remeasure=False))
    with pytest.raises(InvalidValue, match="holds a cut"):
        next(iter(RecordingSource(tmp_path / "cut.mcap").clips(**SIZE, first=0)))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "video.mp4").unlink(), r"cond\.json\[0\]\.video: has no true video"),
        (lambda folder: (folder / "video.mp4").write_text("none"), "cannot be read as a video"),
        (lambda folder: (folder / "cond.json").unlink(), "holds no sequence"),
    ],
)
def test_bad_videos_are_named(
    clips: list[SequenceClip], tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    folder = _filmed(tmp_path / "film", clips, whole=True)
    spoil(folder)
    with pytest.raises(InvalidValue, match=says) as caught:
        cached(find_sources(folder)[0], tmp_path / "cache", clips=None, **SIZE)
    assert caught.value.remedy


def test_a_video_that_is_too_short_is_named(clips: list[SequenceClip], tmp_path: Path) -> None:
    folder = _filmed(tmp_path / "film", clips, whole=True)
    _film(folder / "video.mp4", clips[0].rgb)
    with pytest.raises(InvalidValue, match=r"cond\.json\[1\]\.video: has fewer true frames"):
        cached(find_sources(folder)[0], tmp_path / "cache", clips=None, **SIZE)


@dataclass
class Halting:
    """The scene, whose first clip waits until somebody else wants the sequence, too."""

    wanted: threading.Barrier
    key: str = "halting"
    begun: int = 0

    def length(self) -> None:
        return None

    def clips(self, *, height: int, width: int, first: int) -> Iterator[SequenceClip]:
        self.begun += 1
        self.wanted.wait(PATIENCE_S)
        yield from SCENE.clips(height=height, width=width, first=first)


def test_of_two_that_prepare_one_sequence_at_once_the_second_waits_and_finds_it_whole(
    clips: list[SequenceClip], tmp_path: Path
) -> None:
    source = Halting(threading.Barrier(2))

    def want_it_too() -> ClipSequence:
        source.wanted.wait(PATIENCE_S)
        return cached(source, tmp_path, clips=CLIPS, **SIZE)

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(want_it_too)
        first = cached(source, tmp_path, clips=CLIPS, **SIZE)
        assert len(first) == len(second.result(PATIENCE_S)) == CLIPS
    assert source.begun == 1
    for number, want in enumerate(clips):
        np.testing.assert_array_equal(first.clip(number).rgb, want.rgb)
