"""An evaluation of models whose answers are known: one that paints its dense video, one that repeats its image."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bridge.errors import InvalidValue
from bridge.tick import WorldState
from longvie_server.evaluation import ROWS, EvaluationConfig, evaluate
from longvie_server.evaluation import evaluate as module_function
from longvie_server.evaluation.rows import generate, trivial
from longvie_server.evaluation.scenes import HeldOutScene
from longvie_server.evaluation.truth import ClipTruth
from longvie_server.world_model.interface import ControlClip, ModelSpec, StepEvent, StepFrames

HEIGHT, WIDTH, CLIPS = 16, 24, 2


def _scene(number: int) -> HeldOutScene:
    """A scene whose truth is its depth: grey noise."""
    random = np.random.default_rng(number)
    grey = random.integers(0, 256, (1 + 80 * CLIPS, HEIGHT, WIDTH)).astype(np.uint8)
    controls = tuple(
        ControlClip(grey[80 * k : 80 * k + 81], np.zeros((81, HEIGHT, WIDTH, 3), np.uint8)) for k in range(CLIPS)
    )
    still = np.broadcast_to(np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH), (81, HEIGHT, WIDTH))
    truth = ClipTruth(np.full((81, 2500, 2), np.nan, np.float32), still, np.zeros(still.shape, np.bool_))
    return HeldOutScene(f"noise-{number}", "Noise.", np.repeat(grey[..., None], 3, axis=-1), controls, (truth,) * CLIPS)


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
        return state.after_clip(frames)


@pytest.fixture(autouse=True)
def _noise_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    def held_out(number: int, **_: Any) -> HeldOutScene:
        return _scene(number)

    monkeypatch.setitem(module_function.__globals__, "held_out_scene", held_out)


def _config(tmp_path: Path, **changes: Any) -> EvaluationConfig:
    return EvaluationConfig(**{"scenes": 2, "clips": CLIPS, "cache": tmp_path, "label": "a", **changes})


def test_rows_say_what_they_should(tmp_path: Path) -> None:
    result = evaluate(_PaintsDense(), _config(tmp_path))
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


def test_clips_follow_each_other_through_the_state() -> None:
    model, scene = _PaintsDense(), _scene(0)
    clips = [video for video, _ in generate("model", model, scene, _scene(1), seed=5)]
    assert len(clips) == 2
    first, second = model.states
    assert (first.clip, second.clip, second.next_tick, second.seed) == (0, 1, 80, 5)
    assert first.history is None
    np.testing.assert_array_equal(first.image, scene.rgb[0])
    np.testing.assert_array_equal(second.frames, clips[0][-8:])


def test_an_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = _config(tmp_path, rows=("model", "mean_colour"))
    first = evaluate(_PaintsDense(), config)
    again = _PaintsDense()
    assert evaluate(again, config).rows == first.rows
    assert again.states == []
    evaluate(again, _config(tmp_path, rows=("model",), label="other weights"))
    assert len(again.states) == 2 * CLIPS


def test_an_evaluation_goes_on_within_a_scene(tmp_path: Path) -> None:
    class Stops(_PaintsDense):
        def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
            if len(self.states) == CLIPS + 1:
                raise KeyboardInterrupt
            return (yield from super().step(state, controls))

    config = _config(tmp_path, rows=("model",))
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stops(), config)
    again = _PaintsDense()
    resumed = evaluate(again, config)
    assert [(state.clip, state.next_tick, state.seed) for state in again.states] == [(1, 80, 1)]
    np.testing.assert_array_equal(again.states[0].frames, _scene(1).rgb[73:81])
    assert resumed.rows == evaluate(_PaintsDense(), _config(tmp_path / "fresh", rows=("model",))).rows


def test_a_folder_of_pictures_is_written(tmp_path: Path) -> None:
    result = evaluate(_PaintsDense(), _config(tmp_path, rows=("model", "repeat_first_frame", "truth")))
    result.write(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "figures.json").read_text())["scenes"] == 2
    with Image.open(tmp_path / "out" / "sheet.png") as picture:
        sheet = np.asarray(picture)
    # Two scenes of three rows; the second line of frames repeats the first frame in all of its columns.
    assert sheet.shape == (6 * (HEIGHT + 16), 4 * (WIDTH + 4), 3)
    line = sheet[2 * HEIGHT + 32 - HEIGHT : 2 * HEIGHT + 32]
    np.testing.assert_array_equal(line[:, :WIDTH], _scene(0).rgb[0])
    np.testing.assert_array_equal(line[:, 3 * (WIDTH + 4) :][:, :WIDTH], _scene(0).rgb[0])
    with Image.open(tmp_path / "out" / "clips.png") as curves:
        assert curves.size == (1210, 770)


@pytest.mark.parametrize("row", ["repeat_first_frame", "mean_colour", "blurred_first_frame"])
def test_rows_without_motion_repeat_one_frame(row: str) -> None:
    scene = _scene(0)
    answer = trivial(row, scene)
    assert answer.shape == scene.rgb.shape
    np.testing.assert_array_equal(answer[0], answer[-1])


@pytest.mark.parametrize(("changes", "field"), [({"rows": ("modle",)}, "rows"), ({"scenes": 1}, "scenes")])
def test_wrong_requests_are_refused(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        _config(tmp_path, **changes)
