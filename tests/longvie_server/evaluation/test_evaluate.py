"""An evaluation of models whose answers are known: one that paints its dense video, one that repeats its image."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bridge.errors import InvalidValue
from bridge.tick import WorldState
from longvie_server.evaluation import ROWS, EvaluationConfig, evaluate
from longvie_server.evaluation.motion import seam_jump
from longvie_server.evaluation.report import contact_sheet
from longvie_server.evaluation.rows import row_clips
from longvie_server.sequences import ClipTruth, SequenceClip, cached
from longvie_server.world_model.interface import ControlClip, ModelSpec, StepEvent, StepFrames

HEIGHT, WIDTH, CLIPS = 16, 24, 2


class NoiseSource:
    """A sequence whose truth is its depth: grey noise."""

    def __init__(self, number: int, *, clips: int = CLIPS, warp: bool = True) -> None:
        self.number, self.warp, self._clips = number, warp, clips
        self.key = f"noise-{number}"
        random = np.random.default_rng(number)
        self.grey = random.integers(0, 256, (1 + 80 * clips, HEIGHT, WIDTH)).astype(np.uint8)

    @property
    def rgb(self) -> NDArray[np.uint8]:
        return np.repeat(self.grey[..., None], 3, axis=-1)

    def length(self) -> int:
        return self._clips

    def clips(self, *, height: int, width: int, first: int) -> Iterator[SequenceClip]:
        for k in range(first, self._clips):
            frames = slice(80 * k, 80 * k + 81)
            controls = ControlClip(self.grey[frames], np.zeros((81, HEIGHT, WIDTH, 3), np.uint8))
            still = np.broadcast_to(
                np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH), (81, HEIGHT, WIDTH)
            )
            truth = ClipTruth(
                np.full((81, 2500, 2), np.nan, np.float32),
                still if self.warp else None,
                np.zeros(still.shape, np.bool_),
            )
            yield SequenceClip(f"Noise {k}.", self.rgb[frames], controls, truth)


SOURCES = (NoiseSource(0), NoiseSource(1))


class _PaintsDense:
    """Paints the dense video, in two pieces."""

    def __init__(self) -> None:
        self.spec = ModelSpec("paints", HEIGHT, WIDTH, 1, {"device": "cpu"})
        self.states: list[WorldState] = []

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        self.states.append(state)
        frames = np.repeat(controls.dense[..., None], 3, axis=-1)
        yield StepFrames(frames[:1])
        yield StepFrames(frames[1:])
        return state.after_clip(frames, controls.dense[0])


def _config(tmp_path: Path, **changes: Any) -> EvaluationConfig:
    return EvaluationConfig(**{"cache": tmp_path, "label": "a", **changes})


def test_rows_say_what_they_should(tmp_path: Path) -> None:
    result = evaluate(_PaintsDense(), SOURCES, _config(tmp_path))
    rows = {row.name: row for row in result.rows}
    assert tuple(rows) == ROWS
    assert rows["model"].figures["psnr"] == rows["dense_only"].figures["psnr"] == rows["truth"].figures["psnr"] == 99.0
    assert rows["model"].figures["ssim"] == pytest.approx(1.0, abs=1e-4)
    assert rows["model"].figures["gradient_energy"] == 1.0
    # Independent noise of variance 255^2 / 12: the difference has twice that.
    assert rows["wrong_controls"].figures["psnr"] == pytest.approx(10 * np.log10(6), abs=0.1)
    assert rows["sparse_only"].figures["gradient_energy"] == rows["mean_colour"].figures["gradient_energy"] == 0.0
    assert rows["repeat_first_frame"].figures["psnr"] == pytest.approx(10 * np.log10(6), abs=0.3)
    assert len(rows["model"].per_clip["psnr"]) == CLIPS
    written = json.loads(result.to_json())
    assert {"name", "psnr", "ssim", "gradient_energy", "track_error_px", "per_clip"} <= set(written["rows"][0])
    # The first clip has no seam.
    assert written["rows"][0]["per_clip"]["seam_jump"][0] is None
    assert rows["model"].per_clip["seam_jump"][1] == pytest.approx(1.0, abs=0.1)
    # The truth's warp says that nothing went anywhere.
    assert rows["forward_warp"].figures["psnr"] == rows["repeat_first_frame"].figures["psnr"]
    # The mean of 384 numbers of deviation 74 has one of 4.
    assert 1 < rows["mean_colour"].figures["colour_drift"] < 10
    assert rows["model"].figures["colour_drift"] == 0
    # A column whose network is not here is empty, and says so.
    assert written["rows"][0]["lpips"] is None
    assert written["absent"]["lpips"] == "was not asked for"


def test_clips_follow_each_other_through_the_state_with_their_own_prompts(tmp_path: Path) -> None:
    model = _PaintsDense()
    sequence, other = (cached(s, tmp_path, clips=None, height=HEIGHT, width=WIDTH) for s in SOURCES)
    clips = [video for video, _ in row_clips("model", model, sequence, other, seed=5)]
    assert len(clips) == 2
    first, second = model.states
    assert (first.clip, second.clip, second.next_tick, second.seed) == (0, 1, 80, 5)
    assert (first.prompt, second.prompt) == ("Noise 0.", "Noise 1.")
    assert first.history is None
    np.testing.assert_array_equal(first.image, SOURCES[0].rgb[0])
    np.testing.assert_array_equal(second.frames, clips[0][-8:])
    assert first.anchor is None
    # The image is the truth's first, and so is the grey: it is what this truth shows.
    np.testing.assert_array_equal(second.anchor, np.repeat(SOURCES[0].grey[0, ..., None], 4, axis=2))


def test_rows_that_take_one_tie_between_clips_away_take_no_other(tmp_path: Path) -> None:
    sequence, other = (cached(s, tmp_path, clips=None, height=HEIGHT, width=WIDTH) for s in SOURCES)
    states, videos = {}, {}
    for row in ("model", "without_history", "without_anchor", "new_noise", "clip_depth_range"):
        model = _PaintsDense()
        videos[row] = np.stack([video for video, _ in row_clips(row, model, sequence, other, seed=5)])
        states[row] = model.states
    assert states["without_history"][1].history is None
    np.testing.assert_array_equal(states["without_history"][1].image, states["model"][1].image)
    assert states["model"][1].anchor is not None
    assert states["without_anchor"][1].anchor is None
    np.testing.assert_array_equal(states["without_anchor"][1].frames, states["model"][1].frames)
    assert [state.seed for state in states["new_noise"]] == [5000, 5001]
    np.testing.assert_array_equal(states["new_noise"][1].frames, states["model"][1].frames)
    for row in ("without_history", "new_noise"):
        np.testing.assert_array_equal(videos[row], videos["model"])
    # The greys are noise: the tenth at the ends becomes black and white, and what is between is spread.
    grey = SOURCES[0].grey[:81].astype(float)
    near, far = np.percentile(grey, (5, 95))
    expected = np.clip((grey - near) / (far - near) * 255, 0, 255)
    assert np.abs(videos["clip_depth_range"][0, ..., 0] - expected).max() <= 1


def test_an_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = _config(tmp_path, rows=("model", "mean_colour"))
    first = evaluate(_PaintsDense(), SOURCES, config)
    again = _PaintsDense()
    assert evaluate(again, SOURCES, config).rows == first.rows
    assert again.states == []
    evaluate(again, SOURCES, _config(tmp_path, rows=("model",), label="other weights"))
    assert len(again.states) == 2 * CLIPS


def test_an_evaluation_goes_on_within_a_sequence(tmp_path: Path) -> None:
    class Stops(_PaintsDense):
        def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
            if len(self.states) == CLIPS + 1:
                raise KeyboardInterrupt
            return (yield from super().step(state, controls))

    config = _config(tmp_path, rows=("model",))
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stops(), SOURCES, config)
    again = _PaintsDense()
    resumed = evaluate(again, SOURCES, config)
    assert [(state.clip, state.next_tick, state.seed) for state in again.states] == [(1, 80, 1)]
    np.testing.assert_array_equal(again.states[0].frames, SOURCES[1].rgb[73:81])
    assert resumed.rows == evaluate(_PaintsDense(), SOURCES, _config(tmp_path / "fresh", rows=("model",))).rows


@pytest.mark.parametrize("row", ["model", "wrong_controls", "sparse_only", "clip_depth_range"])
def test_what_goes_on_has_the_anchor_of_what_was_not_stopped(tmp_path: Path, row: str) -> None:
    sequence, other = (cached(s, tmp_path, clips=None, height=HEIGHT, width=WIDTH) for s in SOURCES)
    whole, resumed = _PaintsDense(), _PaintsDense()
    (_, last), _ = row_clips(row, whole, sequence, other, seed=5)
    assert len(list(row_clips(row, resumed, sequence, other, seed=5, done=1, last=last))) == 1
    anchor = resumed.states[0].anchor
    assert anchor is not None
    np.testing.assert_array_equal(anchor, whole.states[1].anchor)


def test_a_short_evaluation_is_made_longer_without_beginning_again(tmp_path: Path) -> None:
    rows = ("model", "forward_warp", "wrong_controls")
    evaluate(_PaintsDense(), SOURCES, _config(tmp_path, rows=rows, clips=1))
    model = _PaintsDense()
    longer = evaluate(model, SOURCES, _config(tmp_path, rows=rows))
    assert [state.clip for state in model.states] == [1] * 4
    assert longer.rows == evaluate(_PaintsDense(), SOURCES, _config(tmp_path / "fresh", rows=rows)).rows


def test_a_short_evaluation_after_a_long_one_shows_no_more_than_its_own(tmp_path: Path) -> None:
    rows = ("model", "mean_colour")
    whole = evaluate(_PaintsDense(), SOURCES, _config(tmp_path, rows=rows))
    shorter = evaluate(_PaintsDense(), SOURCES, _config(tmp_path, rows=rows, clips=1))
    fresh = evaluate(_PaintsDense(), SOURCES, _config(tmp_path / "fresh", rows=rows, clips=1))
    assert shorter.rows == fresh.rows
    sheets = []
    for name, result in (("shorter", shorter), ("fresh", fresh)):
        contact_sheet(result.kept, tmp_path / f"{name}.png")
        sheets.append((tmp_path / f"{name}.png").read_bytes())
    assert sheets[0] == sheets[1]
    # What the long one knows is not lost by that.
    model = _PaintsDense()
    assert evaluate(model, SOURCES, _config(tmp_path, rows=rows)).rows == whole.rows
    assert model.states == []


class _Reencodes(_PaintsDense):
    """Brightens by 2 levels a frame; clip 1 is 6 levels brighter than clip 0 from its frame 0 on: no jump within it."""

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        frames = np.zeros((81, HEIGHT, WIDTH, 3), np.uint8)
        frames += (2 * np.arange(81) + 6 * state.clip).astype(np.uint8)[:, None, None, None]
        yield StepFrames(frames)
        return state.after_clip(frames, controls.dense[0])


@pytest.mark.parametrize("stopped", [False, True])
def test_a_seam_is_told_from_the_frame_that_was_seen_before_it(tmp_path: Path, stopped: bool) -> None:
    chosen = ("model", "truth")
    if stopped:
        evaluate(_Reencodes(), SOURCES, _config(tmp_path, rows=chosen, clips=1))
    rows = {row.name: row for row in evaluate(_Reencodes(), SOURCES, _config(tmp_path, rows=chosen)).rows}
    # From level 160, the last of clip 0, to level 8, the second of clip 1; then 2 levels a frame.
    assert rows["model"].per_clip["seam_jump"][1] == 152 / 2
    # Where a clip's first frame is the one that was seen, its own frames say the same.
    jumps = [seam_jump(source.rgb[80:]) for source in SOURCES]
    assert rows["truth"].per_clip["seam_jump"][1] == pytest.approx(np.mean(jumps), abs=1e-4)


class _Fades(_PaintsDense):
    """Its clip k is a flat red that loses 30 levels per clip."""

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        frames = np.zeros((81, HEIGHT, WIDTH, 3), np.uint8)
        frames[..., 0] = 240 - 30 * state.clip
        frames[:, :, ::2, 1] = 80 >> state.clip
        yield StepFrames(frames)
        return state.after_clip(frames, controls.dense[0])


def test_drift_is_told_against_the_first_clip(tmp_path: Path) -> None:
    source = NoiseSource(3, clips=5)
    row = evaluate(_Fades(), [source], _config(tmp_path, rows=("model",))).rows[0]
    # Green lies on half of the columns: its mean is 40, 20, 10, 5, 2.5.
    colour = [(30 * k + abs(40 - 40 / 2**k)) / 3 for k in range(5)]
    assert row.drift["colour"] == pytest.approx(colour, abs=1e-3)
    assert row.drift["sharpness"] == pytest.approx([1 / 4**k for k in range(5)], abs=1e-3)
    # Blue is 0 everywhere and red the largest: what is left of red.
    assert row.drift["saturation"] == pytest.approx([1, 210 / 240, 180 / 240, 150 / 240, 120 / 240], abs=1e-3)
    assert row.drift_in("per_10_s")["saturation"] == pytest.approx([450 / 480, 330 / 480, 120 / 240], abs=1e-3)
    assert row.drift_in("per_minute")["saturation"] == pytest.approx([900 / 1200], abs=1e-3)


def test_memory_does_not_grow_with_the_clips(tmp_path: Path) -> None:
    """A long video's frames are on the disk; what is held is a clip's, and figures."""

    def peak(clips: int) -> int:
        source = NoiseSource(9, clips=clips)
        config = _config(tmp_path / str(clips), rows=("model",))
        cached(source, config.cache / "sequences", clips=None, height=HEIGHT, width=WIDTH)
        tracemalloc.start()
        evaluate(_Forgets(), [source], config)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    # The frames of the five clips more are 470 kB, their controls 620 kB.
    assert peak(7) - peak(2) < 100_000


class _Forgets(_PaintsDense):
    """Keeps no state of its own."""

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        after = yield from super().step(state, controls)
        self.states.clear()
        return after


def test_a_folder_of_pictures_is_written(tmp_path: Path) -> None:
    result = evaluate(_PaintsDense(), SOURCES, _config(tmp_path, rows=("model", "repeat_first_frame", "truth")))
    result.write(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "figures.json").read_text())["scenes"] == ["noise-0-16x24", "noise-1-16x24"]
    with Image.open(tmp_path / "out" / "sheet.png") as picture:
        sheet = np.asarray(picture)
    # Two scenes of three rows; the second line of frames repeats the first frame in all of its columns.
    assert sheet.shape == (6 * (HEIGHT + 16), 4 * (WIDTH + 4), 3)
    line = sheet[2 * HEIGHT + 32 - HEIGHT : 2 * HEIGHT + 32]
    np.testing.assert_array_equal(line[:, :WIDTH], SOURCES[0].rgb[0])
    np.testing.assert_array_equal(line[:, 3 * (WIDTH + 4) :][:, :WIDTH], SOURCES[0].rgb[0])
    for name, size in (("clips.png", (1210, 770)), ("drift.png", (1210, 990))):
        with Image.open(tmp_path / "out" / name) as curves:
            assert curves.size == size


@pytest.mark.parametrize("row", ["repeat_first_frame", "mean_colour", "blurred_first_frame"])
def test_rows_without_motion_repeat_one_frame(tmp_path: Path, row: str) -> None:
    sequence = cached(SOURCES[0], tmp_path, clips=None, height=HEIGHT, width=WIDTH)
    answers = [video for video, _ in row_clips(row, _PaintsDense(), sequence, sequence, seed=0)]
    assert [answer.shape for answer in answers] == [(81, HEIGHT, WIDTH, 3)] * CLIPS
    np.testing.assert_array_equal(answers[0][0], answers[1][-1])


def test_rows_that_cannot_be_had_are_left_out_or_refused(tmp_path: Path) -> None:
    alone = [NoiseSource(4, warp=False)]
    result = evaluate(_PaintsDense(), alone, _config(tmp_path))
    assert {row.name for row in result.rows} == set(ROWS) - {"wrong_controls", "forward_warp"}
    for row in ("wrong_controls", "forward_warp"):
        with pytest.raises(InvalidValue, match="cannot be had") as caught:
            evaluate(_PaintsDense(), alone, _config(tmp_path, rows=(row,)))
        assert caught.value.value == row


@pytest.mark.parametrize(("changes", "field"), [({"rows": ("modle",)}, "rows"), ({"clips": 0}, "clips")])
def test_wrong_requests_are_refused(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        _config(tmp_path, **changes)
