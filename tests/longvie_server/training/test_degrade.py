"""Spoilt frames: alike in all frames, mild, and the same again from the same source of chance."""

from __future__ import annotations

import numpy as np

from longvie_server.training.degrade import degrade


def _spoil(seed: int, calls: list[int] | None = None) -> np.ndarray:
    frames = np.full((3, 16, 24, 3), 128, np.uint8)
    frames[:, 4:9, 5:15] = 200

    def recode(video: np.ndarray) -> np.ndarray:
        if calls is not None:
            calls.append(len(video))
        return video

    return degrade(frames, np.random.default_rng(seed), recode=recode)


def test_all_frames_are_spoilt_alike_and_mildly() -> None:
    changed = 0
    for seed in range(20):
        spoilt = _spoil(seed)
        np.testing.assert_array_equal(spoilt[0], spoilt[2])
        changed += int(not np.array_equal(spoilt[0, :, :, 0], _spoil(seed + 100)[0, :, :, 0]))
        assert abs(float(spoilt.mean()) - 135) < 25
    assert changed > 15


def test_chance_is_all_that_decides() -> None:
    np.testing.assert_array_equal(_spoil(4), _spoil(4))


def test_frames_go_through_the_vae_once_or_twice() -> None:
    calls: list[int] = []
    for seed in range(20):
        before = len(calls)
        _spoil(seed, calls)
        assert len(calls) - before in (1, 2)
    assert set(calls) == {3}
