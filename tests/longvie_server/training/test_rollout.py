"""What a rollout begins with."""

from __future__ import annotations

import numpy as np
import pytest

from longvie_server.training.rollout import late_first
from longvie_server.training.store import SceneRecord, StoredScene


def _scene(seed: int) -> StoredScene:
    """Depth grows from 0 to 159 over the columns."""
    dense = np.broadcast_to(np.arange(160, dtype=np.uint8), (2, 81, 8, 160))
    colour = np.zeros((161, 8, 160, 3), np.uint8)
    points = np.zeros((2, 81, 1, 2), np.float32)
    return StoredScene(
        SceneRecord("street", seed, 2, ""), colour, dense, np.zeros((2, 81, 8, 160, 3), np.uint8), points
    )


def test_of_a_late_first_frame_the_nearest_is_left_or_nothing() -> None:
    first, guess = np.full((8, 160, 3), 200, np.uint8), np.full((8, 160, 3), 90.6, np.float32)
    shares = []
    for seed in range(200):
        late = late_first(_scene(seed), first, guess)
        kept = late[:, :, 0] == 200
        assert ((late == 91) | kept[:, :, None]).all()
        # Near columns first, and none behind one that is gone.
        assert (np.diff(kept.astype(int), axis=1) <= 0).all()
        shares.append(kept.mean())
    assert np.mean(np.array(shares) == 0) == pytest.approx(0.5, abs=0.1)
    assert 0.4 < max(shares) <= 0.51


def test_a_late_first_frame_depends_on_the_scene_alone() -> None:
    first, guess = np.full((8, 160, 3), 200, np.uint8), np.full((8, 160, 3), 90.6, np.float32)
    assert np.array_equal(late_first(_scene(3), first, guess), late_first(_scene(3), first, guess))
