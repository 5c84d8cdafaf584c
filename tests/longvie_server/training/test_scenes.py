"""Training scenes on disk: whole or not there, each of its own size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge.errors import InvalidValue
from engine_plugins.builtin import training_scene
from longvie_server.sequences import ClipSequence
from longvie_server.training.scenes import ScenesConfig, TrainingScene, recolour, render_scenes


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ScenesConfig:
    config = ScenesConfig(tmp_path_factory.mktemp("scenes"), seeds=(3, 4), height=24, width=32, workers=1)
    assert len(list(render_scenes(config))) == 1
    return config


def test_a_scene_is_what_the_engine_shows_in_its_own_colours(config: ScenesConfig) -> None:
    (name,) = render_scenes(config)
    scene, built = TrainingScene(config.folder, name), training_scene(3)
    assert name == f"{built.family}-00000003-24x32"
    assert (scene.clips, scene.caption) == (2, built.caption)
    frames = scene.frames()
    assert frames.shape == (161, 24, 32, 3)
    shown = ClipSequence(config.folder / name)
    whole = np.concatenate([shown.clip(0).rgb, shown.clip(1).rgb[1:]])
    np.testing.assert_array_equal(frames, recolour(whole, scene.seed))
    np.testing.assert_array_equal(scene.clip(0)[80], scene.clip(1)[0])
    np.testing.assert_array_equal(scene.clip(1), frames[80:])
    assert scene.look_back(1).places.shape == (81, 24, 32, 2)


def test_a_first_frame_says_colours_of_every_clip(config: ScenesConfig) -> None:
    (name,) = render_scenes(config)
    scene = TrainingScene(config.folder, name)
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 0] = 200
    for number in range(2):
        np.testing.assert_allclose(scene.guess(number, red), np.broadcast_to(red, (81, *red.shape)), atol=1.0)


def test_what_is_there_is_not_rendered_again_and_another_size_is_another_scene(config: ScenesConfig) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in config.folder.rglob("*.npy")}
    (name,) = render_scenes(config)
    assert {path: path.stat().st_mtime_ns for path in config.folder.rglob("*.npy")} == stamps
    (other,) = render_scenes(replace(config, height=32))
    assert other != name
    assert TrainingScene(config.folder, other).frames().shape == (161, 32, 32, 3)
    assert TrainingScene(config.folder, name).frames().shape == (161, 24, 32, 3)


def test_a_half_rendered_scene_is_refused_and_then_made_whole(config: ScenesConfig, tmp_path: Path) -> None:
    config = replace(config, folder=tmp_path)
    (name,) = render_scenes(config)
    whole = TrainingScene(tmp_path, name).frames()
    (tmp_path / name / "0001" / "clip.json").unlink()
    with pytest.raises(InvalidValue, match=r"is not there, or not whole.*longvie train tiny"):
        TrainingScene(tmp_path, name)
    assert list(render_scenes(config)) == [name]
    np.testing.assert_array_equal(TrainingScene(tmp_path, name).frames(), whole)
