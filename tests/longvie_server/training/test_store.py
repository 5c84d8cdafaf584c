"""Scenes on disk: whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.errors import InvalidValue, ShapeMismatch
from longvie_server.training.store import SceneRecord, SceneStore, StoredScene


def _scene(seed: int = 3) -> StoredScene:
    random = np.random.default_rng(seed)
    return StoredScene(
        SceneRecord("street", seed, 2, "A street."),
        rgb=random.integers(0, 256, (161, 8, 16, 3)).astype(np.uint8),
        dense=random.integers(0, 256, (2, 81, 8, 16)).astype(np.uint8),
        sparse=random.integers(0, 256, (2, 81, 8, 16, 3)).astype(np.uint8),
        points=random.random((2, 81, 6, 2), np.float32),
    )


def test_a_scene_comes_back_as_it_was(tmp_path: Path) -> None:
    store, scene = SceneStore(tmp_path), _scene()
    assert scene.record.name not in store
    store.save(scene)
    assert scene.record.name in store
    assert store.names() == ["street-00000003"]
    loaded = store.load("street-00000003")
    assert loaded.record == scene.record
    for plane in ("rgb", "dense", "sparse", "points"):
        np.testing.assert_array_equal(getattr(loaded, plane), getattr(scene, plane))


def test_neighbouring_clips_share_a_frame() -> None:
    scene = _scene()
    assert scene.clip(0).shape == scene.clip(1).shape == (81, 8, 16, 3)
    np.testing.assert_array_equal(scene.clip(0)[80], scene.clip(1)[0])


def test_a_half_written_scene_is_not_seen(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(_scene())
    (tmp_path / "street-00000003" / "scene.json").unlink()
    assert store.names() == []
    with pytest.raises(InvalidValue, match="not in the cache"):
        store.load("street-00000003")


def test_planes_that_do_not_belong_together_are_refused() -> None:
    scene = _scene()
    with pytest.raises(ShapeMismatch, match="dense"):
        StoredScene(scene.record, scene.rgb, scene.dense[:1], scene.sparse, scene.points)
