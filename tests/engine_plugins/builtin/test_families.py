"""Scene families: equal seeds, separate purposes, five clear minutes."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.errors import InvalidValue
from engine_plugins.builtin import (
    EVALUATION_FAMILIES,
    FAMILIES,
    TRAINING_FAMILIES,
    Renderer,
    capture_clip,
    evaluation_scene,
    make_scene,
    training_scene,
)
from engine_plugins.builtin.families import training_family
from engine_plugins.builtin.raycaster import Raycaster

FIVE_MINUTES = 4801


def test_training_and_evaluation_are_disjoint_and_complete() -> None:
    assert not set(TRAINING_FAMILIES) & set(EVALUATION_FAMILIES)
    assert set(TRAINING_FAMILIES) | set(EVALUATION_FAMILIES) == set(FAMILIES)


def test_training_scenes_never_come_from_an_evaluation_family() -> None:
    families = [training_family(seed) for seed in range(400)]
    assert {name: families.count(name) > 60 for name in families} == dict.fromkeys(TRAINING_FAMILIES, True)
    assert training_scene(7).family == families[7]
    assert evaluation_scene(1).family in EVALUATION_FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_bytes_another_seed_another_picture(family: str) -> None:
    pictures = [Renderer(make_scene(family, seed), width=72, height=40).render(33) for seed in (4, 4, 5)]
    assert pictures[0].rgb.tobytes() == pictures[1].rgb.tobytes()
    assert pictures[0].depth.tobytes() == pictures[1].depth.tobytes()
    assert pictures[0].rgb.tobytes() != pictures[2].rgb.tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_are_neither_dark_nor_flat_and_say_what_they_show(family: str) -> None:
    scene = make_scene(family, 1)
    frame = Renderer(scene, width=72, height=40).render(0)
    assert 30 < frame.rgb.mean() < 235
    assert frame.rgb.std() > 12
    assert np.isfinite(frame.depth).mean() > 0.25
    assert scene.caption.endswith(".")
    assert len(scene.instances) > 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 3])
def test_camera_stays_clear_and_smooth_for_five_minutes(family: str, seed: int) -> None:
    scene = make_scene(family, seed)
    caster = Raycaster(scene)
    around = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)])
    around = (around / np.linalg.norm(around, axis=1, keepdims=True)).astype(np.float32)
    for index in range(0, FIVE_MINUTES, 60):
        here, after = (scene.camera((index + step) / 16).matrix for step in (0, 1))
        caster.move_to(index / 16)
        assert caster.cast(here[:3, 3], around).distance.min() > 0.6, index
        assert caster.blocked(here[:3, 3], np.array([0.0, 0.0, -1.0], np.float32)).all(), index  # over land or sea
        assert np.linalg.norm(after[:3, 3] - here[:3, 3]) < 0.7, index
        assert np.degrees(np.arccos(min(1.0, here[:3, 2] @ after[:3, 2]))) < 1.0, index


def test_capture_is_what_the_renderer_shows() -> None:
    renderer = Renderer(make_scene("plaza", 2), width=72, height=40)
    clip = capture_clip(renderer, 16, ticks=4)
    assert clip.rgb.shape == (4, 40, 72, 3)
    frame = renderer.render(18)
    np.testing.assert_array_equal(clip.rgb[2], frame.rgb)
    np.testing.assert_array_equal(clip.depth_m[2], frame.depth)
    # On the first tick every point lies on its seed's pixel, at that pixel's depth.
    column, row = (np.floor(clip.track_uv[0] * (72, 40))).astype(int).T
    np.testing.assert_allclose(clip.track_depth_m[0], clip.depth_m[0][row, column], rtol=1e-5)
    assert clip.track_drawn[0].all()
    assert np.isnan(clip.track_uv[~clip.track_drawn]).all()
    assert clip.caption == renderer.scene.caption


def test_depth_and_tracks_agree_where_points_are_seen() -> None:
    clip = capture_clip(make_scene("street", 1), 0, ticks=9, width=144, height=80)
    uv, z = clip.track_uv[8], clip.track_depth_m[8]
    inside = clip.track_drawn[8] & (uv > 0.02).all(axis=1) & (uv < 0.98).all(axis=1) & np.isfinite(z)
    column, row = np.floor(uv[inside] * (144, 80)).astype(int).T
    seen = clip.depth_m[8][row, column]
    # Most points are still in view, and lie on what is seen there; a pixel's depth may differ on slanted surfaces.
    assert (np.abs(z[inside] - seen) < 0.05 * z[inside]).mean() > 0.8


def test_bad_names_and_seeds_are_refused() -> None:
    with pytest.raises(InvalidValue, match="family"):
        make_scene("moon", 0)
    with pytest.raises(InvalidValue, match="seed"):
        training_scene(-1)
    with pytest.raises(InvalidValue, match="seed"):
        make_scene("street", -1)
